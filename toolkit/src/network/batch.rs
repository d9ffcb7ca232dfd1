//! A batch of sentences.

use super::kernels::attention::Sentences;
use super::kernels::dropout::Dropout;
use std::sync::Arc;

/// Concatenated sentences, without padding.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Token ids of all sentences.
    pub ids: Arc<[u32]>,
    /// First row of every sentence, followed by the number of all rows.
    pub starts: Arc<[usize]>,
}

impl Batch {
    /// Concatenates sentences.
    ///
    /// # Panics
    /// If a sentence is empty.
    pub fn new<S: AsRef<[u32]>>(sentences: impl IntoIterator<Item = S>) -> Self {
        let (mut ids, mut starts) = (Vec::new(), vec![0]);
        for sentence in sentences {
            assert!(!sentence.as_ref().is_empty(), "a sentence without tokens");
            ids.extend_from_slice(sentence.as_ref());
            starts.push(ids.len());
        }
        Batch { ids: ids.into(), starts: starts.into() }
    }

    /// Number of sentences.
    pub fn sentences(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Number of tokens of the longest sentence.
    pub fn longest(&self) -> usize {
        self.starts.windows(2).map(|span| span[1] - span[0]).max().unwrap_or(0)
    }

    /// Position of every row in its sentence.
    pub(super) fn positions(&self) -> Vec<u32> {
        self.starts.windows(2).flat_map(|span| 0..(span[1] - span[0]) as u32).collect()
    }
}

/// Dropout factors of the attention probabilities, `[sentences, heads, longest, longest]`.
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
