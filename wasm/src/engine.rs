//! Engines, which execute stages. They work without text, labels and policies.

#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
mod choice;
mod cpu;
#[cfg(feature = "onnx")]
mod foreign;
mod plan;
#[cfg(feature = "wgpu")]
mod wgpu;

#[cfg(feature = "wgpu")]
pub use self::wgpu::{ExitOn, GpuBatch, GpuCounts, GpuEngine, GpuOptions};
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use choice::{ChosenBatch, ChosenEngine, EngineChoice, EngineReport, Route};
pub use cpu::{CpuBatch, CpuEngine};
#[cfg(feature = "onnx")]
pub use foreign::ForeignModel;

pub use crate::exit::{Left, Logits};
use crate::graph::StageGraph;

use crate::Error;
use crate::exit::ExitRule;

/// Runs the stages of a model, one after the other, on a batch of sentences.
pub trait Engine: Send + Sync {
    /// State of a batch between stages.
    type Batch: Send;

    /// Prepares the next stage. Stages are added in order, also while batches run.
    ///
    /// # Errors
    /// [`Error::Graph`] if the stage does not take the output of the one before it, or the engine
    /// cannot run it.
    fn add_stage(&mut self, stage: StageGraph) -> Result<(), Error>;

    /// Number of stages that have been added.
    fn stages(&self) -> usize;

    /// Starts a batch.
    ///
    /// # Errors
    /// [`Error::Engine`] if the engine cannot take the batch.
    fn begin(&self, tokens: Tokens) -> Result<Self::Batch, Error>;

    /// Runs stage `stage` on the batch and returns true if it has an exit. The exit's logits then
    /// replace those in `logits`. A batch goes through the stages in order, each once.
    ///
    /// # Errors
    /// [`Error::Engine`] if the computation fails.
    fn run(
        &self,
        stage: usize,
        batch: &mut Self::Batch,
        logits: &mut Logits,
    ) -> Result<bool, Error>;

    /// Drops the sentences of a batch whose indices are not in `stay`, which is ascending.
    ///
    /// # Errors
    /// [`Error::Engine`] if the engine cannot drop sentences.
    fn keep(&self, batch: &mut Self::Batch, stay: &[usize]) -> Result<(), Error>;

    /// Runs all stages on a batch; each sentence leaves by the policy. The policy has been checked,
    /// and all sentences leave at the last exit.
    ///
    /// `None` if the engine does not apply policies. The caller then calls [`run`](Self::run) for
    /// each stage.
    fn run_all(&self, _: &Tokens, _: &ExitRule) -> Option<Result<Vec<Left>, Error>> {
        None
    }

    /// Number of tokens up to which sentences are best computed together.
    ///
    /// The default reads weights rarely, and keeps the values between layers in the processor's own
    /// cache.
    fn tokens_per_batch(&self) -> usize {
        256
    }

    /// Ends a batch and returns the memory of its tokens for the next batch. An engine that does
    /// not keep this memory returns empty [`Tokens`].
    fn end(&self, batch: Self::Batch) -> Tokens {
        drop(batch);
        Tokens::default()
    }
}

/// Tokens of a batch: all sentences side by side, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    offsets: Vec<usize>,
}

impl Tokens {
    /// Makes a batch of sentences.
    pub fn new<S: AsRef<[u32]>>(sentences: &[S]) -> Self {
        let mut tokens = Tokens { ids: Vec::new(), offsets: vec![0] };
        for sentence in sentences {
            tokens.ids.extend_from_slice(sentence.as_ref());
            tokens.offsets.push(tokens.ids.len());
        }
        tokens
    }

    /// Replaces the batch by one sentence, in the same memory.
    pub fn set(&mut self, sentence: &[u32]) {
        self.ids.clear();
        self.ids.extend_from_slice(sentence);
        self.offsets.clear();
        self.offsets.extend([0, sentence.len()]);
    }

    /// Token ids of all sentences.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Start of each sentence in [`ids`](Self::ids), then the end of the last sentence.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Takes the memory of a finished batch; [`set`](Self::set) fills it again.
    fn from_parts(ids: Vec<u32>, offsets: Vec<usize>) -> Self {
        Tokens { ids, offsets }
    }

    /// Returns [`ids`](Self::ids) and [`offsets`](Self::offsets).
    pub fn into_parts(self) -> (Vec<u32>, Vec<usize>) {
        (self.ids, self.offsets)
    }

    /// Number of sentences.
    pub fn sentences(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }
}
