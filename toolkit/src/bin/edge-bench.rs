//! The `edge-bench` command line.

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use edge_runtime::tokenizer::Encoded;
use edge_runtime::{Classifier, ExitPolicy};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

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
}

fn main() -> anyhow::Result<()> {
    let Command::Serve { model } = Arguments::parse().command;
    let classifier = Classifier::open(model)?;
    let architecture = &classifier.manifest().architecture;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
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
        println!("{}", start.elapsed().as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}
