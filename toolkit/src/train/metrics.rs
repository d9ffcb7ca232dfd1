//! Metrics of a training run: JSON lines for programs, event files for TensorBoard.

use super::events::Events;
use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file of JSON lines in the folder of a run.
pub const FILE: &str = "metrics.jsonl";

/// Measurements of a step; missing measurements are omitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Record {
    /// Number of completed optimizer steps, including this one.
    pub step: u64,
    /// Number of passes over the data, with fractions.
    pub epoch: f64,
    /// Loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Parts of the loss by name, before weighting.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// Learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Training tokens per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Accuracy on the validation data, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Other measurements, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<String, f64>,
}

impl Record {
    /// Values with their names in TensorBoard.
    fn scalars(&self) -> Vec<(String, f64)> {
        let named = [
            ("epoch", Some(self.epoch)),
            ("loss", self.loss),
            ("lr", self.lr),
            ("tokens_per_second", self.tokens_per_second),
            ("accuracy", self.accuracy),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        let parts = self.parts.iter().map(|(name, value)| (format!("loss/{name}"), *value));
        let more = self.more.iter().map(|(name, value)| (name.clone(), *value));
        named.chain(parts).chain(more).collect()
    }
}

/// Writer of the metrics of a run. Every record is in the files when [`log`](Self::log) returns.
pub struct Metrics {
    path: PathBuf,
    lines: File,
    events: Events,
}

impl Metrics {
    /// Starts the metrics of a new run in a folder. Records of an older run are removed from the
    /// JSON lines and discarded by TensorBoard.
    ///
    /// # Errors
    /// [`Error::Io`] if the files cannot be written.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        Self::open(folder, "", 0)
    }

    /// Continues the metrics of a run that was resumed after `step` steps. Later records and
    /// incomplete lines of a killed run are removed. TensorBoard gets a new file, which discards
    /// the later steps of the earlier files.
    ///
    /// # Errors
    /// [`Error::Io`] if the files cannot be read or written.
    pub fn resume(folder: &Path, step: u64) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // The run was killed before its first record.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io(path, e)),
        };
        #[derive(Deserialize)]
        struct Step {
            step: u64,
        }
        let kept = text.lines().filter(|line| {
            serde_json::from_str::<Step>(line).is_ok_and(|record| record.step <= step)
        });
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        Self::open(folder, &kept, step + 1)
    }

    fn open(folder: &Path, kept: &str, first_step: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let path = folder.join(FILE);
        // The file is renamed into place, so a killed program leaves the older file.
        crate::files::write(&path, kept)?;
        let lines = OpenOptions::new().append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        let events = Events::create(folder, Some(first_step)).map_err(|e| Error::io(folder, e))?;
        Ok(Metrics { path, lines, events })
    }

    /// Appends a record. NaN and infinity are `null` in the JSON lines.
    ///
    /// # Errors
    /// [`Error::Io`] if the files cannot be written.
    pub fn log(&mut self, record: &Record) -> Result<(), Error> {
        let io = |e| Error::io(&self.path, e);
        let mut line = serde_json::to_vec(record).map_err(|e| io(e.into()))?;
        line.push(b'\n');
        self.lines.write_all(&line).map_err(io)?;
        self.events.scalars(record.step, &record.scalars()).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::scalars;
    use super::*;

    fn record(step: u64) -> Record {
        Record {
            step,
            epoch: step as f64 / 4.0,
            loss: Some(1.0 / step as f64),
            parts: BTreeMap::from([("kd".into(), 0.5), ("hidden".into(), 0.25)]),
            lr: Some(0.0),
            ..Record::default()
        }
    }

    fn steps(folder: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(folder.join(FILE)).unwrap();
        let lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.map(|l| l["step"].as_u64().unwrap()).collect()
    }

    fn event_files(folder: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.retain(|p| p.to_string_lossy().contains("tfevents"));
        paths.sort();
        paths
    }

    #[test]
    fn both_files_hold_the_values() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::create(folder.path()).unwrap();
        metrics.log(&record(1)).unwrap();
        metrics.log(&Record { accuracy: Some(0.75), ..record(2) }).unwrap();
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        let first =
            r#"{"step":1,"epoch":0.25,"loss":1.0,"parts":{"hidden":0.25,"kd":0.5},"lr":0.0}"#;
        assert_eq!(text.lines().next().unwrap(), first);
        let scalars = scalars(&event_files(folder.path())[0]);
        for expected in
            [(1, "loss", 1.0), (1, "loss/kd", 0.5), (1, "lr", 0.0), (2, "accuracy", 0.75)]
        {
            let (step, tag, value) = expected;
            assert!(scalars.contains(&(step, tag.into(), value)), "{expected:?}");
        }
        assert_eq!(scalars.len(), 5 + 6);
    }

    #[test]
    fn a_resume_goes_on_where_the_checkpoint_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::create(folder.path()).unwrap();
        (1..=5).for_each(|step| metrics.log(&record(step)).unwrap());
        drop(metrics);
        let mut metrics = Metrics::resume(folder.path(), 3).unwrap();
        assert_eq!(steps(folder.path()), [1, 2, 3]);
        metrics.log(&record(4)).unwrap();
        assert_eq!(steps(folder.path()), [1, 2, 3, 4]);
        assert_eq!(event_files(folder.path()).len(), 2);
        drop(Metrics::create(folder.path()).unwrap());
        assert_eq!(steps(folder.path()), [] as [u64; 0], "a new run");
    }

    #[test]
    fn a_line_cut_in_half_does_not_break_a_resume() {
        let whole = "{\"step\":1,\"epoch\":0.1}\n{\"step\":2,\"epoch\":0.2,\"more\":{\"ä\":1.0}}\n";
        for cut in 0..=whole.len() {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE), &whole.as_bytes()[..cut]).unwrap();
            let mut metrics = Metrics::resume(folder.path(), 9).unwrap();
            metrics.log(&record(10)).unwrap();
            let steps = steps(folder.path());
            // A record that lacks only its line end is complete.
            let expected = [22, whole.len() - 1].iter().filter(|end| cut >= **end).count();
            assert_eq!(steps.len(), expected + 1, "cut at {cut}: {steps:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(Metrics::resume(&folder.path().join("new"), 0).is_ok(), "killed before it began");
    }

    #[test]
    fn a_loss_that_is_not_finite_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::create(folder.path()).unwrap();
        metrics.log(&Record { loss: Some(f64::NAN), ..record(1) }).unwrap();
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.contains("\"loss\":null"), "{text}");
        assert_eq!(steps(folder.path()), [1]);
    }
}
