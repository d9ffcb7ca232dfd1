//! The settings of a forward pass.

use super::kernels::dropout::Dropout;
use crate::quantize::Int8;
use crate::rng::Rng;
use candle_core::DType;

/// How a forward pass is made.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// The probability of dropout and the key of this pass; `None` to predict.
    pub training: Option<(f32, u64)>,
    /// Of the large matrix products: f32 or bf16; everything else is f32.
    pub precision: DType,
    /// Whether the attention probabilities are wanted.
    pub attention: bool,
    /// Whether the fast forms of the CPU are used where there are any: for f32, without the
    /// attention probabilities, with GELU or ReLU.
    pub fused: bool,
    /// Whether it computes as the runtime does in int8.
    pub quantized: Option<Int8>,
}

impl Mode {
    /// To predict, in f32, on the CPU.
    pub fn predict() -> Self {
        Mode {
            training: None,
            precision: DType::F32,
            attention: false,
            fused: true,
            quantized: None,
        }
    }

    pub(super) fn dropout(&self, site: u64) -> Option<Dropout> {
        let (probability, key) = self.training?;
        (probability > 0.0).then(|| Dropout::new(probability, Rng::new(&[key, site]).next_u64()))
    }

    pub(super) fn drop(&self, x: &mut [f32], site: u64) {
        if let Some(dropout) = self.dropout(site) {
            dropout.apply(x);
        }
    }
}
