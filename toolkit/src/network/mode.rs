//! The settings of a forward pass.

use super::kernels::dropout::Dropout;
use crate::quantize::Int8;
use crate::rng::Rng;
use candle_core::DType;

/// Settings of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Probability of dropout and key of this pass; `None` for prediction.
    pub training: Option<(f32, u64)>,
    /// Number format of the large matrix products, f32 or bf16; all other computations are in f32.
    pub precision: DType,
    /// True if the attention probabilities are returned.
    pub attention: bool,
    /// True if the fused CPU kernels are used where possible: for f32, without attention
    /// probabilities, with GELU or ReLU.
    pub fused: bool,
    /// Rounding with the runtime's int8 arithmetic, if any.
    pub quantized: Option<Int8>,
}

impl Mode {
    /// Settings for prediction in f32 on the CPU.
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
