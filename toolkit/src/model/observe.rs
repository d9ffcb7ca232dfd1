//! What the linear layers of a network take in.

use super::network::{Network, pool};
use super::{Batch, Mode, composed};
use candle_core::{Result, Tensor};
use std::fmt;

/// Linear layers with one input, by layer or by exit, both counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// The queries, keys and values of a layer.
    Qkv(usize),
    /// What the heads of a layer give.
    AttentionOutput(usize),
    /// The first of a layer's feed-forward network.
    Intermediate(usize),
    /// The second of a layer's feed-forward network.
    Output(usize),
    /// The dense layer of an exit.
    Dense(usize),
    /// The classifier of an exit.
    Classifier(usize),
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::Qkv(layer) => write!(f, "the attention of layer {}", layer + 1),
            Site::AttentionOutput(layer) => {
                write!(f, "the attention output of layer {}", layer + 1)
            }
            Site::Intermediate(layer) => {
                write!(f, "the feed-forward network of layer {}", layer + 1)
            }
            Site::Output(layer) => write!(f, "the feed-forward output of layer {}", layer + 1),
            Site::Dense(exit) => write!(f, "the dense layer of exit {}", exit + 1),
            Site::Classifier(exit) => write!(f, "the classifier of exit {}", exit + 1),
        }
    }
}

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
                let trace = composed::trace(&hidden, &self.blocks[layer], batch, &mode, 0)?;
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
