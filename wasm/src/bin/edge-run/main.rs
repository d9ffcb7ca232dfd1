//! The `edge-run` command line.

mod answers;
mod arguments;
mod lines;
mod model;

use answers::Answers;
use anyhow::bail;
use arguments::{Arguments, EngineName};
use clap::Parser;
use edge_runtime::Classifier;
use edge_runtime::engine::Engine;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match answer(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader of the pipe has closed it, as `| head` does.
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-run: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns true if an error comes from writing to a closed pipe.
fn is_closed(error: &anyhow::Error) -> bool {
    let io = |e: &std::io::Error| e.kind() == ErrorKind::BrokenPipe;
    error.downcast_ref::<std::io::Error>().is_some_and(io)
}

/// Answers all texts. Returns true if every text has an answer.
fn answer(mut arguments: Arguments) -> anyhow::Result<bool> {
    let model = model::choose(&mut arguments.arguments)?;
    if model::has_extension(&model, "onnx") {
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
    use anyhow::Context;
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
    let good = print(&classifier, arguments)?;
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
        bail!(
            "this build has no GPU engine; build edge-run with `cargo build --release --package \
             edge-runtime --features wgpu`"
        );
    }
    run(Classifier::open(model)?, arguments)
}

#[cfg(feature = "onnx")]
fn open_onnx(model: &Path) -> anyhow::Result<Classifier<edge_runtime::engine::ForeignModel>> {
    Ok(Classifier::open_onnx(model)?)
}

#[cfg(not(feature = "onnx"))]
fn open_onnx(model: &Path) -> anyhow::Result<Classifier> {
    bail!(
        "{}: is an ONNX file, and this build reads model.edge only; build edge-run with `cargo build \
         --release --package edge-runtime --features onnx`, or export the checkpoint: edge-export CHECKPOINT",
        model.display()
    )
}

fn run<E: Engine>(classifier: Classifier<E>, arguments: &Arguments) -> anyhow::Result<bool> {
    print(&classifier.with_threads(arguments.threads.into()), arguments)
}

fn print<E: Engine>(classifier: &Classifier<E>, arguments: &Arguments) -> anyhow::Result<bool> {
    let mut answers = Answers::new(classifier, arguments)?;
    let (unit, bad) = match (&arguments.file, arguments.arguments.is_empty()) {
        (Some(_), false) => bail!("found texts and --file; expected one of them"),
        (Some(path), true) => ("line", answers.of_file(path, arguments.stats)?),
        (None, true) => ("line", answers.of_standard_input()?),
        (None, false) => {
            let texts: Vec<_> = (1..).zip(arguments.arguments.iter().cloned()).collect();
            ("text", answers.of_batch("text", &texts)?)
        }
    };
    if arguments.stats {
        answers.print_stats();
    }
    if bad > 0 {
        let plural = if bad > 1 { "s" } else { "" };
        eprintln!("edge-run: {bad} {unit}{plural} without an answer, see above");
    }
    Ok(bad == 0)
}
