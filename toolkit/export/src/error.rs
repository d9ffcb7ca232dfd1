//! Errors of reading, quantizing and exporting.

use std::path::PathBuf;

/// Error of exporting. Each message contains the place, the actual value and the accepted values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        cause: std::io::Error,
    },
    /// A folder must not be written, see [`Output`](crate::files::Output).
    #[error("{path}: {problem}")]
    Output {
        /// The folder.
        path: PathBuf,
        /// Reason, and the accepted values.
        problem: String,
    },
    /// A file of a checkpoint is unusable.
    #[error("{path}: {problem}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Fault, and the accepted values.
        problem: String,
    },
    /// A tensor of a checkpoint is missing or has another shape.
    #[error("{path}: tensor `{tensor}` {problem}")]
    Tensor {
        /// File of the weights.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Fault.
        problem: String,
    },
    /// A data file is unusable.
    #[error("{path}{}: {problem}", line.map_or_else(String::new, |l| format!(", line {l}")))]
    Data {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1, if the format has lines.
        line: Option<usize>,
        /// Fault, and the accepted values.
        problem: String,
    },
    /// The tokenizer of a checkpoint is unusable.
    #[error("{0}")]
    Tokenizer(edge_runtime::Error),
    /// Two inputs are incompatible.
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
