//! The `edge-run` command line.

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use edge_runtime::engine::Engine;
use edge_runtime::{Classifier, ExitPolicy, Prediction};
use serde_json::json;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest line that is read, in bytes.
const LINE_LIMIT: usize = 1 << 20;
/// Lines that are classified together, for each thread.
const LINES_PER_THREAD: usize = 64;
/// Where the shipped model lies in the project.
const SHIPPED: &str = "models/sst2-minilm/model.edge";

/// Classifies texts with a model.edge, or with an ONNX file from elsewhere.
///
/// Without TEXT, each line of standard input (or of --file) is a text. A line that cannot be read
/// is reported with its number, and the rest goes on; the exit status is then 1. Other errors give 2.
#[derive(Parser)]
#[command(name = "edge-run", version, override_usage = "edge-run [OPTIONS] [MODEL] [TEXT]...")]
struct Arguments {
    /// MODEL is a first argument that ends in .edge or .onnx (an .onnx needs tokenizer.json and
    /// config.json beside it); without it $EDGE_MODEL or the shipped model is used. The rest are
    /// texts; put -- before texts that begin with a dash
    #[arg(value_name = "[MODEL] TEXT")]
    arguments: Vec<String>,
    /// Read texts from a file, one a line
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print a JSON object for each text
    #[arg(long)]
    json: bool,
    /// When a text may leave early [default: the model's own policy]
    #[arg(short, long, value_enum)]
    policy: Option<Policy>,
    /// The policy's threshold [default: confidence 0.9, entropy 0.3, margin 0.8, patience 2]
    #[arg(short, long, requires = "policy")]
    threshold: Option<f32>,
    /// Share the texts among so many threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// What computes; auto measures both and takes the faster one for each size of batch
    #[arg(long, value_enum, default_value_t = EngineName::Cpu)]
    engine: EngineName,
    /// Print on standard error where texts left, the share of layers computed, and the speed
    #[arg(long)]
    stats: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum EngineName {
    /// The GPU where it is faster, else the CPU
    Auto,
    /// The CPU
    Cpu,
    /// The GPU, or an error where there is none
    Gpu,
    /// The GPU with values in f16, or an error where it has no such
    #[value(name = "gpu-f16")]
    GpuF16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    /// Full depth for every text
    Never,
    /// Leave when the largest probability is at least the threshold
    Confidence,
    /// Leave when the normalized entropy is at most the threshold
    Entropy,
    /// Leave when the two largest probabilities are at least the threshold apart
    Margin,
    /// Leave when so many exits in a row agree
    Patience,
}

fn main() -> ExitCode {
    match answer(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("edge-run: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Gives whether all texts could be read.
fn answer(mut arguments: Arguments) -> anyhow::Result<bool> {
    let named =
        arguments.arguments.first().filter(|a| a.ends_with(".edge") || a.ends_with(".onnx"));
    let model = match named {
        Some(_) => PathBuf::from(arguments.arguments.remove(0)),
        None => shipped_model()?,
    };
    if model.extension().is_some_and(|e| e == "onnx") {
        if arguments.engine.is_gpu() {
            bail!("ONNX files from elsewhere run on the CPU only");
        }
        run(open_onnx(&model)?, &arguments)
    } else if arguments.engine == EngineName::Cpu {
        run(Classifier::open(&model)?, &arguments)
    } else {
        run_chosen(&model, &arguments)
    }
}

#[cfg(feature = "wgpu")]
fn run_chosen(model: &Path, arguments: &Arguments) -> anyhow::Result<bool> {
    use edge_runtime::engine::{ChosenEngine, EngineChoice};
    let choice = match arguments.engine {
        EngineName::Auto => EngineChoice::Auto,
        EngineName::Cpu => EngineChoice::Cpu,
        EngineName::Gpu => EngineChoice::Gpu,
        EngineName::GpuF16 => EngineChoice::GpuF16,
    };
    let bytes = std::fs::read(model).with_context(|| format!("cannot read {}", model.display()))?;
    let classifier = Classifier::with_engine(bytes, ChosenEngine::open(choice)?)?
        .with_threads(arguments.threads.into());
    let good = run_with(&classifier, arguments)?;
    if arguments.stats {
        let report = classifier.engine().report();
        let reason = report.reason.map(|r| format!("; {r}")).unwrap_or_default();
        eprintln!("engine: {} ({}){reason}", report.name, report.arithmetic);
    }
    Ok(good)
}

#[cfg(not(feature = "wgpu"))]
fn run_chosen(model: &Path, arguments: &Arguments) -> anyhow::Result<bool> {
    if arguments.engine.is_gpu() {
        bail!("this build has no GPU engine; build it with the feature `wgpu`");
    }
    run(Classifier::open(model)?, arguments)
}

#[cfg(feature = "onnx")]
fn open_onnx(model: &Path) -> anyhow::Result<Classifier<edge_runtime::engine::ForeignModel>> {
    Ok(Classifier::open_onnx(model)?)
}

#[cfg(not(feature = "onnx"))]
fn open_onnx(_: &Path) -> anyhow::Result<Classifier> {
    bail!("this build has no ONNX importer; build it with the feature `onnx`")
}

/// `$EDGE_MODEL`, or the shipped model: in this folder, or in the project that the program was
/// built in.
fn shipped_model() -> anyhow::Result<PathBuf> {
    if let Some(model) = std::env::var_os("EDGE_MODEL") {
        return Ok(model.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let found = std::iter::once(Path::new("."))
        .chain(program.ancestors())
        .map(|folder| folder.join(SHIPPED))
        .find(|path| path.exists());
    found.with_context(|| {
        format!(
            "no model: name one (edge-run MODEL …), set EDGE_MODEL, or make {SHIPPED} by ./demo"
        )
    })
}

impl EngineName {
    /// Whether it is the GPU and nothing else.
    fn is_gpu(self) -> bool {
        matches!(self, EngineName::Gpu | EngineName::GpuF16)
    }
}

impl Arguments {
    fn policy(&self, own: ExitPolicy) -> anyhow::Result<ExitPolicy> {
        let threshold = |usual: f32| self.threshold.unwrap_or(usual);
        Ok(match self.policy {
            None => own,
            Some(Policy::Never) if self.threshold.is_some() => bail!("never takes no threshold"),
            Some(Policy::Never) => ExitPolicy::Never,
            Some(Policy::Confidence) => ExitPolicy::confidence(threshold(0.9)),
            Some(Policy::Entropy) => ExitPolicy::entropy(threshold(0.3)),
            Some(Policy::Margin) => ExitPolicy::margin(threshold(0.8)),
            Some(Policy::Patience) => {
                let exits = threshold(2.0);
                if exits.fract() != 0.0 || !(1.0..=1e6).contains(&exits) {
                    bail!("patience takes a whole number of exits, 1 or more, not {exits}");
                }
                ExitPolicy::patience(exits as usize)
            }
        })
    }
}

/// As [`answer`], with the model that was named.
fn run<E: Engine>(classifier: Classifier<E>, arguments: &Arguments) -> anyhow::Result<bool> {
    run_with(&classifier.with_threads(arguments.threads.into()), arguments)
}

fn run_with<E: Engine>(classifier: &Classifier<E>, arguments: &Arguments) -> anyhow::Result<bool> {
    let mut run = Run {
        classifier,
        lines: LINES_PER_THREAD * usize::from(arguments.threads),
        policy: arguments.policy(classifier.policy())?,
        json: arguments.json,
        out: std::io::stdout().lock(),
        exits: vec![0; classifier.manifest().stages.len()],
        spent: Duration::ZERO,
    };
    let mut bad = 0;
    match (&arguments.file, arguments.arguments.is_empty()) {
        (Some(_), false) => bail!("texts or --file, not both"),
        (Some(path), true) => {
            let file = std::fs::File::open(path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            let bytes = file.metadata().map(|m| m.len()).unwrap_or(0);
            let bar = progress_bar(bytes, arguments.stats);
            bad = run.lines(BufReader::new(file), &bar)?;
            bar.finish_and_clear();
        }
        (None, true) => {
            bad = run.lines(std::io::stdin().lock(), &indicatif::ProgressBar::hidden())?
        }
        (None, false) => {
            let texts: Vec<&str> = arguments.arguments.iter().map(String::as_str).collect();
            run.texts(&texts)?;
        }
    }
    run.out.flush()?;
    if arguments.stats {
        run.print_stats();
    }
    if bad > 0 {
        eprintln!("edge-run: {bad} lines could not be read, see above");
    }
    Ok(bad == 0)
}

/// Shown on a terminal only, and only where the answers do not go to the same terminal.
fn progress_bar(bytes: u64, wanted: bool) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() || (std::io::stdout().is_terminal() && !wanted) {
        return indicatif::ProgressBar::hidden();
    }
    let style = "{wide_bar} {bytes}/{total_bytes} {eta} left";
    indicatif::ProgressBar::new(bytes)
        .with_style(indicatif::ProgressStyle::with_template(style).expect("a valid template"))
}

struct Run<'a, E: Engine> {
    classifier: &'a Classifier<E>,
    /// Lines that are classified together.
    lines: usize,
    policy: ExitPolicy,
    json: bool,
    out: std::io::StdoutLock<'static>,
    /// Texts that left after each stage.
    exits: Vec<usize>,
    /// Time spent on classifying.
    spent: Duration,
}

/// What came of reading a line.
enum Line {
    Text(String),
    Bad(String),
    End,
}

impl<E: Engine> Run<'_, E> {
    /// Classifies every line, a batch at a time. Gives the number of lines that could not be read.
    fn lines(
        &mut self,
        mut input: impl BufRead,
        bar: &indicatif::ProgressBar,
    ) -> anyhow::Result<usize> {
        let (mut number, mut bad) = (0usize, 0);
        // A person who types wants an answer to each line.
        let per_batch = if std::io::stdin().is_terminal() { 1 } else { self.lines };
        let mut batch: Vec<String> = Vec::new();
        loop {
            let (line, bytes) = read_line(&mut input).context("cannot read the texts")?;
            number += 1;
            let end = matches!(line, Line::End);
            let problem = match line {
                Line::Text(text) => {
                    batch.push(text);
                    None
                }
                Line::Bad(problem) => Some(problem),
                Line::End => None,
            };
            if end || problem.is_some() || batch.len() == per_batch {
                let texts: Vec<&str> = batch.iter().map(String::as_str).collect();
                self.texts(&texts)?;
                batch.clear();
            }
            if let Some(problem) = problem {
                bad += 1;
                eprintln!("edge-run: line {number}: {problem}");
                if self.json {
                    writeln!(self.out, "{}", json!({"line": number, "error": problem}))?;
                }
            }
            bar.inc(bytes as u64);
            if end {
                return Ok(bad);
            }
        }
    }

    fn texts(&mut self, texts: &[&str]) -> anyhow::Result<()> {
        if texts.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let predictions = self.classifier.classify(texts, &self.policy)?;
        self.spent += start.elapsed();
        for (text, prediction) in texts.iter().zip(&predictions) {
            self.exits[prediction.stage] += 1;
            self.print(text, prediction)?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn print(&mut self, text: &str, p: &Prediction) -> std::io::Result<()> {
        if self.json {
            let probabilities: serde_json::Map<_, _> = self
                .classifier
                .labels()
                .iter()
                .cloned()
                .zip(p.probabilities.iter().map(|p| json!(p)))
                .collect();
            let line = json!({
                "text": text,
                "label": p.label,
                "probabilities": probabilities,
                "stage": p.stage,
                "tokens": p.tokens,
                "truncated": p.truncated,
                "exits": p.exits,
            });
            return writeln!(self.out, "{line}");
        }
        let probability = p.probabilities.iter().copied().fold(0.0, f32::max);
        let truncated = if p.truncated { ", truncated" } else { "" };
        writeln!(
            self.out,
            "{} {:.3}  (stage {} of {}{truncated})  {text}",
            p.label,
            probability,
            p.stage,
            self.exits.len() - 1,
        )
    }

    fn print_stats(&self) {
        let texts: usize = self.exits.iter().sum();
        if texts == 0 {
            return eprintln!("no texts");
        }
        let share = |n: usize| 100.0 * n as f64 / texts as f64;
        for (stage, left) in self.exits.iter().enumerate() {
            if self.classifier.manifest().stages[stage].exit {
                let bar = "█".repeat((share(*left) / 2.5).round() as usize);
                eprintln!("stage {stage:>2}  {left:>8}  {:>5.1} %  {bar}", share(*left));
            }
        }
        let layers: usize = (0..self.exits.len())
            .map(|stage| self.exits[stage] * self.classifier.layers_through(stage))
            .sum();
        let full = texts * self.classifier.layers_through(self.exits.len() - 1);
        eprintln!(
            "{texts} texts, {:.1} % of the layers computed, {:.0} sentences per second",
            100.0 * layers as f64 / full.max(1) as f64,
            texts as f64 / self.spent.as_secs_f64().max(1e-9),
        );
    }
}

/// Reads to the next line feed and gives the line without it, and the bytes read. Of a line that
/// is too long no more than the limit is held in memory.
fn read_line(input: &mut impl BufRead) -> std::io::Result<(Line, usize)> {
    let mut line = Vec::new();
    let mut read = input.by_ref().take(LINE_LIMIT as u64 + 1).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok((Line::End, 0));
    }
    if line.len() > LINE_LIMIT && line.last() != Some(&b'\n') {
        read += input.skip_until(b'\n')?;
        return Ok((Line::Bad(format!("{read} bytes, a line has at most {LINE_LIMIT}")), read));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(match String::from_utf8(line) {
        Ok(text) => (Line::Text(text), read),
        Err(e) => {
            (Line::Bad(format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to() + 1)), read)
        }
    })
}
