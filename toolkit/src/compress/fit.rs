//! Compression of a checkpoint to a goal: search, training, calibration and export.
//!
//! The trained checkpoint is kept only if it is better on the held-out rows. A network that was
//! only cut after one of its exits needs no training.

use super::search::{self, Goal, Search, Tried};
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::export::export;
use crate::files::Output;
use crate::measure::calibrate::check_budget;
use crate::measure::curve;
use crate::measure::{Examples, calibrate_checkpoint};
use crate::train::recipe::{Exits, Recipe};
use crate::train::{Event, Options, check, train, work};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Inputs of [`fit`].
pub struct Fit {
    /// Folder of the checkpoint to compress.
    pub checkpoint: PathBuf,
    /// Recipe that trains the result. [`fit`] sets its start, exits and quantization.
    pub recipe: Recipe,
    /// Limits on the compressed model.
    pub goal: Goal,
    /// Largest number of texts that measure the importance of heads and neurons.
    pub weighed: usize,
    /// Percentage points of accuracy that early exits may cost.
    pub budget_points: f64,
    /// The folder of all results: `tried.jsonl`, `start`, `student`, `model.edge`.
    pub output: Output,
    /// Options of the training. [`fit`] sets `output` and `resume`, so completed steps are not
    /// repeated.
    pub options: Options,
}

/// Result of [`fit`].
pub struct Fitted {
    /// Chosen candidate, with its figures before training.
    pub chosen: Tried,
    /// Folder of the kept checkpoint, inside the output folder.
    pub student: PathBuf,
    /// Size of the int8 bundle in bytes.
    pub bytes: u64,
    /// Accuracy at full depth on the held-out rows, 0 to 1.
    pub accuracy: f64,
}

/// Compresses a checkpoint to a goal.
///
/// # Errors
/// [`Error::Unfit`] if no candidate meets the goal, with the smallest size and speed;
/// [`Error::Output`] if a folder may not be written; errors of the steps.
pub fn fit(
    fit: Fit,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
    tried: impl FnMut(&Tried, usize, usize),
) -> Result<Fitted, Error> {
    let Fit { checkpoint, mut recipe, goal, output, mut options, .. } = fit;
    goal.check()?;
    check_budget(fit.budget_points)?;
    let inputs = [vec![checkpoint.as_path()], recipe.inputs()].concat();
    let (start, student) = (output.join("start"), output.join("student"));
    for folder in [&output, &start, &student, &work(&student)] {
        folder.check(&inputs)?;
    }
    let opened = Checkpoint::open(&checkpoint)?;
    let (trained, held_out) = Examples::split(&recipe.data, opened.config.task.labels())?;
    if held_out.texts.is_empty() {
        return Err(Error::Unfit(
            "the recipe's data.hold_out is 0, and candidates are compared on held-out rows; \
             set it to 1 or more"
                .into(),
        ));
    }
    let texts: Vec<&str> = trained.texts.iter().map(String::as_str).collect();
    let weighed = trained.first(fit.weighed);
    let search = Search { checkpoint: &checkpoint, goal, texts: &texts, held_out: &held_out };
    search.check()?;
    output.open()?;
    let progress =
        |done, of| observe(Event::Progress("texts, weighing heads and neurons", done, of));
    let worth = super::weigh(&checkpoint, &weighed, stop, progress)?;
    let all = search.run(&output.folder.join("tried.jsonl"), &worth, stop, tried)?;
    let chosen = *search::best(&all).ok_or_else(|| nothing_fits(&goal, &all))?;
    search.make(&chosen.candidate, &chosen.candidate.kept(&worth), start.clone())?;
    let start = start.folder;

    let start_config = Checkpoint::open(&start)?;
    if let Some(exits) = &start_config.exits {
        recipe.model.exits = Exits::After(exits.layers.clone());
        recipe.model.pooling = exits.pooling;
        recipe.model.head_width = Some(exits.hidden);
        recipe.losses.exit_weights.truncate(exits.layers.len());
    }
    recipe.model.start = std::path::absolute(&start).map_err(|e| Error::io(&start, e))?;
    recipe.quantize = Some(chosen.candidate.rounded());
    options.output = student;
    options.resume = true;
    let held = train(&recipe, &options, stop, observe)?.held_out;
    let before = chosen.accuracy.unwrap_or(0.0);
    let after = held.last().copied().unwrap_or(0.0);
    let better = after > before;
    observe(Event::Note(format!(
        "held-out accuracy: {:.2} % before training and {:.2} % after it; {} is kept",
        100.0 * before,
        100.0 * after,
        if better { "the trained checkpoint" } else { "the checkpoint before training" }
    )));
    let student = if better { options.output.folder } else { start };
    check(stop)?;
    let progress = |done, of| observe(Event::Progress("texts, calibrating exits", done, of));
    let choice = calibrate_checkpoint(&student, &held_out, None, fit.budget_points, progress)?;
    check(stop)?;
    curve::save(&choice, "student", &student)?;
    let bytes = finish(&student, &output.folder.join("model.edge"))?;
    Ok(Fitted { chosen, student, bytes, accuracy: before.max(after) })
}

fn finish(student: &Path, bundle: &Path) -> Result<u64, Error> {
    let student = Checkpoint::open(student)?;
    Ok(export(&student, student.config.int8(), bundle, |_, _, _| {})?.bytes)
}

fn nothing_fits(goal: &Goal, tried: &[Tried]) -> Error {
    let smallest = tried.iter().map(|t| t.bytes).min().unwrap_or(0);
    let least = tried.iter().map(|t| t.operations).fold(f64::INFINITY, f64::min);
    goal.out_of_reach(smallest, least)
}
