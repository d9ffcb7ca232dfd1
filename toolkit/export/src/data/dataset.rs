//! A data set in memory.

use super::columns::Columns;
use super::labels::{self, Lookup};
#[cfg(feature = "parquet")]
use super::parquet;
use super::raw::{Raw, Row, Value};
use super::{delimited, json_lines};
use crate::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// A text and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text.
    pub text: String,
    /// Index of the label, if the row has one.
    pub label: Option<u32>,
}

/// Texts, with labels or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Names of the labels, by index. Empty for a data set without labels.
    pub labels: Vec<String>,
    /// Rows, in the order of the file.
    pub examples: Vec<Example>,
}

/// Guessed properties of a file, for display to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Name of the format.
    pub format: &'static str,
    /// Column from which the texts were read.
    pub text: String,
    /// Column from which the labels were read.
    pub label: Option<String>,
    /// Remarks on guesses that may be wrong, each a sentence.
    pub notes: Vec<String>,
    labels: Vec<String>,
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, text from `{}`", self.format, self.text)?;
        match &self.label {
            None => f.write_str(", no labels")?,
            Some(label) => {
                write!(f, ", labels from `{label}`: ")?;
                const MOST: usize = 8;
                f.write_str(&self.labels[..self.labels.len().min(MOST)].join(", "))?;
                if let Some(more @ 1..) = self.labels.len().checked_sub(MOST) {
                    write!(f, " and {more} more")?;
                }
            }
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n  note: {note}"))
    }
}

/// Maximum size of a text in bytes; a longer text indicates a damaged file.
const LONGEST_TEXT: usize = 1 << 20;

impl Dataset {
    /// Reads a file of texts with labels.
    ///
    /// `labels` are the permitted names: those of the checkpoint, or of the training file. Without
    /// `labels` the names are those stored in the file (Parquet can), or else its different labels.
    /// Numbers are then sorted by size and words by the alphabet. Of spellings that differ only by
    /// case or space, the most frequent one is the name.
    ///
    /// A label is looked up as it is written, and then by the only name that differs by case or
    /// space. A number is a name, or the index of a name (from 0) if the names are words. A
    /// boolean, and the word `true` or `false`, is the name of that value, or else 1 or 0.
    /// [`Guess::notes`] lists labels that were found in another spelling.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Data`] with the line if its content is
    /// unusable.
    pub fn read(
        path: &Path,
        columns: &Columns,
        labels: Option<&[String]>,
    ) -> Result<(Self, Guess), Error> {
        Self::read_all(&[path], columns, labels)
    }

    /// Reads a file of texts and ignores its labels.
    ///
    /// # Errors
    /// Errors of [`Dataset::read`].
    pub fn read_unlabelled(path: &Path, columns: &Columns) -> Result<(Self, Guess), Error> {
        Self::read_all_unlabelled(&[path], columns)
    }

    /// Reads a data set that is split into files, see [`Dataset::read`].
    ///
    /// # Errors
    /// Errors of [`Dataset::read`].
    ///
    /// # Panics
    /// If `paths` is empty.
    pub fn read_all<P: AsRef<Path>>(
        paths: &[P],
        columns: &Columns,
        labels: Option<&[String]>,
    ) -> Result<(Self, Guess), Error> {
        let files = read_files(paths, columns, true)?;
        let names = match labels {
            Some(labels) => labels.to_vec(),
            None => labels::names(&files)?,
        };
        let mut examples = Vec::new();
        let mut guess = guess(&files[0].1);
        guess.labels.clone_from(&names);
        let mut lookup = Lookup::new(&names);
        for (path, raw) in files {
            // Names stored in a file apply to its numbers; given names apply to numbers of files
            // without names.
            let own = raw.names.filter(|own| *own != names).and_then(|own| lookup.places(&own));
            for row in raw.rows {
                let value = row.label.expect("a labelled row");
                let label = lookup
                    .number(&value, own.as_deref())
                    .map_err(|problem| row.at.error(&path, problem))?;
                examples.push(Example { text: row.text, label: Some(label) });
            }
        }
        let respelled = lookup.notes();
        if labels.is_none() && !respelled.is_empty() {
            guess.notes.push(
                "labels that differ by case or space only are one label; to keep them apart, list \
                 them in `data.labels`"
                    .into(),
            );
        }
        guess.notes.extend(respelled);
        Ok((Dataset { labels: names, examples }, guess))
    }

    /// Reads the texts of a data set that is split into files, see [`Dataset::read_unlabelled`].
    ///
    /// # Errors
    /// Errors of [`Dataset::read`].
    ///
    /// # Panics
    /// If `paths` is empty.
    pub fn read_all_unlabelled<P: AsRef<Path>>(
        paths: &[P],
        columns: &Columns,
    ) -> Result<(Self, Guess), Error> {
        let files = read_files(paths, columns, false)?;
        let guess = guess(&files[0].1);
        let rows = files.into_iter().flat_map(|(_, raw)| raw.rows);
        let examples = rows.map(|row| Example { text: row.text, label: None }).collect();
        Ok((Dataset { labels: Vec::new(), examples }, guess))
    }

    /// Texts, in the order of the rows.
    pub fn texts(&self) -> Vec<&str> {
        self.examples.iter().map(|e| e.text.as_str()).collect()
    }
}

/// The guesses of a reader, before the names of the labels are known.
fn guess(raw: &Raw) -> Guess {
    Guess {
        format: raw.format,
        text: raw.text.clone(),
        label: raw.label.clone(),
        notes: raw.notes.clone(),
        labels: Vec::new(),
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
            #[cfg(feature = "parquet")]
            "parquet" => parquet::read(path, columns, labelled),
            #[cfg(not(feature = "parquet"))]
            "parquet" => Err(Error::data(
                path,
                None,
                "this build reads no Parquet; write the texts as .tsv, .csv or .jsonl, or build with \
                 `--features parquet`",
            )),
            _ => Err(Error::data(
                path,
                None,
                "the extension of the file is unknown; expected .tsv, .csv, .jsonl (also .ndjson and .json) \
                 or .parquet",
            )),
        }?;
        if raw.rows.is_empty() {
            return Err(Error::data(path, None, "the file has no rows; expected at least one"));
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
        return Err("the text is empty; every row needs one".into());
    }
    if row.text.len() > LONGEST_TEXT {
        let size = row.text.len();
        return Err(format!("the text has {size} bytes; expected at most {LONGEST_TEXT} (1 MiB)"));
    }
    if row.text.contains('\0') {
        return Err("the text has a NUL character; the file is damaged, or not text".into());
    }
    match &row.label {
        None if labelled => Err("the label is missing; every row needs one".into()),
        Some(Value::Text(label)) if label.trim().is_empty() => {
            Err("the label is empty; every row needs one".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests;
