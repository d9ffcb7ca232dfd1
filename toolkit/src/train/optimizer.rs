//! AdamW, the schedule of the learning rate, and gradient clipping.

use crate::Error;
use crate::network::{Gradient, Parameter, adamw};
use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Schedule of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Linear decay to 0.
    Linear,
    /// Decay to 0 along half a cosine (Loshchilov and Hutter 2017).
    Cosine,
    /// Constant rate.
    Constant,
}

impl Schedule {
    /// Factor of the learning rate at `step`, counted from 1, of `total`.
    pub fn factor(self, step: usize, warmup: usize, total: usize) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let left =
            (total.saturating_sub(step)) as f64 / (total.saturating_sub(warmup).max(1)) as f64;
        match self {
            Schedule::Linear => left.min(1.0),
            Schedule::Cosine => 0.5 * (1.0 - (std::f64::consts::PI * left.min(1.0)).cos()),
            Schedule::Constant => 1.0,
        }
    }
}

/// AdamW (Loshchilov and Hutter 2019). Weight decay is decoupled and excludes biases and norms.
/// Embedding rows without a gradient in a step are left unchanged, including moments and decay (as
/// in `torch.optim.SparseAdam`).
pub struct AdamW {
    parameters: Vec<Arc<Parameter>>,
    moments: Vec<Moments>,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    decay: f64,
    steps: usize,
}

/// Running means of the gradients and of their squares.
enum Moments {
    Cpu { m: Vec<f32>, v: Vec<f32> },
    Device { m: Tensor, v: Tensor },
}

/// Result of one step.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// Norm of all gradients together, before clipping.
    pub norm: f64,
}

impl AdamW {
    /// Creates an optimizer of these parameters.
    ///
    /// # Errors
    /// [`Error::Compute`] if memory is insufficient for the moments.
    pub fn new(
        parameters: Vec<Arc<Parameter>>,
        (beta1, beta2): (f64, f64),
        epsilon: f64,
        decay: f64,
    ) -> Result<Self, Error> {
        let moments = parameters.iter().map(|p| {
            let n = p.var().elem_count();
            Ok(match p.var().device() {
                Device::Cpu => Moments::Cpu { m: vec![0.0; n], v: vec![0.0; n] },
                _ => Moments::Device { m: p.var().zeros_like()?, v: p.var().zeros_like()? },
            })
        });
        let moments = moments.collect::<candle_core::Result<_>>()?;
        Ok(AdamW { parameters, moments, beta1, beta2, epsilon, decay, steps: 0 })
    }

    /// Makes one step with the gradients of the parameters, and takes these. They are first divided
    /// by `divisor` (the number of summed batches), then scaled so that their norm is at most
    /// `clip`, if given.
    ///
    /// If the norm is NaN or infinite, nothing is changed and the caller reports it.
    ///
    /// # Errors
    /// [`Error::Compute`].
    pub fn step(&mut self, rate: f64, divisor: f64, clip: Option<f64>) -> Result<Stepped, Error> {
        let gradients: Vec<_> = self.parameters.iter().map(|p| p.take_gradient()).collect();
        let mut squares = 0.0;
        for gradient in gradients.iter().flatten() {
            squares += match gradient {
                Gradient::Rows { values, .. } => adamw::squares(values),
                Gradient::Dense(g) if g.device().is_cpu() => {
                    adamw::squares(&crate::network::Values::of(g)?)
                }
                Gradient::Dense(g) => f64::from(g.sqr()?.sum_all()?.to_scalar::<f32>()?),
            };
        }
        let norm = squares.sqrt() / divisor;
        if !norm.is_finite() {
            return Ok(Stepped { norm });
        }
        self.steps += 1;
        let clipped = clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        let step = adamw::AdamWStep {
            scale: (clipped / divisor) as f32,
            rate: rate as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            correction1: (1.0 - self.beta1.powi(self.steps as i32)) as f32,
            correction2: (1.0 - self.beta2.powi(self.steps as i32)) as f32,
            epsilon: self.epsilon as f32,
            decay: 0.0,
        };
        for ((p, moments), gradient) in self.parameters.iter().zip(&mut self.moments).zip(gradients)
        {
            let Some(gradient) = gradient else { continue };
            let decay = if p.decays() { self.decay as f32 } else { 0.0 };
            update(p, moments, gradient, &adamw::AdamWStep { decay, ..step })?;
        }
        Ok(Stepped { norm })
    }

    /// Tensors of the state by name: moments and values of the parameters. With the number of steps
    /// they are the whole state.
    ///
    /// # Errors
    /// [`Error::Compute`].
    pub fn state(&self) -> Result<HashMap<String, Tensor>, Error> {
        let mut state = HashMap::new();
        for (p, moments) in self.parameters.iter().zip(&self.moments) {
            let (m, v) = match moments {
                Moments::Cpu { m, v } => (
                    Tensor::from_slice(m, p.var().shape(), &Device::Cpu)?,
                    Tensor::from_slice(v, p.var().shape(), &Device::Cpu)?,
                ),
                Moments::Device { m, v } => {
                    (m.to_device(&Device::Cpu)?, v.to_device(&Device::Cpu)?)
                }
            };
            if let Some(masked) = p.masked() {
                let masked = masked.as_detached_tensor().to_device(&Device::Cpu)?;
                state.insert(format!("masked.{}", p.name()), masked);
            }
            state.insert(format!("m.{}", p.name()), m);
            state.insert(format!("v.{}", p.name()), v);
            state.insert(
                format!("w.{}", p.name()),
                p.var().as_detached_tensor().to_device(&Device::Cpu)?,
            );
        }
        Ok(state)
    }

    /// Restores the result of [`state`](Self::state) after `steps` steps.
    ///
    /// # Errors
    /// [`Error::Compute`] if a tensor is missing or has another shape.
    pub fn restore(&mut self, state: &HashMap<String, Tensor>, steps: usize) -> Result<(), Error> {
        for (p, moments) in self.parameters.iter().zip(&mut self.moments) {
            let stored = |kind: &str| -> Result<Tensor, Error> {
                let name = format!("{kind}.{}", p.name());
                let tensor = state
                    .get(&name)
                    .ok_or_else(|| candle_core::Error::Msg(format!("`{name}` is missing")))?;
                Ok(tensor.reshape(p.var().shape())?.to_device(p.var().device())?)
            };
            p.var().set(&stored("w")?)?;
            if state.contains_key(&format!("masked.{}", p.name())) {
                p.set_masked(stored("masked")?.flatten_all()?.to_vec1()?)?;
            }
            match moments {
                Moments::Cpu { m, v } => {
                    *m = stored("m")?.flatten_all()?.to_vec1()?;
                    *v = stored("v")?.flatten_all()?.to_vec1()?;
                }
                Moments::Device { m, v } => (*m, *v) = (stored("m")?, stored("v")?),
            }
        }
        self.steps = steps;
        Ok(())
    }
}

fn update(
    p: &Parameter,
    moments: &mut Moments,
    gradient: Gradient,
    step: &adamw::AdamWStep,
) -> Result<(), Error> {
    match moments {
        Moments::Cpu { m, v } => {
            let op = InPlace {
                step,
                gradient: &rows_of(p, gradient)?,
                moments: Mutex::new((m, v)),
                width: p.var().dims().last().copied().unwrap_or(1),
            };
            Ok(p.var().as_tensor().inplace_op1(&op)?)
        }
        Moments::Device { m, v } => {
            let Gradient::Dense(g) = gradient else {
                return Err(candle_core::Error::Msg("a gradient of rows on a device".into()).into());
            };
            let f = f64::from;
            let g = (g * f(step.scale))?;
            // candle's gradient of a table has all rows, with 0 for those without a lookup.
            let seen =
                p.is_table().then(|| g.abs()?.max_keepdim(1)?.gt(0.0)?.broadcast_as(g.shape()));
            let seen = seen.transpose()?;
            let only = |new: Tensor, old: &Tensor| match &seen {
                None => Ok(new),
                Some(seen) => seen.where_cond(&new, old),
            };
            *m = only(((&*m * f(step.beta1))? + (&g * f(1.0 - step.beta1))?)?, m)?;
            *v = only(((&*v * f(step.beta2))? + (g.sqr()? * f(1.0 - step.beta2))?)?, v)?;
            let root = ((&*v / f(step.correction2))?.sqrt()? + f(step.epsilon))?;
            let change = ((&*m * f(step.rate / step.correction1))? / root)?;
            let old = p.var().as_detached_tensor();
            let value = ((&old * f(1.0 - step.rate * step.decay))? - change)?;
            Ok(p.var().set(&only(value, &old)?)?)
        }
    }
}

/// Gradient of a table on the CPU, as the rows other than 0.
fn rows_of(p: &Parameter, gradient: Gradient) -> Result<Gradient, Error> {
    let Gradient::Dense(g) = &gradient else { return Ok(gradient) };
    if !p.is_table() {
        return Ok(gradient);
    }
    let width = g.dim(1)?;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (row, of) in crate::network::Values::of(&g.contiguous()?)?.chunks_exact(width).enumerate() {
        if of.iter().any(|g| *g != 0.0) {
            rows.push(row as u32);
            values.extend_from_slice(of);
        }
    }
    Ok(Gradient::Rows { rows, values })
}

struct InPlace<'a> {
    step: &'a adamw::AdamWStep,
    gradient: &'a Gradient,
    moments: Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
    width: usize,
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(value) = storage else {
            candle_core::bail!("a parameter that is not f32")
        };
        let Some((from, to)) = layout.contiguous_offsets() else {
            candle_core::bail!("a parameter with gaps")
        };
        let value = &mut value[from..to];
        let mut moments = self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (m, v) = &mut *moments;
        match self.gradient {
            Gradient::Dense(g) => {
                adamw::dense(self.step, value, &crate::network::Values::of(g)?, m, v)
            }
            Gradient::Rows { rows, values } => {
                adamw::rows(self.step, value, (rows, values), m, v, self.width)
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let factor = |schedule: Schedule, step| schedule.factor(step, 10, 110);
        assert_eq!(factor(Schedule::Linear, 5), 0.5);
        assert_eq!(factor(Schedule::Linear, 10), 1.0);
        assert_eq!(factor(Schedule::Linear, 60), 0.5);
        assert_eq!(factor(Schedule::Linear, 110), 0.0);
        assert!((factor(Schedule::Cosine, 60) - 0.5).abs() < 1e-12);
        assert_eq!(factor(Schedule::Constant, 110), 1.0);
    }

    /// The form for a device computes the same with candle's operators.
    #[test]
    fn both_forms_leave_unseen_rows_alone() {
        let run = |on_device: bool| -> Vec<f32> {
            let name = "bert.embeddings.word_embeddings.weight";
            let values = vec![1.0, -2.0, 3.0, 4.0, 5.0, -6.0];
            let p = Parameter::new(name, values, &[3, 2], &Device::Cpu).unwrap();
            let mut optimizer = AdamW::new(vec![p.clone()], (0.9, 0.999), 1e-8, 0.01).unwrap();
            if on_device {
                let none = || p.var().as_detached_tensor().zeros_like().unwrap();
                optimizer.moments = vec![Moments::Device { m: none(), v: none() }];
            }
            for gradient in [[0.5, -1.0, 0.0, 0.0, 0.0, 2.0], [0.25, 1.0, 0.0, 0.0, 0.0, 0.0]] {
                p.add_gradient(gradient.to_vec()).unwrap();
                optimizer.step(0.1, 1.0, None).unwrap();
            }
            p.read().unwrap().to_vec()
        };
        let (cpu, device) = (run(false), run(true));
        for (cpu, device) in cpu.iter().zip(&device) {
            assert!((cpu - device).abs() < 1e-6, "{cpu} and {device}");
        }
        for values in [cpu, device] {
            assert_eq!(values[2..4], [3.0, 4.0]);
            assert!(values[0] != 1.0 && values[4] != 5.0);
        }
    }
}
