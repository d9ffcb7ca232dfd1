//! A data set in memory.

use super::columns::Columns;
use super::{delimited, json_lines, parquet};
use crate::Error;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// A text and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text.
    pub text: String,
    /// The number of the label, if the row has one.
    pub label: Option<u32>,
}

/// Texts, with labels or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The names of the labels, by their numbers. Empty for a data set without labels.
    pub labels: Vec<String>,
    /// The rows, in the order of the file.
    pub examples: Vec<Example>,
}

/// How a file was read: what of it was guessed, in words to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The format.
    pub format: &'static str,
    /// The column the texts were read from.
    pub text: String,
    /// The column the labels were read from.
    pub label: Option<String>,
    labels: Vec<String>,
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, text from `{}`", self.format, self.text)?;
        match &self.label {
            None => f.write_str(", no labels"),
            Some(label) => {
                write!(f, ", labels from `{label}`: ")?;
                const MOST: usize = 8;
                f.write_str(&self.labels[..self.labels.len().min(MOST)].join(", "))?;
                match self.labels.len().checked_sub(MOST) {
                    Some(more @ 1..) => write!(f, " and {more} more"),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Longer texts are a broken file, not something to classify.
const LONGEST_TEXT: usize = 1 << 20;
/// More kinds of labels are a column of something else.
const MOST_LABELS: usize = 4096;

/// Where a row stands, for messages.
#[derive(Clone, Copy)]
pub(super) enum At {
    Line(usize),
    /// Parquet has no lines.
    Row(usize),
}

impl At {
    pub(super) fn error(self, path: &Path, problem: impl fmt::Display) -> Error {
        match self {
            At::Line(line) => Error::data(path, Some(line), problem.to_string()),
            At::Row(row) => Error::data(path, None, format!("row {row}: {problem}")),
        }
    }
}

/// A label as it stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(i64),
    Text(String),
}

impl Value {
    /// A label from a format that has only text. What is written as we would write a number is one.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::Number(number),
            _ => Value::Text(text.into()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => f.write_str(text),
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
    pub rows: Vec<Row>,
}

impl Dataset {
    /// Reads a file of texts with labels.
    ///
    /// `labels` are the names that there are: those of the checkpoint, or of the file that is
    /// trained on; upper and lower case are the same. A label that is a number is then looked up among the names, and is the place of
    /// a name (from 0) if the names are words. Without `labels` the names are those that the file
    /// itself tells (Parquet can), or else its different labels: numbers by size, words by the
    /// alphabet.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Data`] with the line if something in it
    /// is not as it should be.
    pub fn read(
        path: &Path,
        columns: &Columns,
        labels: Option<&[String]>,
    ) -> Result<(Self, Guess), Error> {
        Self::read_all(&[path], columns, labels)
    }

    /// Reads a file of texts. Labels in it are not looked at.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read_unlabelled(path: &Path, columns: &Columns) -> Result<(Self, Guess), Error> {
        Self::read_all_unlabelled(&[path], columns)
    }

    /// Reads a data set that is cut into files, as [`Dataset::read`].
    ///
    /// # Errors
    /// As [`Dataset::read`].
    ///
    /// # Panics
    /// If there is no path.
    pub fn read_all<P: AsRef<Path>>(
        paths: &[P],
        columns: &Columns,
        labels: Option<&[String]>,
    ) -> Result<(Self, Guess), Error> {
        let files = read_files(paths, columns, true)?;
        let names = match labels {
            Some(labels) => labels.to_vec(),
            None => names(&files)?,
        };
        let mut examples = Vec::new();
        let mut guess = files[0].1.guess();
        guess.labels.clone_from(&names);
        for (path, raw) in files {
            // The names a file tells are for its numbers; ours are for ours.
            let own = raw.names.filter(|own| *own != names);
            for row in raw.rows {
                let value = row.label.expect("a labelled row");
                let label = number(&value, &names, own.as_deref())
                    .map_err(|problem| row.at.error(&path, problem))?;
                examples.push(Example { text: row.text, label: Some(label) });
            }
        }
        Ok((Dataset { labels: names, examples }, guess))
    }

    /// Reads the texts of a data set that is cut into files, as [`Dataset::read_unlabelled`].
    ///
    /// # Errors
    /// As [`Dataset::read`].
    ///
    /// # Panics
    /// If there is no path.
    pub fn read_all_unlabelled<P: AsRef<Path>>(
        paths: &[P],
        columns: &Columns,
    ) -> Result<(Self, Guess), Error> {
        let files = read_files(paths, columns, false)?;
        let guess = files[0].1.guess();
        let rows = files.into_iter().flat_map(|(_, raw)| raw.rows);
        let examples = rows.map(|row| Example { text: row.text, label: None }).collect();
        Ok((Dataset { labels: Vec::new(), examples }, guess))
    }

    /// The texts, in the order of the rows.
    pub fn texts(&self) -> Vec<&str> {
        self.examples.iter().map(|e| e.text.as_str()).collect()
    }
}

impl Raw {
    fn guess(&self) -> Guess {
        Guess {
            format: self.format,
            text: self.text.clone(),
            label: self.label.clone(),
            labels: Vec::new(),
        }
    }
}

fn read_files<P: AsRef<Path>>(
    paths: &[P],
    columns: &Columns,
    labelled: bool,
) -> Result<Vec<(PathBuf, Raw)>, Error> {
    assert!(!paths.is_empty(), "a data set has a file at least");
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let path = path.as_ref();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let raw = match &*extension {
            "tsv" => delimited::read(path, delimited::Style::Tsv, columns, labelled),
            "csv" => delimited::read(path, delimited::Style::Csv, columns, labelled),
            "jsonl" | "ndjson" | "json" => json_lines::read(path, columns, labelled),
            "parquet" => parquet::read(path, columns, labelled),
            _ => Err(Error::data(
                path,
                None,
                "the format is not known by the name; .tsv, .csv, .jsonl (also .ndjson and .json) \
                 and .parquet are read",
            )),
        }?;
        if raw.rows.is_empty() {
            return Err(Error::data(path, None, "there is no row in it"));
        }
        for row in &raw.rows {
            check(row, labelled).map_err(|problem| row.at.error(path, problem))?;
        }
        files.push((path.to_path_buf(), raw));
    }
    Ok(files)
}

fn check(row: &Row, labelled: bool) -> Result<(), String> {
    if row.text.trim().is_empty() {
        return Err("the text is empty; every row has one".into());
    }
    if row.text.len() > LONGEST_TEXT {
        let size = row.text.len();
        return Err(format!("the text has {size} bytes; up to {LONGEST_TEXT} (1 MiB) are read"));
    }
    if row.text.contains('\0') {
        return Err("the text has a NUL character; the file is damaged, or not text".into());
    }
    match &row.label {
        None if labelled => Err("the label is missing; every row has one".into()),
        Some(Value::Text(label)) if label.trim().is_empty() => {
            Err("the label is empty; every row has one".into())
        }
        _ => Ok(()),
    }
}

/// The names of the labels, found in the files themselves.
fn names(files: &[(PathBuf, Raw)]) -> Result<Vec<String>, Error> {
    if let Some(names) = &files[0].1.names {
        return Ok(names.clone());
    }
    let (mut numbers, mut words) = (BTreeSet::new(), BTreeSet::new());
    let mut first_number = None;
    for (path, raw) in files {
        for row in &raw.rows {
            match row.label.as_ref().expect("a labelled row") {
                Value::Number(-1) => return Err(row.at.error(path, HIDDEN)),
                Value::Number(number) => {
                    first_number.get_or_insert((path, row.at));
                    numbers.insert(*number)
                }
                Value::Text(word) => words.insert(word.trim()),
            };
            let found = numbers.len() + words.len();
            if found > MOST_LABELS {
                return Err(row.at.error(
                    path,
                    format!(
                        "so far {found} different labels; is `{}` the right column? Name another \
                         in `columns.label`",
                        raw.label.as_deref().unwrap_or_default()
                    ),
                ));
            }
        }
    }
    if let (Some((path, at)), Some(word)) = (first_number, words.first()) {
        return Err(at.error(
            path,
            format!("the label is a number, other rows have words, as `{word}`; use one kind"),
        ));
    }
    let names: Vec<String> = numbers
        .iter()
        .map(i64::to_string)
        .chain(words.iter().map(|word| word.to_string()))
        .collect();
    if let [only] = &names[..] {
        return Err(Error::data(
            &files[0].0,
            None,
            format!("every row has the label `{only}`; there is nothing to tell apart"),
        ));
    }
    Ok(names)
}

const HIDDEN: &str = "the label is -1, which is how GLUE hides the labels of its test sets; use \
                      the dev (validation) set. If -1 is a class of yours, write it as a word";

/// The number of a label. `own` are the names of the numbers in the file, if it tells them.
fn number(value: &Value, names: &[String], own: Option<&[String]>) -> Result<u32, String> {
    let accepted = || {
        let shown: Vec<_> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > shown.len() { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    };
    let by_name = |name: &str| {
        let exact = names.iter().position(|n| n == name);
        exact.or_else(|| names.iter().position(|n| n.eq_ignore_ascii_case(name))).map(|i| i as u32)
    };
    let found = match value {
        Value::Text(name) => by_name(name.trim()),
        Value::Number(-1) if by_name("-1").is_none() => return Err(HIDDEN.into()),
        Value::Number(number) => match (usize::try_from(*number), own) {
            // Our names may stand in another order than the file's: words are surer than places.
            (Ok(place), Some(own)) if own.iter().all(|name| by_name(name).is_some()) => {
                own.get(place).and_then(|name| by_name(name))
            }
            (Ok(place), _) => by_name(&number.to_string()).or_else(|| {
                let words = names.iter().all(|name| name.parse::<i64>().is_err());
                (words && place < names.len()).then_some(place as u32)
            }),
            (Err(_), _) => by_name(&number.to_string()),
        },
    };
    found.ok_or_else(|| {
        let last = names.len().saturating_sub(1);
        match value {
            Value::Number(_) if names.iter().all(|name| name.parse::<i64>().is_err()) => {
                format!(
                    "the label `{value}` is not known; there are {}, or 0 to {last}",
                    accepted()
                )
            }
            _ => format!("the label `{value}` is not known; there are {}", accepted()),
        }
    })
}

#[cfg(test)]
mod tests;
