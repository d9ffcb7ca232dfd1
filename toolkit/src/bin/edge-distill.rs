//! The `edge-distill` command line.

use anyhow::{Context, bail};
use candle_core::DType;
use clap::{Args, Parser, Subcommand, ValueEnum};
use edge_runtime::ExitPolicy;
use edge_toolkit::compress::fit::Fit;
use edge_toolkit::compress::search::{Goal, Tried};
use edge_toolkit::compress::{self, Shape, vocabulary};
use edge_toolkit::data::{Columns, Dataset};
use edge_toolkit::pipeline::{self, Pipeline};
use edge_toolkit::report::calibrate::Kind;
use edge_toolkit::report::compare::{Report, replace_marked};
use edge_toolkit::report::evaluation::{Comparison, Evaluation};
use edge_toolkit::report::measure::{self, Examples};
use edge_toolkit::report::suite::{self, Suite};
use edge_toolkit::report::{curve, table};
use edge_toolkit::train::recipe::Recipe;
use edge_toolkit::train::{Event, Options, average, train};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Turns a BERT and labelled texts into a small classifier with an exit after every layer.
///
/// The way: `finetune` makes a teacher, `distill` a student of it, `calibrate` chooses when a
/// sentence may leave early, `evaluate` measures, and `edge-export` makes the model.edge that runs
/// everywhere. `all` does all of it.
#[derive(Parser)]
#[command(name = "edge-distill", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a checkpoint on labelled texts, without a teacher
    Finetune(Train),
    /// Train a student to say what a teacher says
    Distill(Train),
    /// Choose when a sentence may leave early, for a budget of accuracy, and write it into the
    /// checkpoint
    ///
    /// The checkpoint is exported to int8 and run on texts that it was not trained on: the rows
    /// that its recipe held out, or --data. For every kind of policy the thresholds are found that
    /// compute the least while at most the budget is lost. The curve of accuracy against computed
    /// layers goes to curve.svg and curve.csv in the checkpoint.
    Calibrate(Calibrate),
    /// Measure a checkpoint or a model.edge on labelled texts
    Evaluate(Evaluate),
    /// Measure models together and save what was found, a file for each
    ///
    /// Accuracy at every exit, size, parameters, and speed: one sentence after the other on one thread,
    /// the models in turn.
    Measure(Measure),
    /// Make a page of saved measurements: how the models came about, a table and charts
    Report(ReportArguments),
    /// Write a checkpoint anew without the word pieces that no text of the data needs
    ///
    /// Those are the places that BERT keeps unused, and the pieces with characters that are neither
    /// ASCII nor in the texts. Texts of other characters become unknown pieces; for all others the model
    /// gives the same answers, with a smaller table of embeddings.
    Vocabulary(Vocabulary),
    /// Write a checkpoint anew without some of its parts
    ///
    /// What is left is a checkpoint like any other: calibrate, evaluate and export it.
    Prune(Prune),
    /// Make a checkpoint as small or as fast as asked: search, train, calibrate, export
    ///
    /// Layers, heads, neurons, word pieces and bits are taken away in all combinations; what meets the goal
    /// is compared on the rows that the recipe holds out, as it is. The best one is trained by the recipe, in
    /// the arithmetic of its int8 export. What was tried stands in tried.jsonl; a run that was stopped goes on.
    Compress(Compress),
    /// Write the mean of the weights of checkpoints that differ in their seeds only
    ///
    /// Runs that began with the same weights end close to each other; their mean is often better than any
    /// of them, and costs no more than one when it runs.
    Average(Average),
    /// Finetune a teacher, distil a student, calibrate, export, and compare them in a table
    All(All),
}

#[derive(Args)]
struct Train {
    /// The recipe: a TOML file with every setting (see toolkit/recipes)
    #[arg(short, long)]
    recipe: PathBuf,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    output: PathBuf,
    /// Go on where a run was stopped; without it a run begins again
    #[arg(long)]
    resume: bool,
    /// In place of the recipe's seed
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Place {
    /// Where to compute: auto, cpu, cuda or cuda:n
    #[arg(long, default_value = "auto")]
    device: String,
    /// Of the large matrix products; everything else, and the weights while they are trained, is
    /// f32
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    /// Of the weights in the checkpoint
    #[arg(long, value_enum, default_value = "f32")]
    save_dtype: Stored,
}

#[derive(Clone, Copy, ValueEnum)]
enum Precision {
    F32,
    Bf16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stored {
    F32,
    F16,
}

#[derive(Args)]
struct Texts {
    /// Labelled texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    data: Option<PathBuf>,
    /// The column of the text; guessed if absent
    #[arg(long, requires = "data")]
    text: Option<String>,
    /// The column of the label; guessed if absent
    #[arg(long, requires = "data")]
    label: Option<String>,
}

#[derive(Args)]
struct Calibrate {
    /// The folder of the checkpoint
    checkpoint: PathBuf,
    /// The percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    budget: f64,
    /// The kind of policy; by default the one that computes the least
    #[arg(long, value_enum)]
    policy: Option<PolicyKind>,
    #[command(flatten)]
    texts: Texts,
}

#[derive(Clone, Copy, ValueEnum)]
enum PolicyKind {
    Confidence,
    Entropy,
    Margin,
    Patience,
}

#[derive(Args)]
struct Evaluate {
    /// The folder of a checkpoint, or a model.edge
    model: PathBuf,
    /// Another one, to compare with (McNemar's test)
    #[arg(long)]
    against: Option<PathBuf>,
    /// One threshold of confidence for all exits, in place of the model's own policy
    #[arg(long)]
    confidence: Option<f32>,
    /// Machines read it: one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    texts: Texts,
}

#[derive(Args)]
struct Measure {
    /// What is compared: a TOML file of models (see toolkit/recipes/sst2-minilm/report.toml)
    suite: PathBuf,
    /// Labelled texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    data: PathBuf,
    /// The column of the text; guessed if absent
    #[arg(long)]
    text: Option<String>,
    /// The column of the label; guessed if absent
    #[arg(long)]
    label: Option<String>,
    /// The folder of the measurements; those of other models stay
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Args)]
struct ReportArguments {
    /// The folder of the measurements
    measurements: PathBuf,
    /// The page: one HTML file that needs nothing else
    #[arg(short, long, default_value = "report.html")]
    output: PathBuf,
    /// The same in Markdown, with its pictures beside it
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// The figures of the demo's page (web-demo/data/compare.json), of the measurements `teacher`,
    /// `student` and `int8`
    #[arg(long)]
    demo: Option<PathBuf>,
    /// Replace what stands between <!-- report:begin --> and <!-- report:end --> in this file by the
    /// table
    #[arg(long)]
    readme: Option<PathBuf>,
}

#[derive(Args)]
struct Vocabulary {
    /// The folder of the checkpoint
    checkpoint: PathBuf,
    /// Texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    data: PathBuf,
    /// The column of the text; guessed if absent
    #[arg(long)]
    text: Option<String>,
    /// Drop pieces that occur less often than this in the texts, too; other words fall into smaller
    /// pieces
    #[arg(long)]
    seen: Option<usize>,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Args)]
struct Prune {
    /// The folder of the checkpoint
    checkpoint: PathBuf,
    /// Keep so many layers, the first ones; there must be an exit after the last of them
    #[arg(long)]
    layers: Option<usize>,
    /// Keep this share of the attention heads, 0 to 1: those whose loss would cost the most
    #[arg(long, default_value_t = 1.0)]
    heads: f64,
    /// Keep this share of the neurons of the feed-forward networks, 0 to 1
    #[arg(long, default_value_t = 1.0)]
    neurons: f64,
    /// The texts on which heads and neurons are weighed, at most; the first ones of --data
    #[arg(long, default_value_t = 2000)]
    weigh: usize,
    #[command(flatten)]
    texts: Texts,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Args)]
struct Compress {
    /// The folder of the checkpoint
    checkpoint: PathBuf,
    /// How the result is trained: a recipe, as `distill` and `finetune` take it; what it says of the model
    /// is not used
    #[arg(short, long)]
    recipe: PathBuf,
    /// The most that model.edge may have, as in 10MB
    #[arg(long, value_parser = bytes, required_unless_present = "target_speedup")]
    target_size: Option<u64>,
    /// How many times fewer multiplications a token may take than it does now, at full depth
    #[arg(long)]
    target_speedup: Option<f64>,
    /// The texts on which heads and neurons are weighed, at most
    #[arg(long, default_value_t = 2000)]
    weigh: usize,
    /// The percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    budget: f64,
    /// Where everything goes: tried.jsonl, start, student, model.edge
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// A number of bytes, by thousands: 10MB, 800kB, 12000000.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        other => return Err(format!("`{other}` is no unit; B, kB, MB and GB are")),
    };
    match digits.trim().parse::<f64>() {
        Ok(number) if number > 0.0 => Ok((number * unit) as u64),
        _ => Err("a size is a number and a unit, as in 10MB".into()),
    }
}

#[derive(Args)]
struct Average {
    /// The folders of the checkpoints; all but the weights is taken from the first
    #[arg(num_args = 2.., required = true)]
    checkpoints: Vec<PathBuf>,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Args)]
struct All {
    /// The recipe of the teacher; without it the student's recipe names one
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// The recipe of the student
    #[arg(long)]
    student: PathBuf,
    /// Labelled texts for the table, which nothing else sees
    #[arg(long)]
    test: PathBuf,
    /// The percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    budget: f64,
    /// Where everything goes: teacher, student, model.edge
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    match run(&Arguments::parse(), &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-distill: {error:#}");
            ExitCode::from(if stop.load(Ordering::Relaxed) { 130 } else { 2 })
        }
    }
}

fn run(arguments: &Arguments, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let seen = stop.clone();
    ctrlc::set_handler(move || {
        // The second time nothing is waited for.
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("Ctrl-C cannot be caught")?;
    match &arguments.command {
        Command::Finetune(a) => run_training(a, false, stop),
        Command::Distill(a) => run_training(a, true, stop),
        Command::Calibrate(a) => run_calibration(a),
        Command::Evaluate(a) => run_evaluation(a),
        Command::Measure(a) => run_measuring(a),
        Command::Report(a) => run_report(a),
        Command::Vocabulary(a) => run_vocabulary(a),
        Command::Prune(a) => run_pruning(a, stop),
        Command::Compress(a) => run_compression(a, stop),
        Command::Average(a) => Ok(average(&a.checkpoints, &a.output)?),
        Command::All(a) => run_all(a, stop),
    }
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
    let options = options(&arguments.output, &arguments.place, arguments.resume)?;
    let bar = bar();
    let trained = train(&recipe, &options, stop, &mut show(&bar))?;
    bar.finish_and_clear();
    eprintln!("{} steps; the checkpoint is in {}", trained.steps, arguments.output.display());
    Ok(())
}

fn options(output: &Path, place: &Place, resume: bool) -> anyhow::Result<Options> {
    let (device, chosen) = edge_toolkit::device(&place.device)?;
    eprintln!("computing on {chosen}");
    Ok(Options {
        output: output.into(),
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

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} {elapsed}, left {eta}");
    bar.set_style(style.expect("a template that is right"));
    bar
}

/// Says a line above the progress bar, or without one where the output is no terminal.
fn say(bar: &ProgressBar, line: &str) {
    bar.suspend(|| eprintln!("{line}"));
}

/// Shows what happens in a run.
fn show(bar: &ProgressBar) -> impl FnMut(Event) + '_ {
    // Of loss and accuracy, smoothed.
    let (mut loss, mut accuracy) = (None::<f64>, None::<f64>);
    let smooth = |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + 0.02 * (new - old)));
    move |event| match event {
        Event::Note(note) => say(bar, &note),
        Event::Teacher(done, of) => {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.set_message("texts, the teacher answers");
        }
        Event::Step(step, of) => {
            loss = smooth(loss, step.loss);
            accuracy = step.accuracy.map_or(accuracy, |a| smooth(accuracy, a));
            let text = format!(
                "steps, loss {:.3}, accuracy {:.1} %, {:.0} tokens/s",
                loss.unwrap_or(0.0),
                100.0 * accuracy.unwrap_or(0.0),
                step.tokens_per_second
            );
            bar.set_length(of as u64);
            bar.set_position(step.step as u64);
            if bar.is_hidden() && step.step % 100 == 0 {
                eprintln!("{}/{of} {text}", step.step);
            }
            bar.set_message(text);
        }
        Event::HeldOut(exits) => {
            let each: Vec<_> = exits.iter().map(|a| format!("{:.2}", 100.0 * a)).collect();
            say(bar, &format!("held out, accuracy of every exit: {} %", each.join(" ")));
        }
    }
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
    let Prune { checkpoint, layers, heads, neurons, output, .. } = arguments;
    let shape = Shape { layers: *layers, heads: *heads, neurons: *neurons };
    if shape.heads == 1.0 && shape.neurons == 1.0 {
        let layers = layers.context("say what to keep: --layers, --heads, --neurons")?;
        return Ok(compress::layers::keep_first(checkpoint, layers, output)?);
    }
    let examples = examples(&arguments.texts, checkpoint)?.first(arguments.weigh);
    let bar = bar();
    let progress = |done, of| progress(&bar, done, of);
    let kept = compress::prune(checkpoint, &shape, &examples, output, stop, progress)?;
    bar.finish_and_clear();
    for (layer, (heads, neurons)) in kept.heads.iter().zip(&kept.neurons).enumerate() {
        println!("layer {}: {} heads, {} neurons", layer + 1, heads.len(), neurons.len());
    }
    Ok(())
}

fn run_compression(arguments: &Compress, stop: &AtomicBool) -> anyhow::Result<()> {
    let goal = Goal { bytes: arguments.target_size, speedup: arguments.target_speedup };
    let output = &arguments.output;
    let fit = Fit {
        checkpoint: arguments.checkpoint.clone(),
        recipe: Recipe::read(&arguments.recipe)?,
        goal,
        weighed: arguments.weigh,
        budget_points: arguments.budget,
        output: output.clone(),
        options: options(output, &arguments.place, true)?,
    };
    let bar = bar();
    let fitted = compress::fit::fit(fit, stop, &mut show(&bar), |tried, done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message("candidates");
        if let Some(accuracy) = tried.accuracy {
            say(&bar, &format!("{}, {:.2} %", candidate(tried), 100.0 * accuracy));
        }
    })?;
    bar.finish_and_clear();
    let of_last = fitted.held_out.last().map_or(0.0, |a| 100.0 * a);
    println!("{}", candidate(&fitted.chosen));
    println!(
        "{}: {:.1} MB, {of_last:.2} % at full depth on the held-out rows",
        output.join("model.edge").display(),
        fitted.bytes as f64 / 1e6
    );
    Ok(())
}

/// A candidate in words.
fn candidate(tried: &Tried) -> String {
    let c = tried.candidate;
    format!(
        "{} layers, {:.0} % of heads and {:.0} % of neurons, pieces seen {} times, embeddings of {} bits: \
         {:.1} MB, 1/{:.1} of the multiplications",
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
        PolicyKind::Confidence => Kind::Confidence,
        PolicyKind::Entropy => Kind::Entropy,
        PolicyKind::Margin => Kind::Margin,
        PolicyKind::Patience => Kind::Patience,
    });
    let bar = bar();
    let progress = |done, of| progress(&bar, done, of);
    let choice =
        measure::calibrate_checkpoint(folder, &examples, kind, arguments.budget, progress)?;
    bar.finish_and_clear();
    println!("{}", curve::text(&choice));
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    curve::save(&choice, &name, folder)?;
    let policy = serde_json::to_string(&choice.best().policy)?;
    println!("{}: {policy}", folder.join("exits.json").display());
    Ok(())
}

fn progress(bar: &ProgressBar, done: usize, of: usize) {
    bar.set_length(of as u64);
    bar.set_position(done as u64);
    bar.set_message("texts");
}

fn run_evaluation(arguments: &Evaluate) -> anyhow::Result<()> {
    let examples = examples(&arguments.texts, &arguments.model)?;
    let bar = bar();
    let measured = |model: &Path| -> anyhow::Result<(Evaluation, Vec<u32>)> {
        let outcomes = measure::outcomes(model, &examples, |done, of| progress(&bar, done, of))?;
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
                bail!("{}: its labels are others than the first model's", model.display());
            }
            let (other, others) = measured(model)?;
            let first = (other.name.as_str(), others.as_slice());
            let second = (evaluation.name.as_str(), predicted.as_slice());
            let comparison = Comparison::of(&examples.truth, first, second)?;
            Some((other, comparison))
        }
    };
    bar.finish_and_clear();
    match (&other, arguments.json) {
        (None, true) => println!("{}", serde_json::to_string(&evaluation)?),
        (Some((other, comparison)), true) => {
            let all = serde_json::json!({
                "model": evaluation, "against": other, "comparison": comparison,
            });
            println!("{all}");
        }
        (None, false) => println!("{evaluation}"),
        (Some((other, comparison)), false) => println!("{evaluation}\n{other}\n{comparison}"),
    }
    Ok(())
}

fn run_measuring(arguments: &Measure) -> anyhow::Result<()> {
    let suite = Suite::read(&arguments.suite)?;
    let columns = Columns { text: arguments.text.clone(), label: arguments.label.clone() };
    let bar = bar();
    let progress = |what: &str, done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(what.to_string());
    };
    let data = (arguments.data.as_path(), &columns);
    let records = suite::measure(&suite, data, &arguments.output, progress)?;
    bar.finish_and_clear();
    println!("{} measurements in {}", records.len(), arguments.output.display());
    Ok(())
}

fn run_report(arguments: &ReportArguments) -> anyhow::Result<()> {
    let report = Report::read(&arguments.measurements)?;
    // What cannot be made is said before anything is written.
    let demo = arguments.demo.as_ref().map(|_| report.demo()).transpose()?;
    edge_toolkit::report::write(&arguments.output, &report.html())?;
    if let Some(path) = &arguments.markdown {
        report.write_markdown(path)?;
    }
    if let (Some(path), Some(json)) = (&arguments.demo, demo) {
        edge_toolkit::report::write(path, &json)?;
    }
    if let Some(path) = &arguments.readme {
        replace_marked(path, &report.table())?;
    }
    println!("{}", report.table());
    Ok(())
}

fn run_vocabulary(arguments: &Vocabulary) -> anyhow::Result<()> {
    let columns = Columns { text: arguments.text.clone(), label: None };
    let (texts, guess) = Dataset::read_unlabelled(&arguments.data, &columns)?;
    eprintln!("{}: {} rows, {guess}", arguments.data.display(), texts.examples.len());
    let Vocabulary { checkpoint, seen, output, .. } = arguments;
    let dropped = vocabulary::shrink(checkpoint, &texts.texts(), *seen, output)?;
    println!("{} of {} word pieces kept", dropped.kept, dropped.before);
    Ok(())
}

fn run_all(arguments: &All, stop: &AtomicBool) -> anyhow::Result<()> {
    let bar = bar();
    let pipeline = Pipeline {
        teacher: arguments.teacher.as_deref().map(Recipe::read).transpose()?,
        student: Recipe::read(&arguments.student)?,
        test: arguments.test.clone(),
        budget_points: arguments.budget,
        output: arguments.output.clone(),
        options: options(&arguments.output, &arguments.place, true)?,
    };
    let rows = pipeline::run(pipeline, stop, &mut show(&bar))?;
    bar.finish_and_clear();
    println!("{}", table::table(&rows));
    Ok(())
}
