//! Errors of the runtime.

use std::path::PathBuf;

/// Error of the runtime. Each message names the fault, its place and the accepted form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
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
        /// Problem of the entry.
        problem: String,
    },
    /// A graph cannot be used.
    #[error("{graph}, node `{node}`: {problem}")]
    Graph {
        /// The graph: `stage-3.onnx` or a file name.
        graph: String,
        /// The node, or the part of the graph, that is at fault.
        node: String,
        /// Problem of the node, with the form that is accepted.
        problem: String,
    },
    /// `tokenizer.json` cannot be used.
    #[error("tokenizer.json: {0}")]
    Tokenizer(String),
    /// An exit policy does not fit the model.
    #[error("exit policy: {0}")]
    Policy(String),
    /// A stage that is needed has not arrived.
    #[error("stage {needed} is needed and only {arrived} of {total} stages have arrived")]
    Incomplete {
        /// The stage that is needed.
        needed: usize,
        /// Number of stages that have arrived.
        arrived: usize,
        /// Number of stages of the bundle.
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
        /// Message of the engine.
        problem: String,
    },
    /// The GPU cannot be used, or has failed. The CPU engine runs without a GPU.
    #[error("GPU: {problem}")]
    Gpu {
        /// Kind of the failure.
        failure: GpuFailure,
        /// Message of the GPU driver.
        problem: String,
    },
}

/// Kind of a GPU failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuFailure {
    /// No usable adapter was found.
    NoAdapter,
    /// The memory of the GPU is too small.
    OutOfMemory,
    /// The GPU was removed or reset, or its driver was replaced. Its engine cannot be used again.
    Lost,
    /// Another failure, described by the driver.
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
