//! Errors of reading, quantizing and exporting.

use std::path::PathBuf;

/// An error of exporting. Each message has the place, the actual value and what is accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A folder may not be written, see [`Output`](crate::files::Output).
    #[error("{path}: {problem}")]
    Output {
        /// The folder.
        path: PathBuf,
        /// The reason, and what is accepted.
        problem: String,
    },
    /// A file of a checkpoint cannot be used.
    #[error("{path}: {problem}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The fault, and what is accepted.
        problem: String,
    },
    /// A tensor of a checkpoint is missing or of another shape.
    #[error("{path}: tensor `{tensor}` {problem}")]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The fault.
        problem: String,
    },
    /// A file of data cannot be used.
    #[error("{path}{}: {problem}", line.map_or_else(String::new, |l| format!(", line {l}")))]
    Data {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where the format has lines.
        line: Option<usize>,
        /// The fault, and what is accepted.
        problem: String,
    },
    /// The tokenizer of a checkpoint cannot be used.
    #[error("{0}")]
    Tokenizer(edge_runtime::Error),
    /// Two things do not go together.
    #[error("{0}")]
    Unfit(String),
    /// The exported bundle does not run.
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

    pub(crate) fn data(
        path: impl Into<PathBuf>,
        line: Option<usize>,
        problem: impl Into<String>,
    ) -> Self {
        Error::Data { path: path.into(), line, problem: problem.into() }
    }
}

impl From<edge_runtime::Error> for Error {
    fn from(error: edge_runtime::Error) -> Self {
        Error::Unusable(error)
    }
}
