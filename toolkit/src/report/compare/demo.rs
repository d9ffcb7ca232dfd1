//! Figures of the demo's compare page: `web-demo/data/compare.json`.

use super::super::record::{Record, Way};
use super::Report;
use crate::Error;
use crate::measure::evaluation::Exit;
use crate::measure::metrics::Proportion;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    measured: Conditions<'a>,
    layers: usize,
    models: Vec<Model>,
    exits: Vec<Leaving>,
}

#[derive(Serialize)]
struct Conditions<'a> {
    date: &'a str,
    machine: &'a str,
    threads: usize,
    sentences: usize,
    rounds: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Model {
    id: &'static str,
    parameters: u64,
    bytes: u64,
    sentences_per_second: Option<f64>,
    accuracy: Proportion,
    share: f64,
}

#[derive(Serialize)]
struct Leaving {
    layer: usize,
    accuracy: Proportion,
    leave: usize,
}

impl Report {
    /// Formats the JSON of the demo: the records `teacher`, `student` and `int8`, `int8` also with
    /// its exits, and `small` with its exits.
    ///
    /// # Errors
    /// [`Error::Unfit`] if a record is missing, or lacks a figure of the page.
    pub fn demo(&self) -> Result<String, Error> {
        let lacks = |id: &str, what: &str| {
            Error::Unfit(format!(
                "the demo shows {what} of the model `{id}`, which is not measured; \
                 add it to the suite"
            ))
        };
        let record = |id| self.get(id).ok_or_else(|| lacks(id, "the figures"));
        let model = |id, record: &Record, way: Way| {
            Ok::<_, Error>(Model {
                id,
                parameters: record
                    .parameters
                    .ok_or_else(|| lacks(&record.id, "the parameters"))?
                    .all,
                bytes: record.bytes.ok_or_else(|| lacks(&record.id, "the size"))?,
                sentences_per_second: way.pace.map(|p| p.sentences_per_second.round()),
                accuracy: way.accuracy,
                share: way.share,
            })
        };
        let (teacher, student, int8) = (record("teacher")?, record("student")?, record("int8")?);
        let measured = int8.measured().ok_or_else(|| lacks("int8", "the exits"))?;
        let speed = measured.speed.as_ref().ok_or_else(|| lacks("int8", "the speed"))?;
        let early = int8.early_exit().ok_or_else(|| lacks("int8", "the early exits"))?;
        let small = record("small")?;
        let small_early = small.early_exit().ok_or_else(|| lacks("small", "the early exits"))?;
        let page = Page {
            measured: Conditions {
                date: &speed.day,
                machine: &speed.processor,
                threads: speed.threads,
                sentences: int8.data.sentences,
                rounds: speed.rounds,
            },
            layers: measured.evaluation.layers,
            models: vec![
                model("teacher", teacher, teacher.full_depth())?,
                model("student", student, student.full_depth())?,
                model("int8", int8, int8.full_depth())?,
                model("exits", int8, early)?,
                model("small", small, small_early)?,
            ],
            exits: (measured.evaluation.exits.iter())
                .map(|Exit { layer, accuracy, leave, .. }| Leaving {
                    layer: *layer,
                    accuracy: *accuracy,
                    leave: *leave,
                })
                .collect(),
        };
        Ok(serde_json::to_string_pretty(&page).expect("plain data") + "\n")
    }
}
