//! Errors of the toolkit, with messages for users.

use std::path::PathBuf;

/// Error of the toolkit. Each message contains the fault, its place, and the accepted values.
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
    /// A tensor operation failed: out of memory, or a fault of the toolkit.
    #[error("the computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// The tokenizer of a checkpoint is unusable.
    #[error("{0}")]
    Tokenizer(edge_runtime::Error),
    /// The run was interrupted; its completed steps are stored.
    #[error("stopped{}", step.map_or_else(String::new, |s| format!(" after step {s}")))]
    Interrupted {
        /// Number of completed and stored steps, if training had begun.
        step: Option<usize>,
    },
    /// Training diverged.
    #[error("at step {step} {problem}")]
    Diverged {
        /// Step, counted from 1.
        step: usize,
        /// Observation, and a remedy.
        problem: String,
    },
    /// Two inputs are incompatible.
    #[error("{0}")]
    Unfit(String),
    /// The data has too few rows to hold out.
    #[error(
        "cannot hold out {wanted} rows: only {whole} of the {rows} rows are whole ({min_words} \
         words or more, and no part or repetition of another row). Spaces separate words; \
         in Chinese, Japanese, Thai and similar scripts every character is a word. Lower \
         data.hold_out or data.hold_out_words"
    )]
    HoldOut {
        /// Requested number of rows.
        wanted: usize,
        /// Number of whole rows.
        whole: usize,
        /// Number of all rows.
        rows: usize,
        /// Minimum number of words of a whole row.
        min_words: usize,
    },
    /// A request to the Hugging Face hub failed.
    #[error("{name}: {problem}")]
    Hub {
        /// Name of the checkpoint or data set, and of the file if the error concerns a file.
        name: String,
        /// Fault, and the remedy.
        problem: String,
    },
    /// A bundle cannot be measured.
    #[error("{path}: {cause}")]
    Bundle {
        /// Path of the bundle.
        path: PathBuf,
        /// Error of the runtime.
        cause: edge_runtime::Error,
    },
    /// Requested figures cannot be computed.
    #[error("cannot measure: {0}")]
    Measure(String),
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

    pub(crate) fn hub(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Hub { name: name.into(), problem: problem.into() }
    }
}

impl From<edge_runtime::Error> for Error {
    fn from(error: edge_runtime::Error) -> Self {
        Error::Unusable(error)
    }
}

impl From<edge_export::Error> for Error {
    fn from(error: edge_export::Error) -> Self {
        use edge_export::Error as Export;
        match error {
            Export::Io { path, cause } => Error::Io { path, cause },
            Export::Output { path, problem } => Error::Output { path, problem },
            Export::Checkpoint { path, problem } => Error::Checkpoint { path, problem },
            Export::Tensor { path, tensor, problem } => Error::Tensor { path, tensor, problem },
            Export::Data { path, line, problem } => Error::Data { path, line, problem },
            Export::Tokenizer(cause) => Error::Tokenizer(cause),
            Export::Unusable(cause) => Error::Unusable(cause),
            other => Error::Unfit(other.to_string()),
        }
    }
}
