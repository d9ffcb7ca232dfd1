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
    /// A folder may not be written, see [`Output`](crate::files::Output).
    #[error("{path}: {problem}")]
    Output {
        /// The folder.
        path: PathBuf,
        /// Why, and what is accepted.
        problem: String,
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
    /// A tensor operation failed; out of memory, or a fault of ours.
    #[error("the computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// The tokenizer of a checkpoint cannot be used.
    #[error("{0}")]
    Tokenizer(edge_runtime::Error),
    /// The run was told to stop; what it has done is stored.
    #[error("stopped{}", step.map_or_else(String::new, |s| format!(" after step {s}")))]
    Interrupted {
        /// The steps that were made and stored, where training had begun.
        step: Option<usize>,
    },
    /// Training went wrong.
    #[error("at step {step} {problem}")]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// What was seen, and what to try.
        problem: String,
    },
    /// Two things do not go together.
    #[error("{0}")]
    Unfit(String),
    /// There are not enough rows to hold out.
    #[error(
        "cannot hold out {wanted} rows: only {whole} of the {rows} rows are whole ({min_words} \
         words or more, and no part or repetition of another row). A word is what is between spaces; \
         in Chinese, Japanese, Thai and the like it is a character. Lower data.hold_out, or \
         data.hold_out_words"
    )]
    HoldOut {
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        whole: usize,
        /// How many rows there are in all.
        rows: usize,
        /// How many words a row must have.
        min_words: usize,
    },
    /// Something cannot be had from the Hugging Face hub.
    #[error("{name}: {problem}")]
    Hub {
        /// The checkpoint or data set, and the file where it is about one.
        name: String,
        /// What is wrong, and what to do.
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
