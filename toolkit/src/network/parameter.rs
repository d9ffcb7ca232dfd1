//! A trained tensor and its gradient.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Device, Result, Storage, StorageRef, Tensor, Var};
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, OnceLock};

/// A trained tensor, f32, with its name in `model.safetensors`.
pub struct Parameter {
    name: String,
    value: Var,
    /// Value that the network uses instead of `value`, if masked.
    masked: OnceLock<Var>,
    gradient: Mutex<Option<Gradient>>,
}

/// Gradient from the backward pass.
#[derive(Clone, Debug)]
pub enum Gradient {
    /// Gradient of the whole tensor.
    Dense(Tensor),
    /// Gradient of some rows of a `[rows, width]` tensor; that of the other rows is zero.
    Rows {
        /// Row numbers, ascending.
        rows: Vec<u32>,
        /// Gradients, `[rows.len(), width]`.
        values: Vec<f32>,
    },
}

impl Parameter {
    /// Creates a parameter.
    ///
    /// # Errors
    /// Errors of candle, if memory is insufficient.
    pub fn new(
        name: impl Into<String>,
        values: Vec<f32>,
        shape: &[usize],
        device: &Device,
    ) -> Result<Arc<Self>> {
        let value = Var::from_vec(values, shape, device)?;
        let name = name.into();
        Ok(Arc::new(Parameter { name, value, masked: OnceLock::new(), gradient: Mutex::new(None) }))
    }

    /// Name in `model.safetensors`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Value, as a variable of candle.
    pub fn var(&self) -> &Var {
        &self.value
    }

    /// Value that the network uses instead of the stored one, if masked: the kept elements, and
    /// zeros.
    pub fn masked(&self) -> Option<&Var> {
        self.masked.get()
    }

    /// Makes the network use `values` instead of the stored value. The backward pass then gives the
    /// gradient of `values`.
    ///
    /// # Errors
    /// Errors of candle, if the number of values differs.
    pub fn set_masked(&self, values: Vec<f32>) -> Result<()> {
        let values = Tensor::from_vec(values, self.value.shape(), self.value.device())?;
        match self.masked.get() {
            Some(masked) => masked.set(&values),
            None => {
                let masked = Var::from_tensor(&values)?;
                self.masked.get_or_init(|| masked);
                Ok(())
            }
        }
    }

    /// Value that the network uses, with the gradient of the stored value.
    ///
    /// # Errors
    /// Errors of candle.
    pub(super) fn seen(&self) -> Result<Tensor> {
        let value = self.value.as_tensor();
        match self.masked.get() {
            None => Ok(value.clone()),
            Some(masked) => value + (masked.as_detached_tensor() - value.detach())?,
        }
    }

    /// True if weight decay applies: for matrices only; biases and norms are excluded.
    pub fn decays(&self) -> bool {
        self.value.rank() > 1
    }

    /// True for a table of embeddings, whose rows without a gradient are left unchanged.
    pub fn is_table(&self) -> bool {
        self.name.ends_with("_embeddings.weight")
    }

    /// Takes the gradient and leaves none.
    pub fn take_gradient(&self) -> Option<Gradient> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Gradient>> {
        self.gradient.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds to the gradient.
    ///
    /// # Errors
    /// Errors of candle, if the shapes differ.
    pub fn add_gradient(&self, values: Vec<f32>) -> Result<()> {
        self.add_tensor(Tensor::from_vec(values, self.value.shape(), self.value.device())?)
    }

    fn add_tensor(&self, gradient: Tensor) -> Result<()> {
        let mut sum = self.lock();
        *sum = Some(match sum.take() {
            None => Gradient::Dense(gradient),
            Some(Gradient::Dense(sum)) => Gradient::Dense((sum + gradient)?),
            Some(Gradient::Rows { .. }) => {
                candle_core::bail!("{} got a gradient of rows and one of all", self.name)
            }
        });
        Ok(())
    }

    /// Adds to the gradient of the rows `ids`, which may repeat; `values` is `[ids.len(), width]`.
    ///
    /// # Errors
    /// An error, if the parameter already has a gradient of all rows.
    pub fn add_rows(&self, ids: &[u32], values: &[f32]) -> Result<()> {
        let width = values.len() / ids.len().max(1);
        let mut sum = self.lock();
        let mut all: Vec<(u32, &[f32])> = Vec::new();
        let before = sum.take();
        match &before {
            None => {}
            Some(Gradient::Rows { rows, values }) => {
                all.extend(rows.iter().copied().zip(values.chunks_exact(width)));
            }
            Some(Gradient::Dense(_)) => {
                candle_core::bail!("{} got a gradient of all rows and one of some", self.name)
            }
        }
        all.extend(ids.iter().copied().zip(values.chunks_exact(width)));
        // A stable sort: equal rows are summed in their order in the batch.
        all.sort_by_key(|(id, _)| *id);
        let (mut rows, mut values): (Vec<u32>, Vec<f32>) = Default::default();
        for (id, row) in all {
            if rows.last() == Some(&id) {
                let last = values.len() - width;
                super::kernels::add(&mut values[last..], row);
            } else {
                rows.push(id);
                values.extend_from_slice(row);
            }
        }
        *sum = Some(Gradient::Rows { rows, values });
        Ok(())
    }

    /// Takes the gradient that candle's own backward pass computed.
    ///
    /// # Errors
    /// Errors of candle.
    pub fn absorb(&self, gradients: &mut GradStore) -> Result<()> {
        match gradients.remove(self.value.as_tensor()) {
            Some(gradient) => self.add_tensor(gradient.detach()),
            None => Ok(()),
        }
    }

    /// Values that the network uses, readable on the CPU.
    ///
    /// # Errors
    /// An error, if the tensor is on another device.
    pub fn read(&self) -> Result<Values<'_>> {
        Values::of(self.masked.get().unwrap_or(&self.value))
    }
}

/// Values of a contiguous f32 tensor on the CPU.
pub struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    /// Borrows the values of `tensor`.
    ///
    /// # Errors
    /// An error, unless the tensor is contiguous, f32 and on the CPU.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let range = layout.contiguous_offsets().map(|(from, to)| from..to);
        match (&*storage, range) {
            (Storage::Cpu(CpuStorage::F32(_)), Some(range)) => Ok(Values { storage, range }),
            _ => candle_core::bail!("not a contiguous f32 tensor on the CPU: {:?}", tensor),
        }
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => unreachable!("checked when it was made"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed() {
        let p = Parameter::new("p", vec![0.0; 8], &[4, 2], &Device::Cpu).unwrap();
        p.add_rows(&[3, 0, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        p.add_rows(&[0], &[0.5, 0.5]).unwrap();
        let Some(Gradient::Rows { rows, values }) = p.take_gradient() else { panic!() };
        assert_eq!((rows, values), (vec![0, 3], vec![3.5, 4.5, 6.0, 8.0]));
        assert!(p.take_gradient().is_none());
    }
}
