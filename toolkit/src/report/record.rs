//! A saved measurement: what a model is, what it was made from, and how it did.
//!
//! One JSON file a model, so that a [report](super::compare) can be made of models that were measured
//! at different times. All but the speed is the same in every run.

use crate::Error;
use crate::measure::evaluation::Evaluation;
use crate::measure::metrics::Proportion;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of the format that is read and written.
pub const VERSION: u32 = 1;

/// A model and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// What other records call it, and the name of its file: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What made it.
    pub step: Step,
    /// The `id` of the model that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The sentences on which it was measured.
    pub data: Data,
    /// Its parameters, where its checkpoint is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Size of its file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How its weights are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// How it did.
    pub figures: Figures,
}

/// What makes a model, in the order in which a model goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// A large model that others learn from.
    Teacher,
    /// Training on labels alone.
    Finetune,
    /// Training to say what a teacher says.
    Distil,
    /// Leaving out weights, heads, neurons or layers.
    Prune,
    /// Leaving out word pieces.
    Vocabulary,
    /// Storing weights in fewer bits.
    Quantize,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Step; 6] = [
        Step::Teacher,
        Step::Finetune,
        Step::Distil,
        Step::Prune,
        Step::Vocabulary,
        Step::Quantize,
    ];

    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Step::Teacher => "teacher",
            Step::Finetune => "finetune",
            Step::Distil => "distil",
            Step::Prune => "prune",
            Step::Vocabulary => "vocabulary",
            Step::Quantize => "quantize",
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
    /// All.
    pub all: u64,
    /// Those of `all` that are not zero.
    pub nonzero: u64,
    /// The weights of the linear layers in the encoder, which pruning thins out.
    pub encoder: u64,
    /// Those of `encoder` that are not zero.
    pub encoder_nonzero: u64,
}

/// How the weights of a bundle are stored, as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// `fp32` or `int8`.
    pub precision: String,
    /// Bits of the weights of the linear layers, where they are integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bits: Option<u8>,
    /// Bits of the word embeddings, where they are not those of `precision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_bits: Option<u8>,
    /// The linear layers whose weights have 4 bits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub four_bits: Vec<String>,
}

/// How a model did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figures {
    /// Here.
    Measured(Box<Measured>),
    /// Elsewhere.
    Stated(Stated),
}

/// What was measured here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Accuracy, exits, and the layers computed.
    pub evaluation: Evaluation,
    /// Speed, if it was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
    /// What calibration left beside the checkpoint for the kind of the model's policy; of the
    /// sentences that chose the thresholds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<CurvePoint>,
}

/// What somebody else says of a model that is not here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// Who says so.
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

/// How fast a model is, one sentence after the other, tokenizing included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// The processor.
    pub processor: String,
    /// The day, as `2026-01-31` (UTC).
    pub day: String,
    /// Threads that compute.
    pub threads: usize,
    /// How often all sentences were answered, the models in turn.
    pub rounds: usize,
    /// With all layers.
    pub full_depth: Pace,
    /// With the model's own policy, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_exit: Option<Pace>,
}

/// Medians over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Sentences answered in a second.
    pub sentences_per_second: f64,
    /// Half of the sentences take at most so many milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 sentences take at most so many milliseconds.
    pub p99_ms: f64,
}

/// A way through a model: with all layers, or as its policy lets sentences leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// Accuracy.
    pub accuracy: Proportion,
    /// The layers computed, as a share of those at full depth, 0 to 1.
    pub share: f64,
    /// The layers at full depth, where they are known.
    pub layers: Option<usize>,
    /// Speed.
    pub pace: Option<Pace>,
}

impl Record {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] if it is not a record of this version, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        // Only the version is sure to be understood, so it is looked at first.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let not =
            |e: serde_json::Error| Error::data(path, None, format!("no saved measurement: {e}"));
        let head: Head = serde_json::from_str(&text).map_err(not)?;
        if head.version != VERSION {
            let problem = format!(
                "a measurement of version {}; this program reads version {VERSION}. Measure again",
                head.version
            );
            return Err(Error::data(path, None, problem));
        }
        let record: Record = serde_json::from_str(&text).map_err(not)?;
        record.check().map_err(|problem| Error::data(path, None, problem))?;
        Ok(record)
    }

    /// The file of a record in a folder.
    pub(super) fn path(folder: &Path, id: &str) -> PathBuf {
        folder.join(format!("{id}.json"))
    }

    /// Returns whether a file is a record, of any version.
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

    /// Writes it as `<id>.json` into a folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        Ok(crate::files::write(&Self::path(folder, &self.id), json)?)
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        check_id(&self.id)?;
        let share = |what: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("{what} is {value}; a share is between 0 and 1")),
        };
        let proportion = |what: &str, p: &Proportion| {
            [p.low, p.value, p.high].iter().try_for_each(|v| share(what, *v))?;
            match p.low <= p.value && p.value <= p.high {
                true => Ok(()),
                false => Err(format!("{what} is {}, not within its interval", p.value)),
            }
        };
        if self.bytes == Some(0) || self.data.sentences == 0 {
            return Err("bytes and sentences are 1 or more".into());
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
                "it was measured on {} sentences of {}",
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
                    return Err(format!("a speed or latency of {value}; they are above 0"));
                }
            }
        }
        Ok(())
    }

    /// What was measured here, if anything was.
    pub fn measured(&self) -> Option<&Measured> {
        match &self.figures {
            Figures::Measured(measured) => Some(measured),
            Figures::Stated(_) => None,
        }
    }

    /// With all layers.
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

    /// As its policy lets sentences leave; `None` if it lets none.
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

/// An `id` is the name of a file on every system.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !id.is_empty() && !id.starts_with('.') && id.chars().all(fine) {
        true => Ok(()),
        false => Err(format!("the id `{id}`; it has letters, digits, `-`, `_` and `.`")),
    }
}
