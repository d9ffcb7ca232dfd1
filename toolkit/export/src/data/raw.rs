//! Rows of a file before their labels have numbers.

use crate::Error;
use std::fmt;
use std::path::Path;

/// A label as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(i64),
    /// A boolean of a format that has them.
    Flag(bool),
    Text(String),
}

impl Value {
    /// Reads a label from a format that has only text. A whole number as we would write it is a
    /// number, also with zeros behind a point, as pandas writes it.
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

    /// Reads a label from the decimal digits of a float; NaN, infinities, and whole numbers beyond
    /// 64 bits give nothing.
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

/// Where a row stands, for messages.
#[derive(Clone, Copy)]
pub(super) enum At {
    Line(usize),
    /// Parquet has no lines.
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

/// What a format's reader makes of a file.
pub(super) struct Raw {
    pub format: &'static str,
    pub text: String,
    pub label: Option<String>,
    /// The names of the labels, where the file tells them.
    pub names: Option<Vec<String>>,
    /// See [`Guess::notes`](super::Guess::notes).
    pub notes: Vec<String>,
    pub rows: Vec<Row>,
}
