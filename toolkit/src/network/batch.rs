//! A batch of sentences.

use super::kernels::attention::Sentences;
use super::kernels::dropout::Dropout;
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
    pub(super) fn positions(&self) -> Vec<u32> {
        self.starts.windows(2).flat_map(|span| 0..(span[1] - span[0]) as u32).collect()
    }
}

/// The dropout factors of attention probabilities, `[sentences, heads, longest, longest]`.
pub(super) fn attention_mask(dropout: &Dropout, batch: &Batch, heads: usize) -> Vec<f32> {
    let longest = batch.longest();
    let mut mask = vec![1.0; batch.sentences() * heads * longest * longest];
    for (s, span) in batch.starts.windows(2).enumerate() {
        for head in 0..heads {
            for i in 0..span[1] - span[0] {
                let first = Sentences::position(heads, span[0] + i, head);
                let row = ((s * heads + head) * longest + i) * longest;
                for (j, m) in mask[row..row + longest].iter_mut().enumerate() {
                    *m = dropout.factor(first.wrapping_add(j as u32));
                }
            }
        }
    }
    mask
}
