//! Training loop.

use super::log::StepLog;
use super::loss::Targets;
use super::metrics::{Metrics, Record};
use super::optimizer::AdamW;
use super::options::{Event, Options, Trained, check};
use super::plan::{Plan, TeacherAnswers};
use super::recipe::Recipe;
use super::sparsity::Masks;
use super::state::{self, Position};
use super::teacher;
use crate::Error;
use crate::checkpoint::{TOKENIZER_CONFIG, tokenizer_config};
use crate::data::batches;
use crate::files;
use crate::network::Output;
use crate::network::{Mode, save};
use crate::rng::Rng;
use crate::tasks::{self, TaskTraining};
use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Smoothing factor of the loss, for the detection of divergence.
const SMOOTHING: f64 = 0.98;

/// Trains a model by a recipe and writes the checkpoint.
///
/// # Errors
/// [`Error::Interrupted`] if `stop` was set, [`Error::Diverged`] if the loss is NaN, infinite or
/// grows. [`Error::Output`] if the output or its work folder must not be written. Errors of reading
/// and writing.
pub fn train(
    recipe: &Recipe,
    options: &Options,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Trained, Error> {
    options.output.check(&recipe.inputs())?;
    let work = work(&options.output);
    work.open()?;
    let work = work.folder;
    let mut plan = Plan::make(recipe, options, &work, stop, observe)?;
    let run = run_digest(recipe, options.precision, &plan);
    let mut position = Position { step: 0, steps: plan.steps, run: run.clone(), smoothed: None };
    let t = &recipe.train;
    if options.resume
        && let Some(held_out) = state::completed(&work, &run)?
        && options.output.folder.join("config.json").exists()
    {
        observe(Event::Note(format!("{} is complete already", options.output.folder.display())));
        return Ok(Trained { steps: plan.steps, held_out });
    }
    let mut optimizer = AdamW::new(plan.parameters(), t.betas, t.epsilon, t.weight_decay)?;
    if options.resume
        && let Some(stored) = state::position(&work)?
    {
        if stored.run != run {
            return Err(Error::Unfit(format!(
                "{}: was stored by a run with another recipe or other data; remove this folder to \
                 begin again",
                work.display()
            )));
        }
        state::restore(&work, &mut optimizer, stored.step)?;
        plan.masks.as_mut().map_or(Ok(()), Masks::restore)?;
        position = stored;
        observe(Event::Note(format!("going on after step {} of {}", position.step, plan.steps)));
    } else {
        state::begin(&work)?;
        plan.masks.as_mut().map_or(Ok(()), |m| m.hide(0, plan.steps))?;
    }
    let mut metrics = match position.step {
        0 => Metrics::create(&work)?,
        step => Metrics::resume(&work, step as u64)?,
    };
    let mut batches_of = EpochBatches { epoch: usize::MAX, batches: Vec::new() };
    let mut since = Instant::now();
    let mut tokens = 0;
    let mut held_out = Vec::new();
    while position.step < plan.steps {
        let step = position.step + 1;
        let mut record = plan.step(recipe, options, step, &mut batches_of, &mut optimizer)?;
        watch(&mut position, &record)?;
        position.step = step;
        tokens += record.tokens;
        let stopping = check(stop).is_err();
        if step.is_multiple_of(t.log_every) || step == plan.steps {
            record.tokens_per_second = tokens as f64 / since.elapsed().as_secs_f64();
            (since, tokens) = (Instant::now(), 0);
            metrics.log(&record.record(plan.steps_per_epoch))?;
        }
        observe(Event::Step(&record, plan.steps));
        if stopping || (step.is_multiple_of(t.save_every) && step < plan.steps) {
            state::store(&work, &optimizer, &position)?;
        }
        if stopping {
            return Err(Error::Interrupted { step: Some(step) });
        }
        if step.is_multiple_of(plan.steps_per_epoch) || step == plan.steps {
            held_out = plan.held_out(stop)?;
            if !held_out.is_empty() {
                let exits = plan.network.heads.iter().map(|h| format!("held_out/{}", h.layers));
                metrics.log(&Record {
                    step: step as u64,
                    epoch: step as f64 / plan.steps_per_epoch as f64,
                    accuracy: held_out.last().copied(),
                    more: exits.zip(held_out.iter().copied()).collect(),
                    ..Record::default()
                })?;
                observe(Event::HeldOut(&held_out));
            }
        }
    }
    if held_out.is_empty() {
        held_out = plan.held_out(stop)?;
    }
    let recipe_toml = recipe.to_toml();
    let tokenizer = serde_json::from_slice(&plan.tokenizer).unwrap_or_default();
    let tokenizer_config = tokenizer_config(&tokenizer).to_string();
    let files = [
        ("tokenizer.json", plan.tokenizer.as_slice()),
        (TOKENIZER_CONFIG, tokenizer_config.as_bytes()),
        ("recipe.toml", recipe_toml.as_bytes()),
    ];
    save(&plan.network, None, &files, &options.output, options.stored)?;
    state::complete(&work, &run, &held_out)?;
    Ok(Trained { steps: plan.steps, held_out })
}

/// Folder of a run's state, its metrics and the teacher's logits.
pub fn work_folder(output: &Path) -> PathBuf {
    // The paths `.` and `..` have no name.
    let named = match output.file_name() {
        Some(_) => output.to_owned(),
        None => output.canonicalize().unwrap_or_else(|_| output.to_owned()),
    };
    let mut name = named.file_name().unwrap_or_default().to_owned();
    name.push(".work");
    named.with_file_name(name)
}

/// Output settings of the [`work_folder`].
pub(crate) fn work(output: &files::Output) -> files::Output {
    files::Output { folder: work_folder(&output.folder), force: output.force }
}

/// Digest of the inputs that determine the weights of a run.
fn run_digest(recipe: &Recipe, precision: DType, plan: &Plan) -> String {
    let mut digest = Sha256::new();
    // Intervals of storing and logging do not change the weights.
    let mut recipe = recipe.clone();
    (recipe.train.save_every, recipe.train.log_every) = (1, 1);
    digest.update(recipe.to_toml());
    digest.update(precision.as_str());
    digest.update(plan.corpus.digest);
    for example in &plan.corpus.examples {
        digest.update(example.label.map_or(u32::MAX, |l| l).to_le_bytes());
    }
    if let Some(TeacherAnswers { logits, .. }) = &plan.teacher {
        logits.iter().for_each(|l| digest.update(l.to_le_bytes()));
    }
    digest.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Returns an error if the loss is NaN or infinite, or has grown far above its minimum.
fn watch(position: &mut Position, record: &StepLog) -> Result<(), Error> {
    let step = record.step;
    if !record.loss.is_finite() || !record.gradient_norm.is_finite() {
        return Err(Error::Diverged {
            step,
            problem: format!(
                "the loss is {} and the gradients' norm {}; try a lower train.learning_rate, a \
                 longer train.warmup or a smaller train.clip, and check the data for \
                 empty or broken texts",
                record.loss, record.gradient_norm
            ),
        });
    }
    let (smoothed, least) = position.smoothed.unwrap_or((record.loss, record.loss));
    let smoothed = SMOOTHING * smoothed + (1.0 - SMOOTHING) * record.loss;
    let least = if step > 100 { least.min(smoothed) } else { smoothed };
    if step > 200 && smoothed > 3.0 * least + 1.0 {
        return Err(Error::Diverged {
            step,
            problem: format!(
                "the loss has grown to {smoothed:.3}, its minimum was {least:.3}; try a lower \
                 train.learning_rate or a longer train.warmup"
            ),
        });
    }
    position.smoothed = Some((smoothed, least));
    Ok(())
}

/// Batches of an epoch, created once.
pub(super) struct EpochBatches {
    epoch: usize,
    batches: Vec<Vec<usize>>,
}

impl Plan {
    /// Makes one step: `accumulate` batches, clipping, AdamW.
    fn step(
        &mut self,
        recipe: &Recipe,
        options: &Options,
        step: usize,
        made: &mut EpochBatches,
        optimizer: &mut AdamW,
    ) -> Result<StepLog, Error> {
        let t = &recipe.train;
        let epoch = (step - 1) / self.steps_per_epoch;
        if made.epoch != epoch {
            let key = (t.seed, epoch as u64);
            made.batches = batches(&self.corpus.lengths, &self.corpus.split.train, t.batch, key);
            made.epoch = epoch;
        }
        let first = (step - 1) % self.steps_per_epoch * t.accumulate;
        let chosen = &made.batches[first..(first + t.accumulate).min(made.batches.len())];
        let warmup = (t.warmup * self.steps as f64).round() as usize;
        let rate = t.learning_rate * t.schedule.factor(step, warmup, self.steps);
        let mut record = StepLog { step, epoch, rate, ..StepLog::default() };
        let task = tasks::of(&self.network.config.task)?;
        let (mut right, mut labelled) = (0, 0);
        for (i, rows) in chosen.iter().enumerate() {
            let key = Rng::new(&[t.seed, step as u64, i as u64]).next_u64();
            let batch = self.corpus.batch(rows);
            let mode = Mode {
                training: Some((t.dropout, key)),
                precision: options.precision,
                attention: recipe.losses.attention > 0.0,
                fused: options.device.is_cpu(),
                quantized: self.quantized,
            };
            let output = self.network.forward(&batch, &mode)?;
            let teacher = self.teacher_layers(rows, &batch)?;
            let labels: Vec<_> = rows.iter().map(|r| self.corpus.examples[*r].label).collect();
            let targets = Targets {
                task,
                labels: &labels,
                teacher_logits: self.teacher_logits(rows, &options.device)?,
                teacher: teacher.as_ref(),
                projections: &self.projections,
            };
            let loss = self.losses.of(&output, &batch, &targets)?;
            let value = f64::from(loss.total.to_scalar::<f32>()?);
            record.add(value, &loss.parts, chosen.len())?;
            if !value.is_finite() {
                record.gradient_norm = f64::NAN;
                return Ok(record);
            }
            let mut gradients = loss.total.backward()?;
            self.parameters().iter().try_for_each(|p| p.absorb(&mut gradients))?;
            record.tokens += batch.rows();
            let (r, l) = score(task, &output, &labels)?;
            (right, labelled) = (right + r, labelled + l);
        }
        self.masks.as_ref().map_or(Ok(()), Masks::pass_on)?;
        record.accuracy = (labelled > 0).then(|| right as f64 / labelled as f64);
        let clip = (t.clip > 0.0).then_some(t.clip);
        record.gradient_norm = optimizer.step(rate, chosen.len() as f64, clip)?.norm;
        self.masks.as_mut().map_or(Ok(()), |m| m.hide(step, self.steps))?;
        Ok(record)
    }

    /// Accuracy of every exit on the held-out rows.
    fn held_out(&self, stop: &AtomicBool) -> Result<Vec<f64>, Error> {
        let rows = &self.corpus.split.held_out;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = rows.iter().map(|row| &self.corpus.ids[*row]).collect();
        let mode = Mode { quantized: self.quantized, ..Mode::predict() };
        let logits = teacher::predict(&self.network, &mode, &ids, stop, &mut |_, _| {})?;
        let task = tasks::of(&self.network.config.task)?;
        let label = |row: &usize| self.corpus.examples[*row].label;
        let accuracy = |exit: usize| {
            let right = rows.iter().zip(&logits).filter(|(row, logits)| {
                label(row).is_some_and(|label| task.is_right(&logits[exit], label))
            });
            right.count() as f64 / rows.len() as f64
        };
        Ok((0..self.network.heads.len()).map(accuracy).collect())
    }

    fn teacher_logits(&self, rows: &[usize], device: &Device) -> Result<Option<Tensor>, Error> {
        let Some(teacher) = &self.teacher else { return Ok(None) };
        let classes = self.corpus.labels.len();
        let logits: Vec<f32> =
            rows.iter().flat_map(|r| &teacher.logits[r * classes..][..classes]).copied().collect();
        Ok(Some(Tensor::from_vec(logits, (rows.len(), classes), device)?))
    }
}

/// Number of labelled sentences that the last exit answers correctly, and number of labelled
/// sentences.
fn score(
    task: &dyn TaskTraining,
    output: &Output,
    labels: &[Option<u32>],
) -> Result<(usize, usize), Error> {
    let logits = output.logits.last().expect("an exit").detach().to_vec2::<f32>()?;
    let labelled = logits.iter().zip(labels).filter_map(|(l, label)| Some((l, (*label)?)));
    let right = labelled.clone().filter(|(l, label)| task.is_right(l, *label));
    Ok((right.count(), labelled.count()))
}
