//! All steps from a data set to a bundle: teacher, student, calibration, export, and a table that
//! compares the models.

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::data::Columns;
use crate::export::export;
use crate::files::Output;
use crate::measure::calibrate::check_budget;
use crate::measure::table::Row;
use crate::measure::{Examples, calibrate_checkpoint, labels, outcomes};
use crate::measure::{curve, metrics};
use crate::network::load;
use crate::quantize::Precision;
use crate::train::recipe::{HoldOut, Recipe, Teacher};
use crate::train::{Event, Options, check, train, work};
use candle_core::Device;
use edge_runtime::{Classifier, ExitPolicy};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Inputs and settings of all steps.
pub struct AllSteps {
    /// Recipe of the teacher; `None` if the student's recipe names a teacher.
    pub teacher: Option<Recipe>,
    /// Recipe of the student. With a recipe for the teacher, that teacher is used, and the student
    /// starts from its weights.
    pub student: Recipe,
    /// Labelled texts that only the table uses.
    pub test: PathBuf,
    /// Percentage points of accuracy that early exits may cost.
    pub budget_points: f64,
    /// Folder of all results.
    pub output: Output,
    /// Options of training; `output` is set by `run`.
    pub options: Options,
}

/// Texts of the table, read by the columns of the student's recipe, or else by guessed columns.
fn read_test(path: &Path, recipe: &Recipe, labels: &[String]) -> Result<Examples, Error> {
    Examples::read(path, &recipe.data.columns(), labels)
        .or_else(|e| Examples::read(path, &Columns::default(), labels).map_err(|_| e))
}

/// Runs all steps and returns the rows of the table. Results of an earlier run with the same
/// recipes are reused.
///
/// # Errors
/// Errors of the steps.
pub fn run(
    mut steps: AllSteps,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Vec<Row>, Error> {
    // Faults are reported before training instead of after it.
    check_budget(steps.budget_points)?;
    std::fs::File::open(&steps.test).map_err(|e| Error::io(&steps.test, e))?;
    if steps.student.data.hold_out == HoldOut::Rows(0) {
        return Err(Error::Unfit(
            "the student's recipe has no held-out rows (data.hold_out is 0); set data.hold_out, because \
             exits are calibrated on held-out rows"
                .into(),
        ));
    }
    check_outputs(&steps)?;
    steps.output.open()?;
    let folder = steps.output.folder.clone();
    let mut options = steps.options;
    if let Some(recipe) = &steps.teacher {
        observe(Event::Note("— the teacher".into()));
        options.output = steps.output.join("teacher");
        train(recipe, &options, stop, observe)?;
        let teacher = &options.output.folder;
        steps.student.model.start = teacher.clone();
        steps.student.teacher = Some(Teacher { model: Some(teacher.clone()), outputs: None });
    }
    observe(Event::Note("— the student".into()));
    options.output = steps.output.join("student");
    let student = options.output.folder.clone();
    train(&steps.student, &options, stop, observe)?;

    observe(Event::Note("— its exits".into()));
    let held_out = Examples::held_out(&student)?;
    let progress = |done, of| observe(Event::Progress("texts, exits are calibrated", done, of));
    let choice = calibrate_checkpoint(&student, &held_out, None, steps.budget_points, progress)?;
    observe(Event::Note(curve::text(&choice)));
    curve::save(&choice, "student", &student)?;

    observe(Event::Note("— the table".into()));
    let test = read_test(&steps.test, &steps.student, &labels(&student)?)?;
    let mut rows = Vec::new();
    if let Some(teacher) = steps.student.teacher.and_then(|t| t.model) {
        let bundle = Bundle::make(&teacher, folder.join("teacher.edge"), Precision::Fp32)?;
        rows.push(bundle.row("teacher", &test, false, stop, observe)?);
    }
    let fp32 = Bundle::make(&student, folder.join("student-fp32.edge"), Precision::Fp32)?;
    rows.push(fp32.row("student", &test, false, stop, observe)?);
    let precision = Checkpoint::open(&student)?.config.int8();
    let int8 = Bundle::make(&student, folder.join("model.edge"), precision)?;
    rows.push(int8.row("student int8", &test, false, stop, observe)?);
    rows.push(int8.row("student int8 with exits", &test, true, stop, observe)?);
    Ok(rows)
}

/// Checks all folders that will be written.
fn check_outputs(steps: &AllSteps) -> Result<(), Error> {
    let mut inputs = vec![steps.test.as_path()];
    inputs.extend(steps.student.inputs());
    let mut folders = vec![steps.output.join("student")];
    if let Some(teacher) = &steps.teacher {
        inputs.extend(teacher.inputs());
        folders.push(steps.output.join("teacher"));
    }
    folders.extend(folders.iter().map(work).collect::<Vec<_>>());
    folders.push(steps.output.clone());
    folders.iter().try_for_each(|folder| Ok(folder.check(&inputs)?))
}

/// An exported checkpoint.
struct Bundle {
    path: PathBuf,
    parameters: u64,
    bytes: u64,
}

impl Bundle {
    fn make(checkpoint: &Path, path: PathBuf, precision: Precision) -> Result<Self, Error> {
        let opened = Checkpoint::open(checkpoint)?;
        let parameters = load(&opened, Device::Cpu)?.parameters();
        let parameters = parameters.iter().map(|p| p.var().elem_count() as u64).sum();
        let bytes = export(&opened, precision, &path, |_, _, _| {})?.bytes;
        Ok(Bundle { path, parameters, bytes })
    }

    /// Row of the table, measured one text after the other.
    fn row(
        &self,
        name: &str,
        test: &Examples,
        exits: bool,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event),
    ) -> Result<Row, Error> {
        let failed = |cause| Error::Bundle { path: self.path.clone(), cause };
        let classifier = Classifier::open(&self.path).map_err(failed)?;
        let policy = if exits { classifier.policy() } else { ExitPolicy::Never };
        let begun = Instant::now();
        for text in &test.texts {
            check(stop)?;
            classifier.classify(&[text.as_str()], &policy).map_err(failed)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let progress = |done, of| observe(Event::Progress("texts, for the table", done, of));
        let outcomes = outcomes(&self.path, test, progress)?;
        let walked = outcomes.walk(&policy)?;
        Ok(Row {
            name: name.into(),
            parameters: Some(self.parameters),
            bytes: Some(self.bytes),
            sentences_per_second: Some(test.texts.len() as f64 / seconds),
            accuracy: Some(metrics::accuracy(&test.truth, &walked.predicted)?),
            share: Some(outcomes.share(&walked)),
        })
    }
}
