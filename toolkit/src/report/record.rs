//! Saved measurement: a model, its origin, and its figures.
//!
//! Each model has one JSON file, so that a [report](super::compare) can combine models that were
//! measured at different times. All figures but the speed are the same in every run.

use crate::Error;
use crate::measure::evaluation::Evaluation;
use crate::measure::metrics::Proportion;
use edge_runtime::bundle::WeightFormat;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version of the format that is read and written.
pub const VERSION: u32 = 1;

/// A model and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the format, [`VERSION`].
    pub version: u32,
    /// Identifier for other records, and name of the file: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Step that made the model.
    pub step: MadeBy,
    /// `id` of the model that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Data set of the measurement.
    pub data: Data,
    /// Numbers of parameters, if the checkpoint is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Size of the file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Number format of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightFormat>,
    /// Figures of the model.
    pub figures: Figures,
}

/// Steps that make a model, in their usual order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MadeBy {
    /// Training of a large model that others learn from.
    Teacher,
    /// Training on labels alone.
    Finetune,
    /// Training on a teacher's answers.
    Distil,
    /// Removing weights, heads, neurons or layers.
    Prune,
    /// Removing word pieces.
    Vocabulary,
    /// Storing weights in fewer bits.
    Quantize,
}

impl MadeBy {
    /// All steps, in their order.
    pub const ALL: [MadeBy; 6] = [
        MadeBy::Teacher,
        MadeBy::Finetune,
        MadeBy::Distil,
        MadeBy::Prune,
        MadeBy::Vocabulary,
        MadeBy::Quantize,
    ];

    /// Name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            MadeBy::Teacher => "teacher",
            MadeBy::Finetune => "finetune",
            MadeBy::Distil => "distil",
            MadeBy::Prune => "prune",
            MadeBy::Vocabulary => "vocabulary",
            MadeBy::Quantize => "quantize",
        }
    }
}

/// A data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The name of its file.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Number of sentences.
    pub sentences: usize,
}

/// Numbers of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// All parameters.
    pub all: u64,
    /// Parameters in `all` that are not zero.
    pub nonzero: u64,
    /// Weights of the linear layers in the encoder, which pruning sets to zero.
    pub encoder: u64,
    /// Weights in `encoder` that are not zero.
    pub encoder_nonzero: u64,
}

/// Figures of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figures {
    /// Measured here.
    Measured(Box<Measured>),
    /// Published elsewhere.
    Stated(Stated),
}

/// Figures that were measured here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Accuracy, exits, and computed layers.
    pub evaluation: Evaluation,
    /// Speed, if the model was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
    /// Calibration curve of the policy's kind, from the checkpoint's folder; measured on the
    /// sentences that chose the thresholds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<CurvePoint>,
}

/// Published figures of a model that is not measured here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// Source of the figures.
    pub source: String,
    /// Accuracy on the same sentences.
    pub accuracy: Proportion,
}

/// A point of a calibration's curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The share of sentences whose label is right, 0 to 1.
    pub accuracy: f64,
    /// The layers computed, as a share of those at full depth, 0 to 1.
    pub share: f64,
}

/// Speed of a model, one sentence after the other, tokenizing included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Name of the processor.
    pub processor: String,
    /// Day of the measurement, as `2026-01-31` (UTC).
    pub day: String,
    /// Number of threads that compute.
    pub threads: usize,
    /// Number of rounds over all sentences, the models in turn.
    pub rounds: usize,
    /// Pace with all layers.
    pub full_depth: Pace,
    /// Pace with the model's own policy, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_exit: Option<Pace>,
}

/// Medians over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Sentences per second.
    pub sentences_per_second: f64,
    /// Median latency of a sentence in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of the latency of a sentence in milliseconds.
    pub p99_ms: f64,
}

/// Figures of a model at full depth or with early exits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// Accuracy.
    pub accuracy: Proportion,
    /// The layers computed, as a share of those at full depth, 0 to 1.
    pub share: f64,
    /// Number of layers at full depth, if known.
    pub layers: Option<usize>,
    /// Speed.
    pub pace: Option<Pace>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] if the file is not a record of this version, or is
    /// inconsistent.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        // Other versions may differ in everything but the version, so it is read first.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let not =
            |e: serde_json::Error| Error::data(path, None, format!("not a saved measurement: {e}"));
        let head: Head = serde_json::from_str(&text).map_err(not)?;
        if head.version != VERSION {
            let problem = format!(
                "a measurement of version {}; this program reads version {VERSION}; measure again",
                head.version
            );
            return Err(Error::data(path, None, problem));
        }
        let record: Record = serde_json::from_str(&text).map_err(not)?;
        record.check().map_err(|problem| Error::data(path, None, problem))?;
        Ok(record)
    }

    /// Path of a record in a folder.
    pub(super) fn path(folder: &Path, id: &str) -> PathBuf {
        folder.join(format!("{id}.json"))
    }

    /// True if a file is a record, of any version.
    pub(super) fn is_one(path: &Path) -> bool {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "version")]
            _version: u32,
            #[serde(rename = "id")]
            _id: String,
        }
        std::fs::read(path).is_ok_and(|json| serde_json::from_slice::<Head>(&json).is_ok())
    }

    /// Writes the record as `<id>.json` into a folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        Ok(crate::files::write(&Self::path(folder, &self.id), json)?)
    }

    /// Checks that the figures are consistent; the error names the first that is not.
    pub(super) fn check(&self) -> Result<(), String> {
        check_id(&self.id)?;
        let share = |what: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("{what} is {value}; expected a number between 0 and 1")),
        };
        let proportion = |what: &str, p: &Proportion| {
            [p.low, p.value, p.high].iter().try_for_each(|v| share(what, *v))?;
            match p.low <= p.value && p.value <= p.high {
                true => Ok(()),
                false => {
                    Err(format!("{what} is {}; expected a value within its interval", p.value))
                }
            }
        };
        if self.bytes == Some(0) || self.data.sentences == 0 {
            return Err("bytes or sentences is 0; expected 1 or more".into());
        }
        if let Some(p) = self.parameters
            && (p.all == 0
                || p.nonzero > p.all
                || p.encoder > p.all
                || p.encoder_nonzero > p.encoder)
        {
            return Err("more parameters are not zero, or in the encoder, than there are".into());
        }
        let measured = match &self.figures {
            Figures::Stated(stated) => return proportion("the accuracy", &stated.accuracy),
            Figures::Measured(measured) => measured,
        };
        let evaluation = &measured.evaluation;
        if evaluation.sentences != self.data.sentences {
            return Err(format!(
                "it was measured on {} sentences of {}; expected all of them",
                evaluation.sentences, self.data.sentences
            ));
        }
        if evaluation.exits.is_empty() || evaluation.layers == 0 {
            return Err("it has no layers or no exits".into());
        }
        for figures in [&evaluation.full_depth, &evaluation.early_exit] {
            proportion("an accuracy", &figures.accuracy)?;
            share("the share of layers", figures.share)?;
        }
        for exit in &evaluation.exits {
            proportion("the accuracy of an exit", &exit.accuracy)?;
            if exit.layer > evaluation.layers {
                return Err(format!("an exit after layer {} of {}", exit.layer, evaluation.layers));
            }
        }
        for point in &measured.curve {
            share("an accuracy of the curve", point.accuracy)?;
            share("a share of the curve", point.share)?;
        }
        let paces =
            measured.speed.iter().flat_map(|s| [Some(s.full_depth), s.early_exit]).flatten();
        for pace in paces {
            let Pace { sentences_per_second, p50_ms, p99_ms } = pace;
            for value in [sentences_per_second, p50_ms, p99_ms] {
                if !(value.is_finite() && value > 0.0) {
                    return Err(format!(
                        "a speed or latency is {value}; expected a number above 0"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns the figures that were measured here, if there are any.
    pub fn measured(&self) -> Option<&Measured> {
        match &self.figures {
            Figures::Measured(measured) => Some(measured),
            Figures::Stated(_) => None,
        }
    }

    /// Returns the figures at full depth.
    pub fn full_depth(&self) -> Way {
        match &self.figures {
            Figures::Stated(stated) => {
                Way { accuracy: stated.accuracy, share: 1.0, layers: None, pace: None }
            }
            Figures::Measured(m) => Way {
                accuracy: m.evaluation.full_depth.accuracy,
                share: m.evaluation.full_depth.share,
                layers: Some(m.evaluation.layers),
                pace: m.speed.as_ref().map(|s| s.full_depth),
            },
        }
    }

    /// Returns the figures with early exits; `None` if the policy is full depth.
    pub fn early_exit(&self) -> Option<Way> {
        let m = self.measured()?;
        if m.evaluation.policy == edge_runtime::ExitPolicy::Never {
            return None;
        }
        Some(Way {
            accuracy: m.evaluation.early_exit.accuracy,
            share: m.evaluation.early_exit.share,
            layers: Some(m.evaluation.layers),
            pace: m.speed.as_ref().and_then(|s| s.early_exit),
        })
    }
}

/// Checks that an `id` is a valid file name on every system.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !id.is_empty() && !id.starts_with('.') && id.chars().all(fine) {
        true => Ok(()),
        false => Err(format!(
            "the id `{id}` is not a file name; expected letters, digits, `-`, `_` and `.`"
        )),
    }
}
