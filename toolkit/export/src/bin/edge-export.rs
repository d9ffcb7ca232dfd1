//! The `edge-export` command line.

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use edge_export::checkpoint::Checkpoint;
use edge_export::data::{Columns, Dataset};
use edge_export::export::onnx::{self, Arithmetic, Written};
use edge_export::export::ranges::Method;
use edge_export::export::{export, export_packed, tensorrt};
use edge_export::quantize::{Bits, Int8, Precision, WeightBits};
use edge_export::say;
use edge_runtime::kernels::isa::Isa;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exports a checkpoint to model.edge, which edge-run and the browser run, or to one ONNX file.
///
/// A checkpoint is a folder in Hugging Face layout: config.json (bert or distilbert),
/// model.safetensors, and tokenizer.json or vocab.txt. Its exit heads are exported if it has them
/// (exits.json); otherwise its own classification head is the only exit.
#[derive(Parser)]
#[command(name = "edge-export", version)]
struct Arguments {
    /// Folder of the checkpoint
    checkpoint: PathBuf,
    /// File to write; by default model.edge or model.onnx
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Format of the file
    #[arg(long, value_enum, default_value = "edge")]
    format: Format,
    /// Weights as signed bytes (the default without --fp32 and --fp16)
    #[arg(long, conflicts_with_all = ["fp32", "fp16"])]
    int8: bool,
    /// Weights as 32-bit floats
    #[arg(long, conflicts_with_all = ["fp16", "weight_bits", "embedding_bits", "linear_bits"])]
    fp32: bool,
    /// Weights and arithmetic in 16-bit floats; only with --format onnx
    #[arg(long, conflicts_with_all = ["weight_bits", "embedding_bits", "linear_bits"])]
    fp16: bool,
    /// Bits of the int8 weights: 7 is exact and fast on every processor, 8 is finer; by default
    /// those of the checkpoint's training, else 8 for tensorrt and 7 otherwise
    #[arg(long, value_parser = one_of::<7, 8>)]
    weight_bits: Option<u8>,
    /// Bits of the int8 word embeddings: 4 halves their size and costs some accuracy; by default
    /// those of the checkpoint's training, else 8
    #[arg(long, value_parser = one_of::<4, 8>)]
    embedding_bits: Option<u8>,
    /// Bits of the stored weights of all linear layers in model.edge: 4 halves their size and costs
    /// some accuracy (`edge-distill sensitivity` selects layers for 4 bits); by default those of the
    /// checkpoint's training, else 8
    #[arg(long, value_parser = one_of::<4, 8>)]
    linear_bits: Option<u8>,
    /// Processor for whose instructions the int8 weights are packed: it computes with a mapped or
    /// linked model.edge without copying weights; other processors still run the file
    #[arg(long, value_name = "PROCESSOR", conflicts_with_all = ["fp32", "fp16"],
          value_parser = PossibleValuesParser::new(PACKED))]
    pack: Option<String>,
    /// Typical texts for --format tensorrt (.tsv, .csv, .jsonl, .parquet if built with it); the
    /// first 512 fix the ranges of the int8 activations
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Column of --calibrate that contains the text; by default guessed
    #[arg(long, value_name = "COLUMN", requires = "calibrate")]
    text: Option<String>,
    /// Method that selects the ranges: min-max, percentile:P, mse or kl
    #[arg(long, requires = "calibrate", default_value_t = tensorrt::METHOD)]
    method: Method,
}

/// Values of `--pack`: the processor at hand, or one by its instructions.
const PACKED: [&str; Isa::ALL.len() + 1] = {
    let mut names = ["native"; Isa::ALL.len() + 1];
    let mut i = 0;
    while i < Isa::ALL.len() {
        names[i + 1] = Isa::ALL[i].name();
        i += 1;
    }
    names
};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// model.edge: a graph for every stage, for edge-run, the browser and the other bindings
    Edge,
    /// One ONNX file with every exit as an output, for ONNX Runtime
    Onnx,
    /// One ONNX file with the scales of all int8 values, for TensorRT
    #[value(name = "tensorrt")]
    TensorRt,
}

/// One of two numbers of bits.
fn one_of<const A: u8, const B: u8>(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(bits) if bits == A || bits == B => Ok(bits),
        _ => Err(format!("expected {A} or {B}")),
    }
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
    let Arguments { checkpoint, format, calibrate, .. } = arguments;
    if calibrate.is_some() && *format != Format::TensorRt {
        bail!("--calibrate is for --format tensorrt; the other formats need no texts");
    }
    if arguments.pack.is_some() && *format != Format::Edge {
        bail!(
            "--pack is for model.edge; ONNX Runtime and TensorRT choose their own layout of the weights"
        );
    }
    let failed = || format!("cannot export {}", checkpoint.display());
    let opened = Checkpoint::open(checkpoint).with_context(failed)?;
    warn_of_tokens(&opened).with_context(failed)?;
    let name = if *format == Format::Edge { "model.edge" } else { "model.onnx" };
    let output = arguments.output.clone().unwrap_or_else(|| name.into());
    if let Some(texts) = calibrate.as_ref().and_then(|texts| texts.canonicalize().ok())
        && output.canonicalize().is_ok_and(|output| output == texts)
    {
        bail!("{}: holds the texts of --calibrate; write to another file", output.display());
    }
    match format {
        Format::Edge => edge(arguments, &opened, &output),
        Format::Onnx => whole(arguments, &opened, &output),
        Format::TensorRt => for_tensorrt(arguments, &opened, &output),
    }
    .with_context(failed)
}

/// Warns of tokens that were added without resizing the embeddings.
fn warn_of_tokens(checkpoint: &Checkpoint) -> anyhow::Result<()> {
    let tokens = checkpoint.tokens_without_embedding()?;
    const MOST: usize = 8;
    let more = match tokens.len().checked_sub(MOST) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    if !tokens.is_empty() {
        eprintln!(
            "edge-export: the tokenizer has {} tokens beyond the {} embeddings: {}{more}. A text with \
             one of them has no answer. Remedy: model.resize_token_embeddings(len(tokenizer))",
            tokens.len(),
            checkpoint.config.encoder.vocabulary,
            tokens[..tokens.len().min(MOST)].join(" "),
        );
    }
    Ok(())
}

/// Numbers of bits that the command line gives, else those that the checkpoint was trained for.
fn int8(arguments: &Arguments, checkpoint: &Checkpoint) -> anyhow::Result<Int8> {
    let Arguments { weight_bits, embedding_bits, linear_bits, .. } = *arguments;
    let bits = Bits { weights: weight_bits, embeddings: embedding_bits, linear: linear_bits };
    checkpoint.config.int8_with(bits).map_err(anyhow::Error::msg)
}

fn precision(arguments: &Arguments, checkpoint: &Checkpoint) -> anyhow::Result<Precision> {
    Ok(match arguments.fp32 {
        true => Precision::Fp32,
        false => Precision::Int8(int8(arguments, checkpoint)?),
    })
}

fn edge(arguments: &Arguments, checkpoint: &Checkpoint, output: &Path) -> anyhow::Result<()> {
    if arguments.fp16 {
        bail!("--fp16 is for --format onnx; model.edge has --int8 or --fp32");
    }
    let summary = match &arguments.pack {
        None => export(checkpoint, precision(arguments, checkpoint)?, output, progress)?,
        Some(name) => {
            let named = Isa::ALL.into_iter().find(|target| target.name() == name);
            let target = named.unwrap_or_else(Isa::detect);
            export_packed(checkpoint, int8(arguments, checkpoint)?, target, output, progress)?
        }
    };
    let manifest = &summary.manifest;
    let line = format!(
        "{}: {} {}, {} layers of width {}, {} exits, labels {}, {:.1} MB",
        output.display(),
        manifest.encoder.family,
        manifest.weights.precision,
        manifest.encoder.layers,
        manifest.encoder.hidden,
        manifest.exits(),
        manifest.task.labels().join(" "),
        summary.bytes as f64 / 1e6,
    );
    print_line(output, &line);
    Ok(())
}

fn whole(arguments: &Arguments, checkpoint: &Checkpoint, output: &Path) -> anyhow::Result<()> {
    let arithmetic = match arguments.fp16 {
        true => Arithmetic::Fp16,
        false => precision(arguments, checkpoint)?.into(),
    };
    report(output, &onnx::export(checkpoint, arithmetic, output, progress)?);
    Ok(())
}

fn for_tensorrt(
    arguments: &Arguments,
    checkpoint: &Checkpoint,
    output: &Path,
) -> anyhow::Result<()> {
    if arguments.fp16 || arguments.fp32 {
        bail!("--format tensorrt is int8; TensorRT reads the fp32 and fp16 files of --format onnx");
    }
    if arguments.embedding_bits == Some(4) {
        bail!("--embedding-bits is for model.edge and onnx; TensorRT gets 32-bit embeddings");
    }
    let Some(file) = &arguments.calibrate else {
        bail!(
            "--format tensorrt needs --calibrate FILE: texts like those that the model will be asked \
             about, some hundred of them (.tsv, .csv, .jsonl or .parquet). They fix the ranges of its \
             int8 activations; labels are not needed"
        );
    };
    let columns = Columns { text: arguments.text.clone(), label: None };
    let (dataset, guess) = Dataset::read_unlabelled(file, &columns)?;
    let texts = dataset.texts();
    eprintln!(
        "{}: {} of {} rows, {guess}",
        file.display(),
        texts.len().min(tensorrt::TEXTS),
        texts.len()
    );
    let scales = tensorrt::calibrate(checkpoint, &texts, arguments.method, |at, of| {
        progress("calibrating", at, of)
    })?;
    let mut int8 = int8(arguments, checkpoint)?;
    if arguments.weight_bits.is_none() && checkpoint.config.quantize.is_none() {
        int8.weights = WeightBits::Eight;
    }
    report(output, &tensorrt::export(checkpoint, int8, &scales, output, progress)?);
    print_line(output, &tensorrt::trtexec(output, checkpoint.config.encoder.max_tokens));
    Ok(())
}

fn report(output: &Path, written: &Written) {
    let (outputs, megabytes) = (written.outputs.join(" "), written.bytes as f64 / 1e6);
    print_line(output, &format!("{}: outputs {outputs}, {megabytes:.1} MB", output.display()));
}

/// Prints a line about a model on standard output, or on standard error if the model went to
/// standard output.
fn print_line(output: &Path, line: &str) {
    if is_standard_output(output) { eprintln!("{line}") } else { say!("{line}") }
}

#[cfg(unix)]
fn is_standard_output(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let [file, standard] = [path, Path::new("/dev/stdout")]
        .map(|path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino())));
    file.is_some() && file == standard
}

#[cfg(not(unix))]
fn is_standard_output(_: &Path) -> bool {
    false
}

fn progress(step: &str, at: usize, of: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K[{at}/{of}] {step}");
        if at == of {
            eprintln!();
        }
        let _ = std::io::stderr().flush();
    }
}
