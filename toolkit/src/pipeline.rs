//! From a data set to a bundle in one go: teacher, student, calibration, export, and the table
//! that compares them.

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::data::Columns;
use crate::export::{Precision, WeightBits, export};
use crate::report::measure::{Examples, calibrate_checkpoint, labels, outcomes};
use crate::report::table::Row;
use crate::report::{curve, metrics};
use crate::train::recipe::{Recipe, Teacher};
use crate::train::{Event, Options, load, train};
use candle_core::Device;
use edge_runtime::{Classifier, ExitPolicy};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What is to be made.
pub struct Pipeline {
    /// How the teacher is trained; `None` if the student's recipe names one.
    pub teacher: Option<Recipe>,
    /// How the student is trained. With a recipe for the teacher, that one is its teacher, and it
    /// starts from it.
    pub student: Recipe,
    /// Labelled texts that nothing but the table sees.
    pub test: PathBuf,
    /// The percentage points of accuracy that early exits may cost.
    pub budget_points: f64,
    /// The folder of all results.
    pub output: PathBuf,
    /// How it is trained; `output` is ours to set.
    pub options: Options,
}

/// Makes everything and returns the rows of the table. What is there already, from a run with the
/// same recipes, is not made again.
///
/// # Errors
/// Those of the steps.
pub fn run(
    mut pipeline: Pipeline,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Vec<Row>, Error> {
    let folder = pipeline.output.clone();
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let mut options = pipeline.options;
    if let Some(recipe) = &pipeline.teacher {
        observe(Event::Note("— the teacher".into()));
        options.output = folder.join("teacher");
        train(recipe, &options, stop, observe)?;
        pipeline.student.model.start = options.output.clone();
        pipeline.student.teacher =
            Some(Teacher { model: Some(options.output.clone()), outputs: None });
    }
    observe(Event::Note("— the student".into()));
    let student = folder.join("student");
    options.output = student.clone();
    train(&pipeline.student, &options, stop, observe)?;

    observe(Event::Note("— its exits".into()));
    let held_out = Examples::held_out(&student)?;
    let choice =
        calibrate_checkpoint(&student, &held_out, None, pipeline.budget_points, |_, _| {})?;
    observe(Event::Note(curve::text(&choice)));
    curve::save(&choice, "student", &student)?;

    observe(Event::Note("— the table".into()));
    let test = Examples::read(&pipeline.test, &Columns::default(), &labels(&student)?)?;
    let mut rows = Vec::new();
    if let Some(teacher) = pipeline.student.teacher.and_then(|t| t.model) {
        rows.push(row(
            "teacher",
            &teacher,
            &folder.join("teacher.edge"),
            Precision::Fp32,
            &test,
            false,
        )?);
    }
    let fp32 = folder.join("student-fp32.edge");
    rows.push(row("student", &student, &fp32, Precision::Fp32, &test, false)?);
    let int8 = (folder.join("model.edge"), Precision::Int8(WeightBits::Seven));
    rows.push(row("student int8", &student, &int8.0, int8.1, &test, false)?);
    rows.push(row("student int8 with exits", &student, &int8.0, int8.1, &test, true)?);
    Ok(rows)
}

/// Exports a checkpoint and measures the bundle, one sentence after the other.
fn row(
    name: &str,
    checkpoint: &Path,
    bundle: &Path,
    precision: Precision,
    test: &Examples,
    exits: bool,
) -> Result<Row, Error> {
    let opened = Checkpoint::open(checkpoint)?;
    let parameters =
        load(&opened, Device::Cpu)?.parameters().iter().map(|p| p.var().elem_count() as u64).sum();
    let summary = export(&opened, precision, bundle, |_, _, _| {})?;
    let failed = |cause| Error::Bundle { path: bundle.into(), cause };
    let classifier = Classifier::open(bundle).map_err(failed)?;
    let policy = if exits { classifier.policy() } else { ExitPolicy::Never };
    let begun = Instant::now();
    for text in &test.texts {
        classifier.classify(&[text.as_str()], &policy).map_err(failed)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let outcomes = outcomes(bundle, test, |_, _| {})?;
    let walked = outcomes.walk(&policy)?;
    Ok(Row {
        name: name.into(),
        parameters: Some(parameters),
        bytes: Some(summary.bytes),
        sentences_per_second: Some(test.texts.len() as f64 / seconds),
        accuracy: Some(metrics::accuracy(&test.truth, &walked.predicted)?),
        share: Some(outcomes.share(&walked)),
    })
}
