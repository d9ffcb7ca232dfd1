//! The `edge-export` command line.

use anyhow::Context;
use clap::{Parser, ValueEnum};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::export::{EmbeddingBits, Precision, WeightBits, export};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Turns a checkpoint into model.edge, which edge-run and the browser run.
///
/// A checkpoint is a folder in Hugging Face layout: config.json (bert or distilbert),
/// model.safetensors, and tokenizer.json or vocab.txt. Exit heads are exported where it has them
/// (exits.json); where it has none, its own classification head is the one exit.
#[derive(Parser)]
#[command(name = "edge-export", version)]
struct Arguments {
    /// The folder of the checkpoint
    checkpoint: PathBuf,
    /// Where to write the bundle
    #[arg(short, long, default_value = "model.edge")]
    output: PathBuf,
    /// Weights as signed bytes (this is what you get without --fp32)
    #[arg(long, conflicts_with = "fp32")]
    int8: bool,
    /// Weights as 32-bit floats
    #[arg(long, conflicts_with_all = ["weight_bits", "embedding_bits"])]
    fp32: bool,
    /// Bits of the int8 weights: 7 is exact and fast on every processor, 8 is finer; by default what
    /// the checkpoint was trained for, or 7
    #[arg(long, value_enum)]
    weight_bits: Option<Bits>,
    /// Bits of the int8 model's word embeddings: 4 halves them, at some accuracy; by default what the
    /// checkpoint was trained for, or 8
    #[arg(long, value_enum)]
    embedding_bits: Option<WordBits>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bits {
    #[value(name = "7")]
    Seven,
    #[value(name = "8")]
    Eight,
}

#[derive(Clone, Copy, ValueEnum)]
enum WordBits {
    #[value(name = "4")]
    Four,
    #[value(name = "8")]
    Eight,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-export: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::open(&arguments.checkpoint)
        .with_context(|| format!("cannot export {}", arguments.checkpoint.display()))?;
    let precision = match (arguments.fp32, checkpoint.config.int8()) {
        (false, Precision::Int8(weights, embeddings)) => Precision::Int8(
            arguments.weight_bits.map_or(weights, |bits| match bits {
                Bits::Seven => WeightBits::Seven,
                Bits::Eight => WeightBits::Eight,
            }),
            arguments.embedding_bits.map_or(embeddings, |bits| match bits {
                WordBits::Four => EmbeddingBits::Four,
                WordBits::Eight => EmbeddingBits::Eight,
            }),
        ),
        _ => Precision::Fp32,
    };
    let terminal = std::io::stderr().is_terminal();
    let summary = export(&checkpoint, precision, &arguments.output, |step, at, of| {
        if terminal {
            eprint!("\r\x1b[K[{at}/{of}] {step}");
            if at == of {
                eprintln!();
            }
            let _ = std::io::stderr().flush();
        }
    })
    .with_context(|| format!("cannot export {}", arguments.checkpoint.display()))?;
    let manifest = &summary.manifest;
    println!(
        "{}: {} {}, {} layers of width {}, {} exits, labels {}, {:.1} MB",
        arguments.output.display(),
        manifest.architecture.model_type,
        manifest.architecture.precision,
        manifest.architecture.layers,
        manifest.architecture.hidden,
        manifest.exits(),
        manifest.labels.join(" "),
        summary.bytes as f64 / 1e6,
    );
    Ok(())
}
