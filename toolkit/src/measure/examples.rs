//! Models and texts of a measurement: a checkpoint or a bundle, a file or held-out rows.

use super::calibrate::{Choice, PolicyKind, best, check_budget};
use super::outcome::Outcomes;
use crate::Error;
use crate::checkpoint::{Checkpoint, Exits};
use crate::data::{Columns, Dataset, hold_out};
use crate::export::export;
use crate::files;
use crate::hub::Hub;
use crate::network::{Mode, load};
use crate::train::recipe::{Data, HoldOut, Recipe};
use crate::train::{predict, tokenizer};
use candle_core::Device;
use edge_runtime::{Classifier, ExitPolicy};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Texts with their true labels.
pub struct Examples {
    /// The texts.
    pub texts: Vec<String>,
    /// True labels of the texts, as indices of the model's labels.
    pub truth: Vec<u32>,
    /// Origin of the texts, in words.
    pub source: String,
}

/// Labels of a checkpoint (a folder) or a bundle (a file).
///
/// # Errors
/// Errors of opening the model.
pub fn labels(model: &Path) -> Result<Vec<String>, Error> {
    if model.is_dir() {
        return Ok(Checkpoint::open(model)?.config.task.labels().to_vec());
    }
    Ok(open_bundle(model)?.labels().to_vec())
}

/// Exit policy of a checkpoint or a bundle.
///
/// # Errors
/// Errors of opening the model.
pub fn policy(model: &Path) -> Result<ExitPolicy, Error> {
    if model.is_dir() {
        let exits = Checkpoint::open(model)?.exits;
        return Ok(exits.and_then(|e| e.policy).unwrap_or_default());
    }
    Ok(open_bundle(model)?.policy())
}

fn open_bundle(model: &Path) -> Result<Classifier, Error> {
    Classifier::open(model).map_err(|cause| Error::Bundle { path: model.into(), cause })
}

impl Examples {
    /// Reads the labelled texts of a file.
    ///
    /// # Errors
    /// [`Error::Data`], [`Error::Io`].
    pub fn read(path: &Path, columns: &Columns, labels: &[String]) -> Result<Self, Error> {
        let (dataset, guess) = Dataset::read(path, columns, Some(labels))?;
        let all: Vec<usize> = (0..dataset.examples.len()).collect();
        Ok(Self::of(&dataset, &all, format!("{}: {} rows, {guess}", path.display(), all.len())))
    }

    /// Reads the held-out rows of the run that made a checkpoint, by the recipe in its folder.
    ///
    /// # Errors
    /// [`Error::Unfit`] if there is no recipe or its run held nothing out; errors of reading the
    /// data.
    pub fn held_out(checkpoint: &Path) -> Result<Self, Error> {
        let path = checkpoint.join("recipe.toml");
        if !path.exists() {
            return Err(Error::Unfit(format!(
                "{} is missing; give --data with texts that were not trained on",
                path.display()
            )));
        }
        let data = Recipe::read(&path)?.data;
        if data.hold_out == HoldOut::Rows(0) {
            return Err(Error::Unfit(format!(
                "{}: data.hold_out is 0, so there are no held-out rows; give --data with texts \
                 that were not trained on",
                path.display()
            )));
        }
        Ok(Self::split(&data, &labels(checkpoint)?)?.1)
    }

    /// Splits the rows of a recipe's data into training rows and held-out rows.
    ///
    /// # Errors
    /// Errors of reading the data.
    pub fn split(data: &Data, labels: &[String]) -> Result<(Self, Self), Error> {
        let files = Hub::from_env()?.resolve_dataset(&data.train.to_string_lossy(), "train")?;
        let (dataset, _) = Dataset::read_all(&files, &data.columns(), Some(labels))?;
        let texts = dataset.texts();
        let held_out = data.hold_out.of(texts.len());
        let split = hold_out(&texts, held_out, data.hold_out_seed, data.hold_out_words)?;
        let source =
            |what: &str, rows: usize| format!("{rows} rows {what} {}", data.train.display());
        let trained = Self::of(&dataset, &split.train, source("of", split.train.len()));
        let held = source("held out of", split.held_out.len());
        Ok((trained, Self::of(&dataset, &split.held_out, held)))
    }

    /// Copies the first `n` examples, or all if there are fewer.
    pub fn first(&self, n: usize) -> Self {
        Examples {
            texts: self.texts.iter().take(n).cloned().collect(),
            truth: self.truth.iter().take(n).copied().collect(),
            source: self.source.clone(),
        }
    }

    fn of(dataset: &Dataset, rows: &[usize], source: String) -> Self {
        let rows = || rows.iter().map(|r| &dataset.examples[*r]);
        Examples {
            texts: rows().map(|e| e.text.clone()).collect(),
            truth: rows().filter_map(|e| e.label).collect(),
            source,
        }
    }
}

/// Computes the logits of every exit of a checkpoint (in f32) or of a bundle for every text.
///
/// # Errors
/// Errors of opening and running the model.
pub fn outcomes(
    model: &Path,
    examples: &Examples,
    mut progress: impl FnMut(usize, usize),
) -> Result<Outcomes, Error> {
    if !model.is_dir() {
        return Outcomes::of_bundle(model, &examples.texts, examples.truth.clone(), progress);
    }
    let checkpoint = Checkpoint::open(model)?;
    let network = load(&checkpoint, Device::Cpu)?;
    let tokenizer = tokenizer(&checkpoint, checkpoint.config.encoder.max_tokens)?;
    let ids = examples.texts.iter().map(|t| Ok(tokenizer.encode(t).map_err(Error::Tokenizer)?.ids));
    let ids = ids.collect::<Result<Vec<_>, Error>>()?;
    let logits = predict(&network, &Mode::predict(), &ids, &AtomicBool::new(false), &mut progress)?;
    let outcomes = Outcomes {
        layers_total: network.config.encoder.layers,
        exits: network.heads.iter().map(|h| h.layers).collect(),
        labels: network.config.task.labels().to_vec(),
        truth: examples.truth.clone(),
        logits,
    };
    outcomes.check()?;
    Ok(outcomes)
}

/// Calibrates the exits of a checkpoint on its int8 bundle. Writes the best policy, or the policy
/// of `kind`, into its `exits.json`.
///
/// # Errors
/// [`Error::Unfit`] if the checkpoint has no exits; errors of exporting and measuring.
pub fn calibrate_checkpoint(
    folder: &Path,
    examples: &Examples,
    kind: Option<PolicyKind>,
    budget_points: f64,
    progress: impl FnMut(usize, usize),
) -> Result<Choice, Error> {
    check_budget(budget_points)?;
    let checkpoint = Checkpoint::open(folder)?;
    let Some(exits) = &checkpoint.exits else {
        return Err(Error::Unfit(format!(
            "{} has no exits.json, so there are no exits to calibrate; \
             train exits with `edge-distill`",
            folder.display()
        )));
    };
    let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let bundle = place.path().join("model.edge");
    export(&checkpoint, checkpoint.config.int8(), &bundle, |_, _, _| {})?;
    let outcomes = outcomes(&bundle, examples, progress)?;
    let mut choice = best(&outcomes, budget_points)?;
    if let Some(kind) = kind {
        choice.best = PolicyKind::ALL.iter().position(|k| *k == kind).unwrap_or(choice.best);
    }
    let exits = Exits { policy: Some(choice.best().policy.clone()), ..exits.clone() };
    let json = serde_json::to_string_pretty(&exits).expect("plain JSON") + "\n";
    files::write(&folder.join("exits.json"), json)?;
    Ok(choice)
}
