//! All settings of a run, in one TOML file.

mod data;

pub use data::{Data, HoldOut};

use super::loss::Losses;
use super::optimizer::Schedule;
use crate::Error;
use crate::checkpoint::Pooling;
use crate::quantize::Quantize;
use crate::settings;
use crate::train::sparsity::Sparsity;
use edge_export::families::Family;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Settings of a run. Relative paths in the file are relative to the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Training data.
    pub data: Data,
    /// Model that is trained.
    pub model: Model,
    /// Teacher, in addition to the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teacher>,
    /// Losses and their weights.
    #[serde(default)]
    pub losses: Losses,
    /// Sparsity of the weights, introduced during training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<Sparsity>,
    /// Quantization-aware training: the network computes with the rounding of the export, so that
    /// its weights adapt to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Quantize>,
    /// Settings of the training loop.
    #[serde(default)]
    pub train: Train,
}

/// Model that is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Start of the weights: a checkpoint, or the name of one on the Hugging Face hub.
    pub start: PathBuf,
    /// Architecture; by default that of `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<&'static Family>,
    /// Encoder layers of `start` that are copied, counted from 0; by default all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
    /// Exits of the model.
    #[serde(default)]
    pub exits: Exits,
    /// Reduction of the rows of a sentence to one row, in the exit heads.
    #[serde(default = "mean")]
    pub pooling: Pooling,
    /// Width of the exit heads' dense layers; by default the hidden size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_width: Option<usize>,
    /// Hidden size, if it differs from that of `start`; then every value is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Number of attention heads, if `hidden` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Feed-forward width, if `hidden` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intermediate: Option<usize>,
}

fn mean() -> Pooling {
    Pooling::Mean
}

/// Layers with an exit after them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Exits {
    /// Exits by a word.
    Named(NamedExits),
    /// Exits after these layers; 0 is the embeddings, and the last value must be the last layer.
    After(Vec<usize>),
}

impl Default for Exits {
    fn default() -> Self {
        Exits::Named(NamedExits::All)
    }
}

impl<'de> Deserialize<'de> for Exits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted;
        impl<'de> Visitor<'de> for Wanted {
            type Value = Exits;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"all\", \"last\", \"own\" or a list of layers as [0, 3, 6]")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Exits, E> {
                Ok(Exits::Named(match word {
                    "all" => NamedExits::All,
                    "last" => NamedExits::Last,
                    "own" => NamedExits::Own,
                    _ => return Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Exits, A::Error> {
                let mut layers = Vec::new();
                while let Some(layer) = items.next_element()? {
                    layers.push(layer);
                }
                Ok(Exits::After(layers))
            }
        }
        deserializer.deserialize_any(Wanted)
    }
}

/// Layers with an exit after them, by a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedExits {
    /// Exits after every layer.
    All,
    /// Exit after the last layer only.
    Last,
    /// Head of transformers' own classifiers; no `exits.json`.
    Own,
}

/// Teacher of a student: a checkpoint, or stored logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// Checkpoint, or the name of one on the Hugging Face hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// A safetensors file with `logits` and `texts`. `logits` is f32 `[rows, labels]`, with a row
    /// for every row of the training data and then of the unlabelled text, in their order. `texts`
    /// contains the 32 bytes of the SHA-256 of the trimmed texts, joined by newlines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<PathBuf>,
}

/// Settings of the training loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Number of passes over the data.
    pub epochs: usize,
    /// Number of sentences in a batch.
    pub batch: usize,
    /// Number of batches whose gradients are summed for a step.
    pub accumulate: usize,
    /// Maximum learning rate.
    pub learning_rate: f64,
    /// Schedule of the learning rate after the warm-up.
    pub schedule: Schedule,
    /// Share of all steps in which the learning rate rises (warm-up).
    pub warmup: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Decays of AdamW's moments.
    pub betas: (f64, f64),
    /// Epsilon of AdamW.
    pub epsilon: f64,
    /// Maximum norm of the gradients; 0 for no limit.
    pub clip: f64,
    /// Probability of dropout.
    pub dropout: f32,
    /// Seed of the run.
    pub seed: u64,
    /// Number of steps between stored states.
    pub save_every: usize,
    /// Number of steps between logged lines.
    pub log_every: usize,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            epochs: 3,
            batch: 32,
            accumulate: 1,
            learning_rate: 5e-5,
            schedule: Schedule::Linear,
            warmup: 0.06,
            weight_decay: 0.01,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            clip: 1.0,
            dropout: 0.1,
            seed: 1,
            save_every: 500,
            log_every: 20,
        }
    }
}

impl Recipe {
    /// Reads a recipe and makes the paths of files absolute, because the recipe is stored with the
    /// checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] with the line of the fault.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut recipe: Recipe = settings::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let from_file = |p: &mut PathBuf| {
            // A name on the hub looks like a relative path.
            let beside = folder.join(&*p);
            if beside.exists() || p.starts_with(".") || p.starts_with("..") {
                *p = std::path::absolute(&beside).unwrap_or(beside);
            }
        };
        from_file(&mut recipe.data.train);
        from_file(&mut recipe.model.start);
        recipe.data.unlabelled.as_mut().map(from_file);
        if let Some(teacher) = &mut recipe.teacher {
            teacher.model.as_mut().map(from_file);
            teacher.outputs.as_mut().map(from_file);
        }
        recipe.check().map_err(|problem| Error::Data { path: path.into(), line: None, problem })?;
        Ok(recipe)
    }

    /// Files and folders that a run with this recipe reads.
    pub(crate) fn inputs(&self) -> Vec<&Path> {
        let mut inputs = vec![self.data.train.as_path(), &self.model.start];
        inputs.extend(self.data.unlabelled.as_deref());
        if let Some(teacher) = &self.teacher {
            inputs.extend(teacher.model.as_deref().into_iter().chain(teacher.outputs.as_deref()));
        }
        inputs
    }

    /// Recipe in TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is plain TOML")
    }

    fn check(&self) -> Result<(), String> {
        let t = &self.train;
        let positive = |name: &str, ok: bool| {
            if ok { Ok(()) } else { Err(format!("{name} must be greater than 0")) }
        };
        positive("train.epochs", t.epochs > 0)?;
        positive("train.batch", t.batch > 0)?;
        positive("train.accumulate", t.accumulate > 0)?;
        positive("train.learning_rate", t.learning_rate > 0.0)?;
        positive("train.save_every", t.save_every > 0)?;
        positive("train.log_every", t.log_every > 0)?;
        positive("losses.temperature", self.losses.temperature > 0.0)?;
        let mut labels = HashSet::new();
        if let Some(twice) = self.data.labels.iter().find(|label| !labels.insert(*label)) {
            return Err(format!(
                "data.labels has `{twice}` twice; each label needs a name of its own"
            ));
        }
        if self.data.max_tokens < 3 {
            return Err(format!("data.max_tokens is {}; expected 3 or more", self.data.max_tokens));
        }
        if !(0.0..1.0).contains(&t.dropout) {
            return Err(format!(
                "train.dropout is {}; expected at least 0 and less than 1",
                t.dropout
            ));
        }
        if !(0.0..=1.0).contains(&t.warmup) {
            return Err(format!(
                "train.warmup is {}; expected a share of all steps, 0 to 1",
                t.warmup
            ));
        }
        self.sparsity.as_ref().map_or(Ok(()), Sparsity::check)?;
        self.quantize.map_or(Ok(()), |q| q.int8().map(drop))?;
        let l = &self.losses;
        let weights = [l.hard, l.soft, l.itself, l.hidden, l.attention];
        if weights.iter().any(|w| !w.is_finite() || *w < 0.0) || weights.iter().all(|w| *w == 0.0) {
            return Err("the weights in [losses] must be 0 or more, one of them more".into());
        }
        match &self.teacher {
            None if l.soft > 0.0 || l.needs_layers() => {
                Err("[losses] requires a teacher: add [teacher] with `model` or `outputs`, or set \
                     soft, hidden and attention to 0"
                    .into())
            }
            None if self.data.unlabelled.is_some() => {
                Err("data.unlabelled needs a teacher to label it: add [teacher]".into())
            }
            Some(Teacher { model: None, outputs: None }) => {
                Err("[teacher] is empty; expected `model` or `outputs`".into())
            }
            Some(Teacher { model: None, .. }) if l.needs_layers() => Err(
                "the losses `hidden` and `attention` need teacher.model: outputs contain only logits"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Recipe, String> {
        let recipe: Recipe = settings::parse(text).map_err(|(_, problem)| problem)?;
        recipe.check()?;
        Ok(recipe)
    }

    const LEAST: &str = "[data]\ntrain = 'a.tsv'\n[model]\nstart = 'm'\n";

    #[test]
    fn a_recipe_reads_what_it_writes() {
        let mut recipe = parse(LEAST).unwrap();
        assert_eq!(parse(&recipe.to_toml()).unwrap(), recipe);
        recipe.model.exits = Exits::After(vec![0, 3]);
        recipe.losses.exit_weights = vec![1.0, 2.0];
        recipe.data.hold_out = HoldOut::Share(0.1);
        recipe.data.text = Some("1".into());
        assert_eq!(parse(&recipe.to_toml()).unwrap(), recipe);
        recipe.model.exits = Exits::Named(NamedExits::Last);
        assert_eq!(parse(&recipe.to_toml()).unwrap(), recipe);
    }

    #[test]
    fn the_recipes_of_the_project_are_right() {
        let mut read = 0;
        for folder in std::fs::read_dir("recipes").unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                if path.ends_with("report.toml") {
                    crate::report::suite::Suite::read(&path).unwrap();
                } else if path.extension().is_some_and(|e| e == "toml") {
                    Recipe::read(&path).unwrap();
                    read += 1;
                }
            }
        }
        assert!(read >= 5, "{read} recipes");
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        for (extra, message) in [
            ("[losses]\nsoft = 1", "add [teacher]"),
            ("[losses]\nhard = 0", "one of them more"),
            ("[train]\nbatch = 0", "train.batch"),
            ("[train]\nbacth = 1", "bacth"),
            ("[teacher]\noutputs = 'x'\n[losses]\nhidden = 1", "teacher.model"),
            ("[sparsity]\npattern = '4:2'", "4:2"),
            ("[quantize]\nweight_bits = 3", "weight_bits is 3"),
            ("[quantize]\nembedding_bits = 7", "embedding_bits is 7"),
            ("[quantize]\nfour_bits = ['layers.0.value']", "`layers.0.value` is no linear layer"),
            ("[quantize]\nfour_bits = 'some'", "\"all\" or a list"),
        ] {
            let error = parse(&format!("{LEAST}{extra}")).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
