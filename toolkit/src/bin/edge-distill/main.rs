//! The `edge-distill` command line.

mod arguments;
mod progress;

use anyhow::{Context, bail};
use arguments::{
    All, Arguments, Calibrate, Command, Compress, Evaluate, Force, Measure, Place, PolicyKind,
    Precision, Prune, ReportArguments, Sensitivity, Smooth, Stored, Texts, Train, Vocabulary,
};
use candle_core::DType;
use clap::Parser;
use edge_export::say;
use edge_runtime::ExitPolicy;
use edge_toolkit::Error;
use edge_toolkit::all_steps::{self, AllSteps};
use edge_toolkit::compress::fit::Fit;
use edge_toolkit::compress::search::{Goal, Tried};
use edge_toolkit::compress::sensitivity::{Budget, Study};
use edge_toolkit::compress::{self, Shape, smooth, vocabulary};
use edge_toolkit::data::{Columns, Dataset};
use edge_toolkit::files::{self, Output};
use edge_toolkit::measure::calibrate;
use edge_toolkit::measure::evaluation::{Comparison, Evaluation};
use edge_toolkit::measure::{self, Examples};
use edge_toolkit::measure::{curve, table};
use edge_toolkit::report::compare::{Report, replace_marked};
use edge_toolkit::report::suite::{self, Suite};
use edge_toolkit::train::recipe::Recipe;
use edge_toolkit::train::{Options, average, train};
use progress::Progress;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stop = Arc::new(AtomicBool::new(false));
    match run(&arguments, &stop) {
        Ok(code) => code,
        Err(error) => {
            let stopped = matches!(error.downcast_ref(), Some(Error::Interrupted { .. }));
            let remedy = arguments.command.after_a_stop().filter(|_| stopped);
            let remedy = remedy.map_or_else(String::new, |words| format!("; {words}"));
            eprintln!("edge-distill: {error:#}{remedy}");
            ExitCode::from(if stop.load(Ordering::Relaxed) { 130 } else { 2 })
        }
    }
}

fn run(arguments: &Arguments, stop: &Arc<AtomicBool>) -> anyhow::Result<ExitCode> {
    // Ctrl-C ends the other commands at once.
    if arguments.command.after_a_stop().is_some() {
        let seen = stop.clone();
        ctrlc::set_handler(move || {
            // The second Ctrl-C ends the program at once.
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        })
        .context("Ctrl-C cannot be caught")?;
    }
    match &arguments.command {
        Command::Finetune(a) => run_training(a, false, stop),
        Command::Distill(a) => run_training(a, true, stop),
        Command::Calibrate(a) => run_calibration(a),
        Command::Evaluate(a) => run_evaluation(a),
        Command::Measure(a) => run_measuring(a),
        Command::Report(a) => run_report(a),
        Command::Vocabulary(a) => run_vocabulary(a),
        Command::Prune(a) => run_pruning(a, stop),
        Command::Sensitivity(a) => run_sensitivity(a, stop),
        Command::Smooth(a) => return run_smoothing(a, stop),
        Command::Compress(a) => run_compression(a, stop),
        Command::Average(a) => Ok(average(&a.checkpoints, output(&a.output, &a.force, &[])?)?),
        Command::All(a) => run_all(a, stop),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn run_training(arguments: &Train, distill: bool, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut recipe = Recipe::read(&arguments.recipe)?;
    match (&recipe.teacher, distill) {
        (None, true) => bail!(
            "{}: there is no [teacher] to distil; add one, or run `edge-distill finetune`",
            arguments.recipe.display()
        ),
        (Some(_), false) => bail!(
            "{}: has a [teacher]; remove it, or run `edge-distill distill`",
            arguments.recipe.display()
        ),
        _ => {}
    }
    if let Some(seed) = arguments.seed {
        recipe.train.seed = seed;
    }
    let output = output(&arguments.output, &arguments.force, &[&arguments.recipe])?;
    let options = options(output, &arguments.place, arguments.resume)?;
    let bar = Progress::new();
    let trained = train(&recipe, &options, stop, &mut bar.events())?;
    bar.finish();
    eprintln!("{} steps; the checkpoint is in {}", trained.steps, arguments.output.display());
    Ok(())
}

/// Checks the output folder of a command that reads these files and folders.
fn output(folder: &Path, force: &Force, inputs: &[&Path]) -> anyhow::Result<Output> {
    let output = Output { folder: folder.into(), force: force.force };
    output.check(inputs)?;
    Ok(output)
}

fn options(output: Output, place: &Place, resume: bool) -> anyhow::Result<Options> {
    let (device, chosen) = edge_toolkit::device(&place.device)?;
    eprintln!("computing on {chosen}");
    Ok(Options {
        output,
        device,
        precision: match place.dtype {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        },
        stored: match place.save_dtype {
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
        },
        resume,
    })
}

fn examples(texts: &Texts, model: &Path) -> anyhow::Result<Examples> {
    let examples = match &texts.data {
        None => Examples::held_out(model)?,
        Some(path) => {
            let columns = Columns { text: texts.text.clone(), label: texts.label.clone() };
            Examples::read(path, &columns, &measure::labels(model)?)?
        }
    };
    eprintln!("{}", examples.source);
    Ok(examples)
}

fn run_pruning(arguments: &Prune, stop: &AtomicBool) -> anyhow::Result<()> {
    let Prune { checkpoint, layers, heads, neurons, .. } = arguments;
    let output = output(&arguments.output, &arguments.force, &[checkpoint])?;
    let shape = Shape { layers: *layers, heads: *heads, neurons: *neurons };
    if shape.heads == 1.0 && shape.neurons == 1.0 {
        let layers =
            layers.context("nothing to prune; give --layers, or --heads or --neurons below 1")?;
        return Ok(compress::depth::keep_first(checkpoint, layers, output)?);
    }
    let examples = examples(&arguments.texts, checkpoint)?.first(arguments.weigh);
    let bar = Progress::new();
    let progress = |done, of| bar.at(done, of, "texts");
    let kept = compress::prune(checkpoint, &shape, &examples, output, stop, progress)?;
    bar.finish();
    for (layer, (heads, neurons)) in kept.heads.iter().zip(&kept.neurons).enumerate() {
        say!("layer {}: {} heads, {} neurons", layer + 1, heads.len(), neurons.len());
    }
    Ok(())
}

fn run_sensitivity(arguments: &Sensitivity, stop: &AtomicBool) -> anyhow::Result<()> {
    let folder = &arguments.checkpoint;
    let budget = match (arguments.target_size, arguments.max_divergence) {
        (Some(most), _) => Some(Budget::Bytes(most)),
        (_, Some(most)) if most >= 0.0 => Some(Budget::Divergence(most)),
        (_, Some(most)) => bail!("--max-divergence is {most}; it is 0 or more"),
        _ => None,
    };
    let texts = examples(&arguments.texts, folder)?.first(arguments.first).texts;
    let bar = Progress::new();
    let bits = arguments.embedding_bits;
    let study = Study::of(folder, bits, &texts, stop, |done, of| bar.at(done, of, "texts"))?;
    if let Some(budget) = budget {
        study.check(budget)?;
    }
    let ranked = study.rank(&folder.join("sensitivity.jsonl"), stop, |measured, done, of| {
        bar.each(done, of, &measured.site);
    })?;
    bar.finish();
    say!("{:28} {:>10} {:>10}", "4 bits in", "divergence", "saved, kB");
    for layer in &ranked {
        let saved = layer.saved as f64 / 1e3;
        say!("{:28} {:>10.6} {saved:>10.1}", layer.site, layer.divergence);
    }
    let Some(budget) = budget else { return Ok(()) };
    let chosen = study.choose(&ranked, budget, stop)?;
    study.save(&chosen)?;
    say!(
        "{}: 4 bits in {} of {} linear layers, model.edge of {:.2} MB, divergence {:.6}",
        folder.join("config.json").display(),
        chosen.sites.len(),
        ranked.len(),
        chosen.bytes as f64 / 1e6,
        chosen.divergence
    );
    Ok(())
}

fn run_smoothing(arguments: &Smooth, stop: &AtomicBool) -> anyhow::Result<ExitCode> {
    let Smooth { checkpoint, alpha, .. } = arguments;
    let output = output(&arguments.output, &arguments.force, &[checkpoint])?;
    let texts = examples(&arguments.texts, checkpoint)?.first(arguments.first).texts;
    let bar = Progress::new();
    let progress = |done, of| bar.at(done, of, "texts");
    let smoothed = smooth::smooth(checkpoint, &texts, *alpha, stop, progress)?;
    bar.finish();
    if !smoothed.helps() {
        eprintln!(
            "{} is not written: the mean difference of int8 and float logits would be {:.5}, \
             it was {:.5} before; try another --alpha",
            arguments.output.display(),
            smoothed.after,
            smoothed.before
        );
        return Ok(ExitCode::FAILURE);
    }
    smoothed.write(output)?;
    say!(
        "{}: {} of {} channels scaled; the mean difference of int8 and float logits is {:.5}, \
         it was {:.5} before",
        arguments.output.display(),
        smoothed.moved,
        smoothed.channels,
        smoothed.after,
        smoothed.before
    );
    Ok(ExitCode::SUCCESS)
}

fn run_compression(arguments: &Compress, stop: &AtomicBool) -> anyhow::Result<()> {
    let goal = Goal { bytes: arguments.target_size, speedup: arguments.target_speedup };
    let inputs = [arguments.checkpoint.as_path(), &arguments.recipe];
    let output = output(&arguments.output, &arguments.force, &inputs)?;
    let fit = Fit {
        checkpoint: arguments.checkpoint.clone(),
        recipe: Recipe::read(&arguments.recipe)?,
        goal,
        weighed: arguments.weigh,
        budget_points: arguments.budget,
        output: output.clone(),
        options: options(output, &arguments.place, true)?,
    };
    let bar = Progress::new();
    let fitted = compress::fit::fit(fit, stop, &mut bar.events(), |tried, done, of| {
        bar.at(done, of, "candidates");
        if let Some(accuracy) = tried.accuracy {
            bar.say(&format!("{}, {:.2} %", candidate(tried), 100.0 * accuracy));
        }
    })?;
    bar.finish();
    say!("{}", candidate(&fitted.chosen));
    say!(
        "{}: {:.1} MB, accuracy {:.2} % at full depth on the held-out rows; its checkpoint is {}",
        arguments.output.join("model.edge").display(),
        fitted.bytes as f64 / 1e6,
        100.0 * fitted.accuracy,
        fitted.student.display()
    );
    Ok(())
}

/// Describes a candidate in words.
fn candidate(tried: &Tried) -> String {
    let c = tried.candidate;
    format!(
        "{} layers, {:.0} % of heads and {:.0} % of neurons, pieces seen {} times, \
         {}-bit embeddings: {:.1} MB, 1/{:.1} of the multiplications",
        c.layers,
        100.0 * c.heads,
        100.0 * c.neurons,
        c.seen,
        c.embedding_bits,
        tried.bytes as f64 / 1e6,
        1.0 / tried.operations
    )
}

fn run_calibration(arguments: &Calibrate) -> anyhow::Result<()> {
    let folder = &arguments.checkpoint;
    let examples = examples(&arguments.texts, folder)?;
    let kind = arguments.policy.map(|kind| match kind {
        PolicyKind::Confidence => calibrate::PolicyKind::Confidence,
        PolicyKind::Entropy => calibrate::PolicyKind::Entropy,
        PolicyKind::Margin => calibrate::PolicyKind::Margin,
        PolicyKind::Patience => calibrate::PolicyKind::Patience,
    });
    let bar = Progress::new();
    let progress = |done, of| bar.at(done, of, "texts");
    let choice =
        measure::calibrate_checkpoint(folder, &examples, kind, arguments.budget, progress)?;
    bar.finish();
    say!("{}", curve::text(&choice));
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    curve::save(&choice, &name, folder)?;
    let policy = serde_json::to_string(&choice.best().policy)?;
    say!("{}: {policy}", folder.join("exits.json").display());
    Ok(())
}

fn run_evaluation(arguments: &Evaluate) -> anyhow::Result<()> {
    let examples = examples(&arguments.texts, &arguments.model)?;
    let bar = Progress::new();
    let measured = |model: &Path| -> anyhow::Result<(Evaluation, Vec<u32>)> {
        let outcomes = measure::outcomes(model, &examples, |done, of| bar.at(done, of, "texts"))?;
        let policy = match arguments.confidence {
            Some(threshold) => ExitPolicy::confidence(threshold),
            None => measure::policy(model)?,
        };
        let name = model.display().to_string();
        let predicted = outcomes.walk(&policy)?.predicted;
        Ok((Evaluation::of(&name, &outcomes, &policy)?, predicted))
    };
    let (evaluation, predicted) = measured(&arguments.model)?;
    let other = match &arguments.against {
        None => None,
        Some(model) => {
            if measure::labels(model)? != measure::labels(&arguments.model)? {
                bail!(
                    "{}: its labels differ from the first model's; both need the same labels",
                    model.display()
                );
            }
            let (other, others) = measured(model)?;
            let first = (other.name.as_str(), others.as_slice());
            let second = (evaluation.name.as_str(), predicted.as_slice());
            let comparison = Comparison::of(&examples.truth, first, second)?;
            Some((other, comparison))
        }
    };
    bar.finish();
    match (&other, arguments.json) {
        (None, true) => say!("{}", serde_json::to_string(&evaluation)?),
        (Some((other, comparison)), true) => {
            let all = serde_json::json!({
                "model": evaluation, "against": other, "comparison": comparison,
            });
            say!("{all}");
        }
        (None, false) => say!("{evaluation}"),
        (Some((other, comparison)), false) => say!("{evaluation}\n{other}\n{comparison}"),
    }
    Ok(())
}

fn run_measuring(arguments: &Measure) -> anyhow::Result<()> {
    let suite = Suite::read(&arguments.suite)?;
    let columns = Columns { text: arguments.text.clone(), label: arguments.label.clone() };
    let bar = Progress::new();
    let progress = |what: &str, done, of| bar.at(done, of, what);
    let data = (arguments.data.as_path(), &columns);
    let records = suite::measure(&suite, data, &arguments.output, progress)?;
    bar.finish();
    say!("{} measurements in {}", records.len(), arguments.output.display());
    Ok(())
}

fn run_report(arguments: &ReportArguments) -> anyhow::Result<()> {
    let report = Report::read(&arguments.measurements)?;
    // Errors of the demo come before anything is written.
    let demo = arguments.demo.as_ref().map(|_| report.demo()).transpose()?;
    files::write(&arguments.output, report.html())?;
    if let Some(path) = &arguments.markdown {
        report.write_markdown(path)?;
    }
    if let (Some(path), Some(json)) = (&arguments.demo, demo) {
        files::write(path, json)?;
    }
    if let Some(path) = &arguments.readme {
        replace_marked(path, &report.table())?;
    }
    say!("{}", report.table());
    Ok(())
}

fn run_vocabulary(arguments: &Vocabulary) -> anyhow::Result<()> {
    let inputs = [arguments.checkpoint.as_path(), &arguments.data];
    let output = output(&arguments.output, &arguments.force, &inputs)?;
    let columns = Columns { text: arguments.text.clone(), label: None };
    let (texts, guess) = Dataset::read_unlabelled(&arguments.data, &columns)?;
    eprintln!("{}: {} rows, {guess}", arguments.data.display(), texts.examples.len());
    let Vocabulary { checkpoint, seen, .. } = arguments;
    let dropped = vocabulary::shrink(checkpoint, &texts.texts(), *seen, output)?;
    say!("{} of {} word pieces kept", dropped.kept, dropped.before);
    Ok(())
}

fn run_all(arguments: &All, stop: &AtomicBool) -> anyhow::Result<()> {
    let recipes = arguments.teacher.iter().chain([&arguments.student, &arguments.test]);
    let inputs: Vec<&Path> = recipes.map(PathBuf::as_path).collect();
    let output = output(&arguments.output, &arguments.force, &inputs)?;
    let bar = Progress::new();
    let steps = AllSteps {
        teacher: arguments.teacher.as_deref().map(Recipe::read).transpose()?,
        student: Recipe::read(&arguments.student)?,
        test: arguments.test.clone(),
        budget_points: arguments.budget,
        output: output.clone(),
        options: options(output, &arguments.place, true)?,
    };
    let rows = all_steps::run(steps, stop, &mut bar.events())?;
    bar.finish();
    say!("{}", table::table(&rows));
    Ok(())
}
