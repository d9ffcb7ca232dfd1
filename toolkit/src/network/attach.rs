//! Results with their own backward pass.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::sync::Mutex;

type Backward = dyn Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync;

struct Known {
    name: &'static str,
    output: Mutex<Option<(Vec<f32>, Shape)>>,
    backward: Box<Backward>,
}

/// Creates a tensor of `output` as a function of `input`, for candle's backward pass. `backward`
/// takes the gradient of the output, adds the gradients of the parameters, and returns that of the
/// input.
///
/// One node replaces dozens, each of which would cost candle a tensor of zeros and a sum.
///
/// # Errors
/// Errors of candle.
pub fn attach(
    name: &'static str,
    input: &Tensor,
    output: Vec<f32>,
    shape: impl Into<Shape>,
    backward: impl Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
) -> Result<Tensor> {
    let output = Mutex::new(Some((output, shape.into())));
    input.apply_op1(Known { name, output, backward: Box::new(backward) })
}

impl CustomOp1 for Known {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = self.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match output {
            Some((values, shape)) => Ok((CpuStorage::F32(values), shape)),
            None => candle_core::bail!("the result of {} was requested twice", self.name),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(&gradient.contiguous()?)
    }
}
