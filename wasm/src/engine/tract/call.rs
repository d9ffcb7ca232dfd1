//! One operator for tract's graphs: a call of a kernel.

use crate::graph::{Activation, Matrix, Norm};
use crate::kernels::activation::bias_activation;
use crate::kernels::attention::self_attention;
use crate::kernels::embed::embed;
use crate::kernels::norm::add_norm;
use crate::kernels::pool::{first_pool, mean_pool};
use crate::kernels::qlinear::{PackedWeights, qlinear};
use std::sync::Arc;
use tract_core::internal::*;

/// A kernel with its weights.
#[derive(Debug)]
pub(super) enum Kernel {
    Embed { words: Matrix, positions: Matrix, norm: Norm },
    BiasActivation { bias: Vec<f32>, activation: Activation },
    QLinear { weights: PackedWeights, activation: Activation },
    SelfAttention { heads: usize },
    AddNorm(Norm),
    MeanPool,
    FirstPool,
}

/// A kernel as an operator of tract. Inputs are as in [`crate::graph`], with the offsets last for
/// the kernels that look at sentences.
#[derive(Clone)]
pub(super) struct CallOp {
    kernel: Arc<Kernel>,
    /// Width of the output.
    width: usize,
}

impl CallOp {
    pub(super) fn new(kernel: Kernel, width: usize) -> Self {
        CallOp { kernel: Arc::new(kernel), width }
    }
}

/// Two calls are the same only if they share their weights.
impl PartialEq for CallOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for CallOp {}

/// Weights are left out: tract prints operators in its messages.
impl std::fmt::Debug for CallOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name())
    }
}

pub(super) fn floats(tensor: &Tensor) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}

fn offsets(tensor: &Tensor) -> TractResult<Vec<usize>> {
    Ok(tensor.try_as_plain_ram()?.as_slice::<i64>()?.iter().map(|o| *o as usize).collect())
}

impl Op for CallOp {
    fn name(&self) -> StaticName {
        match *self.kernel {
            Kernel::Embed { .. } => "Embed",
            Kernel::BiasActivation { .. } => "BiasActivation",
            Kernel::QLinear { .. } => "QLinear",
            Kernel::SelfAttention { .. } => "SelfAttention",
            Kernel::AddNorm(_) => "AddNorm",
            Kernel::MeanPool => "MeanPool",
            Kernel::FirstPool => "FirstPool",
        }
        .into()
    }

    op_as_typed_op!();
}

impl TypedOp for CallOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = match *self.kernel {
            Kernel::MeanPool | Kernel::FirstPool => inputs[1].shape[0].clone() - 1,
            _ => inputs[0].shape[0].clone(),
        };
        Ok(tvec![f32::fact(dims![rows, self.width])])
    }
}

impl EvalOp for CallOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let out = match &*self.kernel {
            Kernel::BiasActivation { bias, activation } => {
                let mut x = inputs.remove(0).into_tensor();
                let mut view = x.try_as_plain_ram_mut()?;
                bias_activation(view.as_slice_mut::<f32>()?, bias, *activation);
                x
            }
            Kernel::AddNorm(norm) => {
                let residual = inputs.remove(1);
                let mut x = inputs.remove(0).into_tensor();
                let mut view = x.try_as_plain_ram_mut()?;
                add_norm(view.as_slice_mut::<f32>()?, floats(&residual)?, norm);
                x
            }
            Kernel::Embed { words, positions, norm } => {
                let ids = inputs[0].try_as_plain_ram()?;
                let ids: Vec<u32> = ids.as_slice::<i64>()?.iter().map(|id| *id as u32).collect();
                let offsets = offsets(&inputs[1])?;
                self.filled(ids.len(), |out| {
                    embed(&ids, &offsets, words, positions, norm, out).map_err(TractError::msg)
                })?
            }
            Kernel::QLinear { weights, activation } => {
                self.filled(inputs[0].shape()[0], |out| {
                    qlinear(floats(&inputs[0])?, weights, *activation, out);
                    Ok(())
                })?
            }
            Kernel::SelfAttention { heads } => self.filled(inputs[0].shape()[0], |out| {
                self_attention(floats(&inputs[0])?, &offsets(&inputs[1])?, *heads, out);
                Ok(())
            })?,
            Kernel::MeanPool => self.filled(inputs[1].len() - 1, |out| {
                mean_pool(floats(&inputs[0])?, &offsets(&inputs[1])?, self.width, out);
                Ok(())
            })?,
            Kernel::FirstPool => self.filled(inputs[1].len() - 1, |out| {
                first_pool(floats(&inputs[0])?, &offsets(&inputs[1])?, self.width, out);
                Ok(())
            })?,
        };
        Ok(tvec![out.into_tvalue()])
    }
}

impl CallOp {
    /// A new tensor of `rows` rows that `fill` writes.
    fn filled(
        &self,
        rows: usize,
        fill: impl FnOnce(&mut [f32]) -> TractResult<()>,
    ) -> TractResult<Tensor> {
        let mut out = Tensor::zero::<f32>(&[rows, self.width])?;
        fill(out.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)?;
        Ok(out)
    }
}
