//! Engines execute stages. They know nothing of text, labels or policies.

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

use crate::graph::StageGraph;
use crate::{Error, ExitPolicy};

/// Runs the stages of a model, one after the other, on a batch of sentences.
pub trait Engine: Send + Sync {
    /// What a batch carries from stage to stage.
    type Batch: Send;

    /// Prepares the next stage. Stages come in order, and may come while batches are under way.
    ///
    /// # Errors
    /// [`Error::Graph`] if the stage does not follow from the one before it, or the engine cannot
    /// run it.
    fn add_stage(&mut self, stage: StageGraph) -> Result<(), Error>;

    /// How many stages have been added.
    fn stages(&self) -> usize;

    /// Starts a batch.
    ///
    /// # Errors
    /// [`Error::Engine`] if the engine cannot take the batch.
    fn begin(&self, tokens: Tokens) -> Result<Self::Batch, Error>;

    /// Runs stage `stage` on the batch and gives whether it has an exit, whose logits then replace
    /// those in `logits`. A batch goes through the stages in order, each once.
    ///
    /// # Errors
    /// [`Error::Engine`] if the computation fails.
    fn run(
        &self,
        stage: usize,
        batch: &mut Self::Batch,
        logits: &mut Logits,
    ) -> Result<bool, Error>;

    /// Drops all sentences of the batch but those at the indices in `stay`, which are ascending.
    ///
    /// # Errors
    /// [`Error::Engine`] if the engine cannot do so.
    fn keep(&self, batch: &mut Self::Batch, stay: &[usize]) -> Result<(), Error>;

    /// Takes a batch through all stages, each sentence until it leaves by the policy, which has been
    /// checked; the last exit takes all. `None` from an engine that does not decide this itself: it
    /// is then asked stage by stage.
    fn run_all(&self, _: &Tokens, _: &ExitPolicy) -> Option<Result<Vec<Left>, Error>> {
        None
    }

    /// Sentences are best computed together until they have this many tokens: enough to read weights
    /// rarely, and few enough for what passes between layers to stay in a processor's own cache.
    fn tokens_per_batch(&self) -> usize {
        256
    }

    /// Ends a batch and gives back what its tokens stood in, so that those of a next batch need no
    /// memory of their own. An engine that does not keep it gives empty [`Tokens`].
    fn end(&self, batch: Self::Batch) -> Tokens {
        drop(batch);
        Tokens::default()
    }
}

/// A sentence that has left.
#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    /// The stage after which it left.
    pub stage: usize,
    /// The logits at every exit that it passed.
    pub exits: Vec<Vec<f32>>,
}

/// The tokens of a batch: those of all sentences side by side, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    offsets: Vec<usize>,
}

impl Tokens {
    /// A batch of sentences.
    pub fn new<S: AsRef<[u32]>>(sentences: &[S]) -> Self {
        let mut tokens = Tokens { ids: Vec::new(), offsets: vec![0] };
        for sentence in sentences {
            tokens.ids.extend_from_slice(sentence.as_ref());
            tokens.offsets.push(tokens.ids.len());
        }
        tokens
    }

    /// Replaces the batch by one sentence, in the memory that is there.
    pub fn set(&mut self, sentence: &[u32]) {
        self.ids.clear();
        self.ids.extend_from_slice(sentence);
        self.offsets.clear();
        self.offsets.extend([0, sentence.len()]);
    }

    /// The ids of all sentences.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each sentence begins in [`ids`](Self::ids), and last where the last one ends.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The memory of a batch that is done; [`set`](Self::set) fills it anew.
    fn from_parts(ids: Vec<u32>, offsets: Vec<usize>) -> Self {
        Tokens { ids, offsets }
    }

    /// [`ids`](Self::ids) and [`offsets`](Self::offsets).
    pub fn into_parts(self) -> (Vec<u32>, Vec<usize>) {
        (self.ids, self.offsets)
    }

    /// The number of sentences.
    pub fn sentences(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }
}

/// What an exit gives: one row of logits per sentence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logits {
    /// `[sentences, labels]`.
    pub values: Vec<f32>,
    /// Number of labels.
    pub labels: usize,
}

impl Logits {
    /// The logits of each sentence.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.labels.max(1))
    }
}
