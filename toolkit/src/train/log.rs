//! One line per logged step.

use crate::Error;
use candle_core::Tensor;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// What is known of a step.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// The step, counted from 1.
    pub step: usize,
    /// The pass over the data, counted from 0.
    pub epoch: usize,
    /// The loss.
    pub loss: f64,
    /// Its parts before their weights.
    pub parts: BTreeMap<&'static str, f64>,
    /// The learning rate.
    pub rate: f64,
    /// The norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// The accuracy of the last exit on this batch, 0 to 1, where it has labels.
    pub accuracy: Option<f64>,
    /// Tokens of this step.
    pub tokens: usize,
    /// Tokens per second since the last logged step.
    pub tokens_per_second: f64,
}

impl Record {
    /// Adds a batch of `of` to the means.
    pub(super) fn add(
        &mut self,
        loss: f64,
        parts: &[(&'static str, Tensor)],
        of: usize,
    ) -> Result<(), Error> {
        self.loss += loss / of as f64;
        for (name, part) in parts {
            *self.parts.entry(name).or_default() += f64::from(part.to_scalar::<f32>()?) / of as f64;
        }
        Ok(())
    }
}

/// `metrics.jsonl`.
pub(super) struct Log(std::fs::File);

impl Log {
    pub fn open(work: &Path, _step: usize) -> Result<Self, Error> {
        let path = work.join("metrics.jsonl");
        std::fs::File::create(&path).map(Log).map_err(|e| Error::io(path, e))
    }

    pub fn log(&mut self, record: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(record).expect("plain JSON");
        writeln!(self.0, "{line}").map_err(|e| Error::io("metrics.jsonl", e))
    }

    pub fn held_out(&mut self, step: usize, accuracy: &[f64]) -> Result<(), Error> {
        self.log(&serde_json::json!({"step": step, "held_out": accuracy}))
    }
}
