//! What the command line takes.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Turns a BERT and labelled texts into a small classifier with an exit after every layer.
///
/// The way: `finetune` makes a teacher, `distill` a student of it, `calibrate` chooses when a
/// sentence may leave early, `evaluate` measures, and `edge-export` makes the model.edge that runs
/// everywhere. `all` does all of it.
#[derive(Parser)]
#[command(name = "edge-distill", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
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
    /// Find the linear layers whose weights bear 4 bits in model.edge, and write the choice into config.json
    ///
    /// Each is rounded alone, and what the exits say is compared with what they say in int8 (the divergence
    /// of Kullback and Leibler, in nats). Without --target-size or --max-divergence the order is printed and
    /// nothing is chosen. Export, quantization-aware training and reports go by the choice; exits are to be
    /// calibrated again. What was measured stands in sensitivity.jsonl in the checkpoint; a run that was
    /// stopped goes on.
    Sensitivity(Sensitivity),
    /// Write a checkpoint anew that loses less in int8 and is the same in floats
    ///
    /// Channels of the values that stand out are made smaller, and the attention output's weights larger
    /// (SmoothQuant, where it is exact). Prints how far logits in int8 are from those in floats, before and
    /// after. Where that gets no less, nothing is written, and the status is 1.
    Smooth(Smooth),
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
    ///
    /// A run that was stopped goes on, and what is complete is not made again.
    All(All),
}

impl Command {
    /// Words for the user after Ctrl-C; `None` for a command that it ends at once.
    pub fn after_a_stop(&self) -> Option<&'static str> {
        match self {
            Command::Finetune(_) | Command::Distill(_) => Some("go on with --resume"),
            Command::Sensitivity(_) | Command::Compress(_) | Command::All(_) => {
                Some("run the same command again to go on")
            }
            Command::Prune(_) | Command::Smooth(_) => Some("nothing was written"),
            _ => None,
        }
    }
}

#[derive(Args)]
pub struct Train {
    /// The recipe: a TOML file with every setting (see toolkit/recipes)
    #[arg(short, long)]
    pub recipe: PathBuf,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
    /// Go on where a run was stopped; without it a run begins again
    #[arg(long)]
    pub resume: bool,
    /// In place of the recipe's seed
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args)]
pub struct Force {
    /// Write into a folder that holds other files, too: they stay, except those with the names of a checkpoint's.
    /// Without it the output must be new, empty, or an earlier output
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Place {
    /// Where to compute: auto, cpu, cuda or cuda:n
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Of the large matrix products; everything else, and the weights while they are trained, is
    /// f32
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Precision,
    /// Of the weights in the checkpoint
    #[arg(long, value_enum, default_value = "f32")]
    pub save_dtype: Stored,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Precision {
    F32,
    Bf16,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Stored {
    F32,
    F16,
}

#[derive(Args)]
pub struct Texts {
    /// Labelled texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The column of the text, by its name or number; guessed if absent
    #[arg(long, requires = "data")]
    pub text: Option<String>,
    /// The column of the label, by its name or number; guessed if absent
    #[arg(long, requires = "data")]
    pub label: Option<String>,
}

#[derive(Args)]
pub struct Calibrate {
    /// The folder of the checkpoint
    pub checkpoint: PathBuf,
    /// The percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    pub budget: f64,
    /// The kind of policy; by default the one that computes the least
    #[arg(long, value_enum)]
    pub policy: Option<PolicyKind>,
    #[command(flatten)]
    pub texts: Texts,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum PolicyKind {
    Confidence,
    Entropy,
    Margin,
    Patience,
}

#[derive(Args)]
pub struct Evaluate {
    /// The folder of a checkpoint, or a model.edge
    pub model: PathBuf,
    /// Another one, to compare with (McNemar's test)
    #[arg(long)]
    pub against: Option<PathBuf>,
    /// One threshold of confidence for all exits, in place of the model's own policy
    #[arg(long)]
    pub confidence: Option<f32>,
    /// Machines read it: one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub texts: Texts,
}

#[derive(Args)]
pub struct Measure {
    /// What is compared: a TOML file of models (see toolkit/recipes/sst2-minilm/report.toml)
    pub suite: PathBuf,
    /// Labelled texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    pub data: PathBuf,
    /// The column of the text, by its name or number; guessed if absent
    #[arg(long)]
    pub text: Option<String>,
    /// The column of the label, by its name or number; guessed if absent
    #[arg(long)]
    pub label: Option<String>,
    /// The folder of the measurements; those of other models stay
    #[arg(short, long)]
    pub output: PathBuf,
}

#[derive(Args)]
pub struct ReportArguments {
    /// The folder of the measurements
    pub measurements: PathBuf,
    /// The page: one HTML file that needs nothing else
    #[arg(short, long, default_value = "report.html")]
    pub output: PathBuf,
    /// The same in Markdown, with its pictures beside it
    #[arg(long)]
    pub markdown: Option<PathBuf>,
    /// The figures of the demo's page (web-demo/data/compare.json), of the measurements `teacher`,
    /// `student`, `int8` and `small`
    #[arg(long)]
    pub demo: Option<PathBuf>,
    /// Replace what stands between <!-- report:begin --> and <!-- report:end --> in this file by the
    /// table
    #[arg(long)]
    pub readme: Option<PathBuf>,
}

#[derive(Args)]
pub struct Vocabulary {
    /// The folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    pub data: PathBuf,
    /// The column of the text, by its name or number; guessed if absent
    #[arg(long)]
    pub text: Option<String>,
    /// Drop pieces that occur less often than this in the texts, too; other words fall into smaller
    /// pieces
    #[arg(long)]
    pub seen: Option<usize>,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct Prune {
    /// The folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Keep so many layers, the first ones; there must be an exit after the last of them
    #[arg(long)]
    pub layers: Option<usize>,
    /// Keep this share of the attention heads, 0 to 1: those whose loss would cost the most
    #[arg(long, default_value_t = 1.0)]
    pub heads: f64,
    /// Keep this share of the neurons of the feed-forward networks, 0 to 1
    #[arg(long, default_value_t = 1.0)]
    pub neurons: f64,
    /// The texts on which heads and neurons are weighed, at most; the first ones of --data
    #[arg(long, default_value_t = 2000)]
    pub weigh: usize,
    #[command(flatten)]
    pub texts: Texts,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct Sensitivity {
    /// The folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Choose as few layers as it takes for a model.edge of at most so many bytes, as in 8MB
    #[arg(long, value_parser = bytes, conflicts_with = "max_divergence")]
    pub target_size: Option<u64>,
    /// Choose as many layers as there may be for at most so much divergence of all of them together
    #[arg(long)]
    pub max_divergence: Option<f64>,
    /// Bits of the word embeddings, 4 or 8; those that the checkpoint was made for unless given
    #[arg(long)]
    pub embedding_bits: Option<u8>,
    /// The texts that are looked at, at most; the first ones
    #[arg(long, default_value_t = 256)]
    pub first: usize,
    #[command(flatten)]
    pub texts: Texts,
}

#[derive(Args)]
pub struct Smooth {
    /// The folder of the checkpoint
    pub checkpoint: PathBuf,
    /// How much of the difference between channels goes into the weights, 0 to 1
    #[arg(long, default_value_t = 0.5)]
    pub alpha: f32,
    /// The texts that are looked at, at most; the first ones
    #[arg(long, default_value_t = 256)]
    pub first: usize,
    #[command(flatten)]
    pub texts: Texts,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct Compress {
    /// The folder of the checkpoint
    pub checkpoint: PathBuf,
    /// How the result is trained: a recipe, as `distill` and `finetune` take it; what it says of the model
    /// is not used
    #[arg(short, long)]
    pub recipe: PathBuf,
    /// The most that model.edge may have, as in 10MB or 800kB
    #[arg(long, value_parser = bytes, required_unless_present = "target_speedup")]
    pub target_size: Option<u64>,
    /// Factor by which a token takes fewer multiplications than now, at full depth; 1 or more
    #[arg(long)]
    pub target_speedup: Option<f64>,
    /// The texts on which heads and neurons are weighed, at most
    #[arg(long, default_value_t = 2000)]
    pub weigh: usize,
    /// The percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    pub budget: f64,
    /// Where everything goes: tried.jsonl, start, student, model.edge
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
    #[command(flatten)]
    pub place: Place,
}

/// Reads a number of bytes, by thousands: 10MB, 800kB, 12000000B.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" => return Err(format!("`{text}` has no unit, as in {text}MB or {text}B")),
        "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        other => return Err(format!("`{other}` is no unit; B, kB, MB and GB are")),
    };
    match digits.trim().parse::<f64>() {
        Ok(number) if number * unit >= 1.0 => Ok((number * unit) as u64),
        _ => Err("a size is a number and a unit, as in 10MB".into()),
    }
}

#[derive(Args)]
pub struct Average {
    /// The folders of the checkpoints; all but the weights is taken from the first
    #[arg(num_args = 2.., required = true)]
    pub checkpoints: Vec<PathBuf>,
    /// The folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct All {
    /// The recipe of the teacher; without it the student's recipe names one
    #[arg(long)]
    pub teacher: Option<PathBuf>,
    /// The recipe of the student
    #[arg(long)]
    pub student: PathBuf,
    /// Labelled texts for the table, which nothing else sees
    #[arg(long)]
    pub test: PathBuf,
    /// The percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    pub budget: f64,
    /// Where everything goes: teacher, student, model.edge
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
    #[command(flatten)]
    pub place: Place,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_a_unit() {
        for (text, size) in
            [("10MB", 10_000_000), ("800kB", 800_000), ("1.5 g", 1_500_000_000), ("8B", 8)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for (text, words) in [
            ("8", "`8` has no unit, as in 8MB or 8B"),
            ("12000000", "12000000B"),
            ("8MiB", "`mib` is no unit"),
            ("MB", "a number and a unit"),
            ("0MB", "a number and a unit"),
            ("0.5B", "a number and a unit"),
            ("-8MB", "a number and a unit"),
        ] {
            let error = bytes(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
