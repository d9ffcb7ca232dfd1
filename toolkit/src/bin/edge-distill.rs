//! The `edge-distill` command line.

use anyhow::Context;
use candle_core::DType;
use clap::{Args, Parser, Subcommand, ValueEnum};
use edge_toolkit::train::recipe::Recipe;
use edge_toolkit::train::{Event, Options, train};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Turns a BERT and a data set into a small classifier with an exit after every layer.
#[derive(Parser)]
#[command(name = "edge-distill", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains a checkpoint on labelled data, without a teacher
    Finetune(Train),
    /// Trains a student to say what a teacher says
    Distill(Train),
}

#[derive(Args)]
struct Train {
    /// The recipe: a TOML file with every setting
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
    /// Where to compute
    #[arg(long, default_value = "auto")]
    device: String,
    /// Of the large matrix products; everything else, and the weights, stay f32
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    /// Of the stored weights
    #[arg(long, value_enum, default_value = "f32")]
    stored: Stored,
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
        Command::Finetune(train) | Command::Distill(train) => run_training(train, stop),
    }
}

fn run_training(arguments: &Train, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut recipe = Recipe::read(&arguments.recipe)?;
    if let Some(seed) = arguments.seed {
        recipe.train.seed = seed;
    }
    let (device, chosen) = edge_toolkit::device(&arguments.device)?;
    eprintln!("computing on {chosen}");
    let options = Options {
        output: arguments.output.clone(),
        device,
        precision: match arguments.dtype {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        },
        stored: match arguments.stored {
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
        },
        resume: arguments.resume,
    };
    let bar = ProgressBar::no_length();
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed} left {eta}")
            .expect("a template that is right"),
    );
    let mut smoothed = (0.0, 0.0);
    let trained = train(&recipe, &options, stop, &mut |event| match event {
        Event::Note(note) => bar.suspend(|| eprintln!("{note}")),
        Event::Teacher(done, of) => {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.set_message("the teacher answers");
        }
        Event::Step(record) => {
            let weight = if smoothed.0 == 0.0 { 1.0 } else { 0.02 };
            smoothed.0 += weight * (record.loss - smoothed.0);
            smoothed.1 += weight * (record.accuracy.unwrap_or(smoothed.1) - smoothed.1);
            bar.set_position(record.step as u64);
            let tokens = record.tokens_per_second;
            bar.set_message(format!(
                "loss {:.3} accuracy {:.1} % {tokens:.0} tokens/s",
                smoothed.0,
                100.0 * smoothed.1
            ));
            if record.step % 100 == 0 {
                eprintln!("{record:?}");
            }
        }
        Event::HeldOut(accuracy) => {
            let each: Vec<_> = accuracy.iter().map(|a| format!("{:.2}", 100.0 * a)).collect();
            bar.suspend(|| eprintln!("held out, every exit: {} %", each.join(" ")));
        }
    })?;
    bar.finish_and_clear();
    eprintln!("{} steps; the checkpoint is in {}", trained.steps, arguments.output.display());
    Ok(())
}
