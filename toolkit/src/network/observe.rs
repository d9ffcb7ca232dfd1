//! Inputs of the linear layers of a network.

use super::early_exit::{Network, pool};
use super::{Batch, Mode, trace};
use crate::quantize::Site;
use candle_core::{Result, Tensor};

impl Network {
    /// Runs the forward pass and passes the input of every linear layer, `[rows, inputs]`, to
    /// `see`; for the exits a row is a sentence. The layers are composed for every `mode`.
    ///
    /// # Errors
    /// Errors of candle, and of `see`.
    ///
    /// # Panics
    /// See [`forward`](Self::forward).
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
