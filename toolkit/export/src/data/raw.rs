//! Rows of a file before their labels have numbers.

use crate::Error;
use std::fmt;
use std::path::Path;

/// Label as stored in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(i64),
    /// Boolean, in formats that have a type for it.
    Flag(bool),
    Text(String),
}

impl Value {
    /// Parses a label of a format that contains only text. A whole number in canonical form is a
    /// number. Zeros after a decimal point are ignored, because pandas writes them.
    pub(super) fn parse(text: &str) -> Self {
        let trimmed = text.trim();
        let whole = match trimmed.split_once('.') {
            Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
            _ => trimmed,
        };
        match whole.parse::<i64>() {
            Ok(number) if number.to_string() == whole => Value::Number(number),
            _ => Value::Text(text.into()),
        }
    }

    /// Parses a label from the decimal digits of a float; `None` for NaN, infinity, and whole
    /// numbers beyond 64 bits.
    pub(super) fn float(digits: &str) -> Option<Self> {
        match Value::parse(digits) {
            Value::Text(text) if !text.contains('.') => None,
            value => Some(value),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
            Value::Text(text) => f.write_str(text.trim()),
        }
    }
}

/// Position of a row, for messages.
#[derive(Clone, Copy)]
pub(super) enum At {
    Line(usize),
    /// Row number, for Parquet, which has no lines.
    #[cfg(feature = "parquet")]
    Row(usize),
}

impl At {
    pub(super) fn error(self, path: &Path, problem: impl fmt::Display) -> Error {
        match self {
            At::Line(line) => Error::data(path, Some(line), problem.to_string()),
            #[cfg(feature = "parquet")]
            At::Row(row) => Error::data(path, None, format!("row {row}: {problem}")),
        }
    }
}

pub(super) struct Row {
    pub at: At,
    pub text: String,
    pub label: Option<Value>,
}

/// Content of a file, from the reader of its format.
pub(super) struct Raw {
    pub format: &'static str,
    pub text: String,
    pub label: Option<String>,
    /// Names of the labels, if the file contains them.
    pub names: Option<Vec<String>>,
    /// See [`Guess::notes`](super::Guess::notes).
    pub notes: Vec<String>,
    pub rows: Vec<Row>,
}
