//! Report that compares models: a page, Markdown, and the figures of the demo and the README, all
//! from saved measurements.

mod charts;
mod demo;
mod flow;
mod markdown;
mod page;
mod rows;

pub use crate::chart::svg::Drawing;
pub use markdown::replace_marked;

use super::record::{MadeBy, Record};
use crate::Error;
use std::path::Path;

/// Models that were measured on the same sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Records in display order: a model follows the model that it was made from; of equal origin,
    /// the largest comes first.
    records: Vec<Record>,
}

impl Report {
    /// Reads all records of a folder: its files that end with `.json`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Data`] if a file is not a record; errors of [`Report::new`].
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let io = |e| Error::io(folder, e);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|e| e == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        let records = paths.iter().map(|path| Record::read(path)).collect::<Result<_, _>>()?;
        Self::new(records).map_err(|error| match error {
            Error::Measure(problem) => Error::data(folder, None, problem),
            other => other,
        })
    }

    /// Creates a report of records.
    ///
    /// # Errors
    /// [`Error::Measure`] if there are no records, if two have the same id, or if their data
    /// differ. [`Error::Measure`] if the origin of a model is missing, or is the model itself.
    pub fn new(mut records: Vec<Record>) -> Result<Self, Error> {
        let wrong = |problem: String| Err(Error::Measure(problem));
        let Some(first) = records.first() else {
            return wrong("no saved measurements; `edge-distill measure` writes them".into());
        };
        if let Some(other) = records.iter().find(|r| r.data != first.data) {
            return wrong(format!(
                "`{}` was measured on {}, `{}` on {}; figures of different sentences cannot be \
                 compared",
                first.id,
                of(first),
                other.id,
                of(other)
            ));
        }
        records.sort_by(|a, b| (b.bytes, a.step, &a.id).cmp(&(a.bytes, b.step, &b.id)));
        for (i, record) in records.iter().enumerate() {
            if records[..i].iter().any(|r| r.id == record.id) {
                return wrong(format!("two measurements have the id `{}`", record.id));
            }
            if let Some(from) = &record.from
                && !records.iter().any(|r| r.id == *from)
            {
                return wrong(format!(
                    "`{}` was made from `{from}`, which has no measurement; measure it too",
                    record.id
                ));
            }
        }
        let mut ordered = Vec::new();
        descend(None, &records, &mut ordered);
        if let Some(lost) = records.iter().find(|r| !ordered.contains(r)) {
            return wrong(format!(
                "`{}` was made from itself, through other models; correct a `from`",
                lost.id
            ));
        }
        Ok(Report { records: ordered })
    }

    /// Returns the records in display order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Number of a record, counted from 1.
    fn number(&self, record: &Record) -> usize {
        1 + self.records.iter().position(|r| r.id == record.id).unwrap_or(0)
    }

    /// Number and name of a record.
    fn called(&self, record: &Record) -> String {
        format!("{}. {}", self.number(record), record.name)
    }

    fn get(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|r| r.id == id)
    }

    /// Record that a model was made from.
    fn parent(&self, record: &Record) -> Option<&Record> {
        self.get(record.from.as_ref()?)
    }

    /// Share of the encoder's weights that is zero or removed, 0 to 1, relative to the model before
    /// compression.
    fn pruned(&self, record: &Record) -> Option<f64> {
        let own = record.parameters.filter(|p| p.encoder > 0)?;
        let mut base = record;
        while let Some(parent) = self.parent(base)
            && base.step > MadeBy::Distil
            && parent.parameters.is_some_and(|p| p.encoder > 0)
        {
            base = parent;
        }
        let before = base.parameters.map_or(own.encoder, |p| p.encoder);
        Some((1.0 - own.encoder_nonzero as f64 / before as f64).max(0.0))
    }
}

fn of(record: &Record) -> String {
    let data = &record.data;
    let digits = data.sha256.get(..8).unwrap_or(&data.sha256);
    format!("{} ({} sentences, SHA-256 {digits}…)", data.name, data.sentences)
}

fn descend(from: Option<&str>, records: &[Record], ordered: &mut Vec<Record>) {
    for record in records.iter().filter(|r| r.from.as_deref() == from) {
        ordered.push(record.clone());
        descend(Some(&record.id), records, ordered);
    }
}

#[cfg(test)]
mod tests;
