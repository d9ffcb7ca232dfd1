//! Search for the candidate that costs the least accuracy. Every combination that meets a goal is
//! made and measured on held-out texts, without training. The best one is then trained.
//!
//! Results are recorded line by line, so a search that was stopped continues.

use super::structure::{self, Importance, Kept};
use super::{depth, record, vocabulary};
use crate::Error;
use crate::checkpoint::{Checkpoint, Config};
use crate::export::export;
use crate::files::{self, Output};
use crate::measure::{Examples, outcomes};
use crate::quantize::Quantize;
use edge_export::text_file::read_file;
use edge_runtime::ExitPolicy;
use edge_runtime::bundle::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Limits on the compressed model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// Largest size of the int8 bundle in bytes.
    pub bytes: Option<u64>,
    /// Factor by which a token takes fewer multiplications than in the whole network, at full
    /// depth.
    pub speedup: Option<f64>,
}

/// Settings that make a checkpoint smaller.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Number of layers that are kept, counted from the first.
    pub layers: usize,
    /// Share of the attention heads that are kept.
    pub heads: f64,
    /// Share of the neurons of the feed-forward networks that are kept.
    pub neurons: f64,
    /// Least number of occurrences in the texts for a word piece of several characters to be kept;
    /// 0 keeps all.
    pub seen: usize,
    /// Bits of the word embeddings.
    pub embedding_bits: u8,
}

/// A candidate with its size, speed and accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Settings that were tried.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Size of the int8 bundle in bytes.
    pub bytes: u64,
    /// Multiplications of a token, as a share of the whole network's.
    pub operations: f64,
    /// Accuracy at full depth on the held-out texts, 0 to 1; `None` if the candidate misses the
    /// goal.
    pub accuracy: Option<f64>,
}

impl Candidate {
    /// Quantization of the candidate's checkpoint.
    pub fn rounded(&self) -> Quantize {
        Quantize { embedding_bits: self.embedding_bits, ..Quantize::default() }
    }

    /// Heads and neurons of the whole network that are kept.
    pub fn kept(&self, worth: &Importance) -> Kept {
        worth.first(self.layers).keep(self.heads, self.neurons)
    }
}

impl Goal {
    /// Checks the target speedup.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the value if it is below 1 or not finite.
    pub fn check(&self) -> Result<(), Error> {
        match self.speedup {
            Some(speedup) if !(1.0..f64::INFINITY).contains(&speedup) => {
                Err(Error::Unfit(format!(
                    "a target speedup of {speedup}; expected a number from 1 up, as in 2 for half of the \
                 multiplications"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Error for a goal that even the smallest and fastest model misses.
    pub fn out_of_reach(&self, bytes: u64, operations: f64) -> Error {
        let size = self.bytes.map(|most| {
            let [most, least] = [most, bytes].map(|b| b as f64 / 1e6);
            format!("model.edge may have {most:.4} MB, and the smallest has about {least:.4} MB")
        });
        let speed = self.speedup.map(|speedup| {
            let least = 1.0 / operations;
            format!("1/{speedup} of the multiplications is the goal, and the least is about 1/{least:.1}")
        });
        let parts: Vec<String> = size.into_iter().chain(speed).collect();
        Error::Unfit(format!("the goal is out of reach: {}", parts.join("; ")))
    }

    fn met_by(&self, bytes: u64, operations: f64) -> bool {
        self.bytes.is_none_or(|most| bytes <= most)
            && self.speedup.is_none_or(|speedup| operations * speedup <= 1.0)
    }
}

/// Inputs of a search.
pub struct Search<'a> {
    /// Checkpoint to compress.
    pub checkpoint: &'a Path,
    /// Limits on the compressed model.
    pub goal: Goal,
    /// Texts that the vocabulary has to cover.
    pub texts: &'a [&'a str],
    /// Labelled texts on which candidates are compared.
    pub held_out: &'a Examples,
}

/// A line of the record.
#[derive(Serialize, Deserialize)]
struct Recorded {
    #[serde(flatten)]
    tried: Tried,
    /// See [`Search::key`].
    key: String,
}

/// A candidate's int8 bundle.
struct Exported {
    bundle: PathBuf,
    bytes: u64,
    /// See [`Tried::operations`].
    operations: f64,
}

/// Shares of heads and neurons that are tried.
const SHARES: [f64; 3] = [1.0, 0.75, 0.5];
/// Least numbers of occurrences of a word piece that are tried.
const SEEN: [usize; 3] = [0, 2, 5];

/// All combinations, the least compressed first.
fn candidates(config: &Config, exits: &[usize]) -> Vec<Candidate> {
    let mut all = Vec::new();
    for layers in exits.iter().rev().copied().filter(|l| *l > 0) {
        for share in SHARES {
            for seen in SEEN {
                for embedding_bits in [8, 4] {
                    let odd = config.encoder.hidden % 2 == 1;
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
        let widths = config.encoder.widths(layer);
        4 * widths.heads * config.encoder.head_size() * config.encoder.hidden
            + 2 * widths.intermediate * config.encoder.hidden
    };
    (0..config.encoder.layers).map(of_layer).sum::<usize>() as f64
}

impl Search<'_> {
    /// Lists every candidate, the smallest last.
    fn candidates(&self, whole: &Checkpoint) -> Result<Vec<Candidate>, Error> {
        let exits = whole.exits.as_ref().map_or(&[][..], |e| &e.layers);
        let candidates = candidates(&whole.config, exits);
        if candidates.is_empty() {
            return Err(Error::Unfit(format!(
                "{} has no exits.json with an exit after a layer; \
                 layers are removed only after an exit",
                self.checkpoint.display()
            )));
        }
        Ok(candidates)
    }

    /// Compares the goal with the smallest candidate, before any candidate is measured.
    ///
    /// # Errors
    /// [`Error::Unfit`] if the goal is invalid. [`Error::Unfit`] with the least size and the fewest
    /// multiplications if these miss the goal. Errors of the steps.
    pub fn check(&self) -> Result<(), Error> {
        self.goal.check()?;
        let whole = Checkpoint::open(self.checkpoint)?;
        let candidates = self.candidates(&whole)?;
        let smallest = candidates.last().expect("there is a candidate");
        let widths: Vec<_> = (0..smallest.layers).map(|l| whole.config.encoder.widths(l)).collect();
        let kept = structure::fewest(&widths, smallest.heads, smallest.neurons);
        let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        let folder = place.path().join("smallest");
        self.make(smallest, &kept, &folder)?;
        let Exported { bytes, operations, .. } = self.export(&folder, &whole.config)?;
        if self.goal.met_by(bytes, operations) {
            return Ok(());
        }
        Err(self.goal.out_of_reach(bytes, operations))
    }

    /// Tries all candidates and returns them. Candidates that `record` already contains for the
    /// same data are not tried again. `worth` is the importance in the whole checkpoint.
    ///
    /// # Errors
    /// [`Error::Unfit`] if the checkpoint has no exits, [`Error::Interrupted`] if `stop` is set;
    /// errors of the steps.
    pub fn run(
        &self,
        record: &Path,
        worth: &Importance,
        stop: &AtomicBool,
        mut observe: impl FnMut(&Tried, usize, usize),
    ) -> Result<Vec<Tried>, Error> {
        let whole = Checkpoint::open(self.checkpoint)?;
        let candidates = self.candidates(&whole)?;
        let key = self.key(&whole, worth)?;
        let mut tried: Vec<Recorded> = record::read(record)?;
        // Another goal may need measurements that the record lacks.
        let measured = |t: &Tried| self.goal.met_by(t.bytes, t.operations) == t.accuracy.is_some();
        tried.retain(|r| r.key == key && measured(&r.tried));
        let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        for candidate in &candidates {
            if let Some(done) = tried.iter().find(|r| r.tried.candidate == *candidate) {
                observe(&done.tried, tried.len(), candidates.len());
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted { step: None });
            }
            let folder = place.path().join("candidate");
            self.make(candidate, &candidate.kept(worth), &folder)?;
            let result = self.measure(candidate, &folder, &whole.config)?;
            tried.push(Recorded { tried: result, key: key.clone() });
            record::store(record, &tried)?;
            observe(&result, tried.len(), candidates.len());
        }
        Ok(tried.into_iter().map(|r| r.tried).collect())
    }

    /// Digest of everything that determines a candidate's size and accuracy.
    fn key(&self, whole: &Checkpoint, worth: &Importance) -> Result<String, Error> {
        let weights = sha256_hex(&read_file(&whole.weights_path())?);
        let held_out = (&self.held_out.texts, &self.held_out.truth);
        let measured = (weights, self.texts, held_out, &worth.heads, &worth.neurons);
        let measured = serde_json::to_string(&measured).expect("plain JSON");
        Ok(sha256_hex(measured.as_bytes())[..16].to_owned())
    }

    /// Makes a candidate's checkpoint in `output`, with the heads and neurons in `kept`.
    ///
    /// # Errors
    /// Errors of the steps.
    pub fn make(
        &self,
        candidate: &Candidate,
        kept: &Kept,
        output: impl Into<Output>,
    ) -> Result<(), Error> {
        let output = output.into();
        let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        let (shallow, narrow) = (place.path().join("layers"), place.path().join("narrow"));
        depth::keep_first(self.checkpoint, candidate.layers, &shallow)?;
        structure::prune(&shallow, kept, &narrow)?;
        let seen = (candidate.seen > 0).then_some(candidate.seen);
        vocabulary::shrink(&narrow, self.texts, seen, output.clone())?;
        // The checkpoint records its own quantization.
        let path = output.folder.join("config.json");
        let mut config: Value = serde_json::from_slice(&read_file(&path)?)
            .map_err(|e| Error::checkpoint(&path, e.to_string()))?;
        config["quantization"] = json!(candidate.rounded());
        let text = serde_json::to_string_pretty(&config).expect("plain JSON") + "\n";
        Ok(files::write(&path, text)?)
    }

    /// Exports a candidate's checkpoint into the checkpoint's folder.
    fn export(&self, folder: &Path, whole: &Config) -> Result<Exported, Error> {
        let opened = Checkpoint::open(folder)?;
        let operations = operations(&opened.config) / operations(whole);
        let bundle = folder.join("model.edge");
        let bytes = export(&opened, opened.config.int8(), &bundle, |_, _, _| {})?.bytes;
        Ok(Exported { bundle, bytes, operations })
    }

    fn measure(
        &self,
        candidate: &Candidate,
        folder: &Path,
        whole: &Config,
    ) -> Result<Tried, Error> {
        let Exported { bundle, bytes, operations } = self.export(folder, whole)?;
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

/// Candidate that meets the goal with the best accuracy; of equally accurate ones, the smallest.
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

    #[test]
    fn a_speedup_below_1_is_no_goal() {
        for speedup in [0.0, -2.0, 0.99, f64::NAN, f64::INFINITY] {
            let error = Goal { bytes: None, speedup: Some(speedup) }.check().unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(&format!("{speedup}")) && error.contains("from 1 up"),
                "{error}"
            );
        }
        assert!(Goal { bytes: Some(1), speedup: Some(1.0) }.check().is_ok());
    }

    #[test]
    fn a_goal_out_of_reach_names_what_is_in_reach() {
        let goal = Goal { bytes: Some(100_000), speedup: None };
        let error = goal.out_of_reach(812_345, 0.125).to_string();
        assert!(error.contains("0.1000 MB") && error.contains("0.8123 MB"), "{error}");
        assert!(!error.contains("multiplications"), "{error}");
        let goal = Goal { bytes: None, speedup: Some(20.0) };
        let error = goal.out_of_reach(812_345, 0.125).to_string();
        assert!(error.contains("1/20 of") && error.contains("1/8.0"), "{error}");
    }
}
