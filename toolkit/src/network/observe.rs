//! What the linear layers of a network take in.

use super::early_exit::{Network, pool};
use super::{Batch, Mode, trace};
use crate::quantize::Site;
use candle_core::{Result, Tensor};

impl Network {
    /// The forward pass, which shows `see` what every linear layer takes in, `[rows, inputs]`; for the
    /// exits a row is a sentence. It is made of composed layers whatever `mode` says.
    ///
    /// # Errors
    /// candle's, and those of `see`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn linear_inputs(
        &self,
        batch: &Batch,
        mode: &Mode,
        see: &mut dyn FnMut(Site, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let mode = Mode { fused: false, ..*mode };
        let mut hidden = self.embed(batch, &mode)?;
        for layers in 0..=self.blocks.len() {
            if let Some(layer) = layers.checked_sub(1) {
                see(Site::Qkv(layer), &hidden)?;
                let trace = trace::trace(&hidden, &self.blocks[layer], batch, &mode, 0)?;
                see(Site::AttentionOutput(layer), &trace.context)?;
                see(Site::Intermediate(layer), &trace.middle)?;
                see(Site::Output(layer), &trace.inner)?;
                hidden = trace.out;
            }
            for (exit, head) in self.heads.iter().enumerate().filter(|(_, h)| h.layers == layers) {
                let pooled = pool(&hidden, batch, head.pooling, &mode)?;
                see(Site::Dense(exit), &pooled)?;
                see(Site::Classifier(exit), &head.dense(&pooled, &mode)?)?;
            }
        }
        Ok(())
    }
}
