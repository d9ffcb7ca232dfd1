//! BERT and DistilBERT with exit heads.
//!
//! [`network`] is trained: parameters, a forward pass over sentences that lie side by side without
//! padding, and backward passes. [`edge_export::checkpoint::network`] reads the same tensors for export.

mod attach;
pub mod block;
mod composed;
mod kernels;
pub mod network;
mod observe;
pub(crate) mod own_head;
mod parameter;
mod quantized;
mod save;
mod start;

pub use block::Linear;
pub use kernels::adamw;
pub use parameter::{Gradient, Parameter, Values};
pub use save::save;
pub use start::{Heads, Start, start};

pub(crate) use composed::{log_softmax, softmax};
pub(crate) use save::{read_tensors, write_tensors};

use crate::quantize::Int8;
use crate::rng::Rng;
use candle_core::DType;
use kernels::dropout::Dropout;
use std::sync::Arc;

/// Sentences side by side, without padding.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The token ids of all sentences.
    pub ids: Arc<[u32]>,
    /// The first row of every sentence, and the number of all rows.
    pub starts: Arc<[usize]>,
}

impl Batch {
    /// Puts sentences side by side.
    ///
    /// # Panics
    /// If one is empty.
    pub fn new<S: AsRef<[u32]>>(sentences: impl IntoIterator<Item = S>) -> Self {
        let (mut ids, mut starts) = (Vec::new(), vec![0]);
        for sentence in sentences {
            assert!(!sentence.as_ref().is_empty(), "a sentence without tokens");
            ids.extend_from_slice(sentence.as_ref());
            starts.push(ids.len());
        }
        Batch { ids: ids.into(), starts: starts.into() }
    }

    /// The number of sentences.
    pub fn sentences(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of tokens.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// The tokens of the longest sentence.
    pub fn longest(&self) -> usize {
        self.starts.windows(2).map(|span| span[1] - span[0]).max().unwrap_or(0)
    }

    /// The position in its sentence of every row.
    fn positions(&self) -> Vec<u32> {
        self.starts.windows(2).flat_map(|span| 0..(span[1] - span[0]) as u32).collect()
    }
}

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

    fn dropout(&self, site: u64) -> Option<Dropout> {
        let (probability, key) = self.training?;
        (probability > 0.0).then(|| Dropout::new(probability, Rng::new(&[key, site]).next_u64()))
    }

    fn drop(&self, x: &mut [f32], site: u64) {
        if let Some(dropout) = self.dropout(site) {
            dropout.apply(x);
        }
    }
}

/// The dropout factors of attention probabilities, `[sentences, heads, longest, longest]`.
fn attention_mask(dropout: &Dropout, batch: &Batch, heads: usize) -> Vec<f32> {
    let longest = batch.longest();
    let mut mask = vec![1.0; batch.sentences() * heads * longest * longest];
    for (s, span) in batch.starts.windows(2).enumerate() {
        for head in 0..heads {
            for i in 0..span[1] - span[0] {
                let first = kernels::attention::Sentences::position(heads, span[0] + i, head);
                let row = ((s * heads + head) * longest + i) * longest;
                for (j, m) in mask[row..row + longest].iter_mut().enumerate() {
                    *m = dropout.factor(first.wrapping_add(j as u32));
                }
            }
        }
    }
    mask
}
