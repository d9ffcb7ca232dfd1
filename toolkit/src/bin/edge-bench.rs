//! The `edge-bench` command line.

use clap::{Parser, Subcommand};
use edge_export::say;
use edge_toolkit::{bench, train::StepBench};
use std::path::PathBuf;

/// Times this runtime on request of another program, which can so time the runtime and a peer in
/// turn. Every command but `load` answers each line of standard input with a line that begins with
/// nanoseconds.
#[derive(Parser)]
#[command(name = "edge-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Classify the sentence of the token ids in each line, on one thread; the logits follow the
    /// nanoseconds
    Serve {
        /// The bundle
        model: PathBuf,
        /// Leave early by the bundle's policy, instead of full depth
        #[arg(long)]
        exits: bool,
    },
    /// Classify all lines of a file, tokenization included, for every line of standard input; the
    /// labels, as indices, follow the nanoseconds
    Throughput {
        /// The bundle
        model: PathBuf,
        /// File of texts, one per line
        file: PathBuf,
        /// Leave early by the bundle's policy, instead of full depth
        #[arg(long)]
        exits: bool,
        /// The number of threads
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Open a bundle and classify a text at full depth, once; prints the nanoseconds until the
    /// model is open, and until the first answer
    Load {
        /// The bundle
        model: PathBuf,
        /// The text
        #[arg(default_value = "a film")]
        text: String,
    },
    /// Train for one step, with an exit after every layer, on a batch of sentences of the lengths
    /// in a line
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
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    match Arguments::parse().command {
        Command::Serve { model, exits } => {
            let classifier = bench::open(&model)?;
            let policy = bench::policy(&classifier, exits);
            bench::answer(input, output, |line| {
                bench::sentence(&classifier, &policy, bench::numbers(line)?)
            })?;
        }
        Command::Throughput { model, file, exits, threads } => {
            let classifier = bench::open(&model)?.with_threads(threads);
            let policy = bench::policy(&classifier, exits);
            let texts = std::fs::read_to_string(&file)
                .map_err(|cause| edge_toolkit::Error::Io { path: file, cause })?;
            let texts: Vec<&str> = texts.lines().collect();
            bench::answer(input, output, |_| {
                let (spent, labels) = bench::texts(&classifier, &policy, &texts)?;
                let labels: Vec<String> = labels.iter().map(usize::to_string).collect();
                Ok(format!("{} {}", spent.as_nanos(), labels.join(" ")))
            })?;
        }
        Command::Load { model, text } => {
            let load = bench::load(&model, &text)?;
            say!("{} {}", load.open.as_nanos(), load.first_answer.as_nanos());
        }
        Command::TrainStep { model, threads } => {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
            let mut step = StepBench::new(&model)?;
            bench::answer(input, output, |line| {
                let lengths: Vec<usize> = bench::numbers(line)?;
                if lengths.contains(&0) {
                    let problem =
                        format!("`{line}` contains a sentence of length 0; expected 1 or more");
                    return Err(edge_toolkit::Error::Measure(problem));
                }
                Ok(step.run(&lengths)?.as_nanos())
            })?;
        }
    }
    Ok(())
}
