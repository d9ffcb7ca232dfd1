//! What can go wrong, in words for people.

use std::path::PathBuf;

/// An error of the toolkit. Each message says what was wrong, where, and what is accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file of a checkpoint is not what it should be.
    #[error("{path}: {problem}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what is accepted.
        problem: String,
    },
    /// A tensor of a checkpoint is missing or of another shape.
    #[error("{path}: tensor `{tensor}` {problem}")]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of data is not what it should be.
    #[error("{path}{}: {problem}", line.map_or_else(String::new, |l| format!(", line {l}")))]
    Data {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where the format has lines.
        line: Option<usize>,
        /// What is wrong with it, and what is accepted.
        problem: String,
    },
    /// A bundle cannot be measured.
    #[error("{path}: {cause}")]
    Bundle {
        /// The bundle.
        path: PathBuf,
        /// What the runtime says.
        cause: edge_runtime::Error,
    },
    /// Figures are asked for that cannot be computed.
    #[error("cannot measure: {0}")]
    Measure(String),
    /// What was exported does not run.
    #[error("the exported bundle does not run, nothing was written: {0}")]
    Unusable(edge_runtime::Error),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Error::Io { path: path.into(), cause }
    }

    pub(crate) fn checkpoint(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Error::Checkpoint { path: path.into(), problem: problem.into() }
    }
}

impl From<edge_runtime::Error> for Error {
    fn from(error: edge_runtime::Error) -> Self {
        Error::Unusable(error)
    }
}
