//! Which way of making a checkpoint smaller costs the least accuracy: every combination that meets a goal is
//! made and measured as it is, without training, on held-out texts; the best one is worth training.
//!
//! What was tried is written down line by line, so that a search that was stopped goes on.

use super::{Shape, layers, prune_by, record, structure, vocabulary};
use crate::Error;
use crate::checkpoint::{Checkpoint, Config, Quantize, read_file};
use crate::export::export;
use crate::files::{self, Output};
use crate::report::measure::{Examples, outcomes};
use edge_runtime::ExitPolicy;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the result must meet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// The most bytes of the int8 bundle.
    pub bytes: Option<u64>,
    /// How many times fewer multiplications than the whole network a token takes, at full depth.
    pub speedup: Option<f64>,
}

/// A way of making a checkpoint smaller.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The layers that stay, the first ones.
    pub layers: usize,
    /// The share of the attention heads that stay.
    pub heads: f64,
    /// The share of the neurons of the feed-forward networks that stay.
    pub neurons: f64,
    /// How often the texts must have a word piece of several characters for it to stay; 0 for any.
    pub seen: usize,
    /// Bits of the word embeddings.
    pub embedding_bits: u8,
}

/// A candidate and what it came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// What was tried.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Of the int8 bundle.
    pub bytes: u64,
    /// Multiplications of a token, as a share of those of the whole network.
    pub operations: f64,
    /// Accuracy at full depth on the held-out texts, 0 to 1; `None` if it does not meet the goal.
    pub accuracy: Option<f64>,
}

impl Candidate {
    /// How its checkpoint is rounded.
    pub fn rounded(&self) -> Quantize {
        Quantize { embedding_bits: self.embedding_bits, ..Quantize::default() }
    }
}

impl Goal {
    fn met_by(&self, bytes: u64, operations: f64) -> bool {
        self.bytes.is_none_or(|most| bytes <= most)
            && self.speedup.is_none_or(|speedup| operations * speedup <= 1.0)
    }
}

/// What is searched in.
pub struct Search<'a> {
    /// The checkpoint that is made smaller.
    pub checkpoint: &'a Path,
    /// What the result must meet.
    pub goal: Goal,
    /// Texts that the vocabulary must do for.
    pub texts: &'a [&'a str],
    /// Labelled texts on which heads and neurons are weighed.
    pub weighed: &'a Examples,
    /// Labelled texts on which candidates are compared.
    pub held_out: &'a Examples,
}

/// The shares of heads and neurons that are tried.
const SHARES: [f64; 3] = [1.0, 0.75, 0.5];
/// How often a word piece must have been seen.
const SEEN: [usize; 3] = [0, 2, 5];

/// Every combination, the most careful first.
fn candidates(config: &Config, exits: &[usize]) -> Vec<Candidate> {
    let mut all = Vec::new();
    for layers in exits.iter().rev().copied().filter(|l| *l > 0) {
        for share in SHARES {
            for seen in SEEN {
                for embedding_bits in [8, 4] {
                    let odd = config.hidden % 2 == 1;
                    if embedding_bits == 8 || !odd {
                        let (heads, neurons) = (share, share);
                        all.push(Candidate { layers, heads, neurons, seen, embedding_bits });
                    }
                }
            }
        }
    }
    all
}

/// Multiplications of the linear layers for a token.
fn operations(config: &Config) -> f64 {
    let of_layer = |layer| {
        let widths = config.widths(layer);
        4 * widths.heads * config.head_size() * config.hidden
            + 2 * widths.intermediate * config.hidden
    };
    (0..config.layers).map(of_layer).sum::<usize>() as f64
}

impl Search<'_> {
    /// Tries all candidates, but those that stand in `record` already, and returns them all.
    ///
    /// # Errors
    /// [`Error::Unfit`] if the checkpoint has no exits, [`Error::Interrupted`] if `stop` is set; those of
    /// the steps.
    pub fn run(
        &self,
        record: &Path,
        stop: &AtomicBool,
        mut observe: impl FnMut(&Tried, usize, usize),
    ) -> Result<Vec<Tried>, Error> {
        let whole = Checkpoint::open(self.checkpoint)?;
        let exits = whole.exits.as_ref().map_or(&[][..], |e| &e.layers);
        if exits.is_empty() {
            return Err(Error::Unfit(format!(
                "{} has no exits.json: a model is cut after an exit",
                self.checkpoint.display()
            )));
        }
        let candidates = candidates(&whole.config, exits);
        let mut tried: Vec<Tried> = record::read(record)?;
        // With another goal, others are to be measured.
        tried.retain(|t| self.goal.met_by(t.bytes, t.operations) == t.accuracy.is_some());
        let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        let worth = super::weigh(self.checkpoint, self.weighed, stop, |_, _| {})?;
        for candidate in &candidates {
            if let Some(done) = tried.iter().find(|t| t.candidate == *candidate) {
                observe(done, tried.len(), candidates.len());
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted { step: None });
            }
            let folder = place.path().join("candidate");
            self.make(candidate, &worth, &folder)?;
            let result = self.measure(candidate, &folder, operations(&whole.config))?;
            tried.push(result);
            record::store(record, &tried)?;
            observe(&result, tried.len(), candidates.len());
        }
        Ok(tried)
    }

    /// Makes a candidate's checkpoint in `output`.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn make(
        &self,
        candidate: &Candidate,
        worth: &structure::Importance,
        output: impl Into<Output>,
    ) -> Result<(), Error> {
        let output = output.into();
        let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        let (shallow, narrow) = (place.path().join("layers"), place.path().join("narrow"));
        layers::keep_first(self.checkpoint, candidate.layers, &shallow)?;
        let shape = Shape { layers: None, heads: candidate.heads, neurons: candidate.neurons };
        let worth = worth.first(candidate.layers);
        prune_by(&shallow, &shape, &worth, narrow.as_path().into())?;
        let seen = (candidate.seen > 0).then_some(candidate.seen);
        vocabulary::shrink(&narrow, self.texts, seen, output.clone())?;
        // It says itself how it is to be rounded.
        let path = output.folder.join("config.json");
        let mut config: Value = serde_json::from_slice(&read_file(&path)?)
            .map_err(|e| Error::checkpoint(&path, e.to_string()))?;
        config["quantization"] = json!(candidate.rounded());
        let text = serde_json::to_string_pretty(&config).expect("plain JSON") + "\n";
        files::write(&path, text)
    }

    fn measure(&self, candidate: &Candidate, folder: &Path, whole: f64) -> Result<Tried, Error> {
        let opened = Checkpoint::open(folder)?;
        let operations = operations(&opened.config) / whole;
        let bundle = folder.join("model.edge");
        let bytes = export(&opened, opened.config.int8(), &bundle, |_, _, _| {})?.bytes;
        let mut accuracy = None;
        if self.goal.met_by(bytes, operations) {
            let outcomes = outcomes(&bundle, self.held_out, |_, _| {})?;
            let said = outcomes.walk(&ExitPolicy::Never)?.predicted;
            let right = said.iter().zip(&outcomes.truth).filter(|(a, b)| a == b).count();
            accuracy = Some(right as f64 / said.len().max(1) as f64);
        }
        Ok(Tried { candidate: *candidate, bytes, operations, accuracy })
    }
}

/// The candidate that meets the goal with the best accuracy; of equal ones the smallest.
pub fn best(tried: &[Tried]) -> Option<&Tried> {
    tried.iter().filter(|t| t.accuracy.is_some()).max_by(|a, b| {
        let (x, y) = (a.accuracy.unwrap_or(0.0), b.accuracy.unwrap_or(0.0));
        x.total_cmp(&y).then(b.bytes.cmp(&a.bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(bytes: u64, accuracy: Option<f64>) -> Tried {
        let candidate =
            Candidate { layers: 3, heads: 1.0, neurons: 1.0, seen: 0, embedding_bits: 8 };
        Tried { candidate, bytes, operations: 0.5, accuracy }
    }

    #[test]
    fn the_best_is_the_most_accurate_and_then_the_smallest() {
        let all = [tried(9, Some(0.8)), tried(7, Some(0.9)), tried(5, Some(0.9)), tried(1, None)];
        assert_eq!(best(&all), Some(&all[2]));
        assert_eq!(best(&all[3..]), None);
    }

    #[test]
    fn a_goal_may_be_size_or_speed_or_both() {
        let goal = Goal { bytes: Some(10), speedup: Some(2.0) };
        assert!(goal.met_by(10, 0.5));
        assert!(!goal.met_by(11, 0.5) && !goal.met_by(10, 0.51));
        assert!(Goal::default().met_by(u64::MAX, 1.0));
    }
}
