//! The `edge-bench` command line.

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use edge_runtime::tokenizer::Encoded;
use edge_runtime::{Classifier, ExitPolicy};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Measures a model.
#[derive(Parser)]
#[command(name = "edge-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Classifies one sentence, at full depth, for every line of standard input that holds a number
    /// of tokens, and answers with the nanoseconds it took: so that another program can measure us
    /// and a peer in turn
    Serve {
        /// The bundle
        model: PathBuf,
    },
    /// Trains for one step, with an exit after every layer, for every line of standard input that
    /// holds the lengths of a batch's sentences, and answers with the nanoseconds it took
    TrainStep {
        /// The checkpoint
        #[arg(long, default_value = "models/sst2-minilm")]
        model: PathBuf,
        /// The number of threads
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Serve { model } => serve(&model),
        Command::TrainStep { model, threads } => train_step(&model, threads),
    }
}

fn serve(model: &Path) -> anyhow::Result<()> {
    let classifier = Classifier::open(model)?;
    let architecture = &classifier.manifest().architecture;
    answer(|line| {
        let tokens: usize =
            line.trim().parse().with_context(|| format!("`{line}` is not a number of tokens"))?;
        ensure!(
            (1..=architecture.max_tokens).contains(&tokens),
            "{tokens} tokens; the model takes 1 to {}",
            architecture.max_tokens
        );
        // Any ids do: the time does not depend on them.
        let ids = (0..tokens).map(|i| (i * 7919 % architecture.vocabulary) as u32).collect();
        let sentence = vec![Encoded { ids, truncated: false }];
        let start = Instant::now();
        classifier.classify_tokens(sentence, &ExitPolicy::Never)?;
        Ok(start.elapsed())
    })
}

fn train_step(model: &Path, threads: usize) -> anyhow::Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let mut step = edge_toolkit::train::StepBench::new(model)?;
    answer(|line| {
        let lengths: Vec<usize> = line
            .split_whitespace()
            .map(|n| n.parse().with_context(|| format!("`{n}` is not a number of tokens")))
            .collect::<anyhow::Result<_>>()?;
        ensure!(
            !lengths.is_empty() && !lengths.contains(&0),
            "`{line}`: a sentence without tokens"
        );
        Ok(step.run(&lengths)?)
    })
}

/// Answers every line of standard input with the nanoseconds that `measure` says.
fn answer(mut measure: impl FnMut(&str) -> anyhow::Result<Duration>) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        println!("{}", measure(&line?)?.as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}
