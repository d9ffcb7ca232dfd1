//! What can go wrong, in words for people.

use std::path::PathBuf;

/// An error of the runtime. Each message says what was wrong, where, and what is accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file of a checkpoint, or an ONNX file from elsewhere, cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// Problem of the file, with the form that is accepted.
        problem: String,
    },
    /// The stream that a bundle arrives on failed.
    #[error("the stream failed before the bundle was complete: {0}")]
    Stream(String),
    /// A bundle is damaged, hostile or of another version.
    #[error("bundle entry `{entry}`: {problem}")]
    Bundle {
        /// The entry that was being read.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A graph cannot be run.
    #[error("{graph}, node `{node}`: {problem}")]
    Graph {
        /// The graph: `stage-3.onnx` or a file name.
        graph: String,
        /// The node, or the part of the graph, that is at fault.
        node: String,
        /// What is wrong with it, and what is accepted.
        problem: String,
    },
    /// `tokenizer.json` cannot be used.
    #[error("tokenizer.json: {0}")]
    Tokenizer(String),
    /// An exit policy does not fit the model.
    #[error("exit policy: {0}")]
    Policy(String),
    /// A stage is needed that has not arrived.
    #[error("stage {needed} is needed and only {arrived} of {total} stages have arrived")]
    Incomplete {
        /// The stage that is needed.
        needed: usize,
        /// How many have arrived.
        arrived: usize,
        /// How many there will be.
        total: usize,
    },
    /// An exit gave a logit that is not a finite number.
    #[error("stage {stage} gave the logit {value}; the weights of this model are damaged")]
    NotFinite {
        /// The stage.
        stage: usize,
        /// The logit.
        value: f32,
    },
    /// The engine failed.
    #[error("engine, stage {stage}: {problem}")]
    Engine {
        /// The stage that was run.
        stage: usize,
        /// What the engine said.
        problem: String,
    },
    /// The GPU cannot be used, or has failed. The CPU engine needs none.
    #[error("GPU: {problem}")]
    Gpu {
        /// What kind of failure it is.
        failure: GpuFailure,
        /// What the GPU said.
        problem: String,
    },
}

/// How a GPU fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuFailure {
    /// There is none, or none that can be used.
    NoAdapter,
    /// It has not enough memory.
    OutOfMemory,
    /// It is gone: removed, reset, or its driver was replaced. Its engine is of no further use.
    Lost,
    /// Something else, in the words of the driver.
    Other,
}

impl Error {
    #[cfg(feature = "pretrained")]
    pub(crate) fn file(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Error::File { path: path.into(), problem: problem.into() }
    }

    pub(crate) fn bundle(entry: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Bundle { entry: entry.into(), problem: problem.into() }
    }

    pub(crate) fn graph(
        graph: impl Into<String>,
        node: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Error::Graph { graph: graph.into(), node: node.into(), problem: problem.into() }
    }
}
