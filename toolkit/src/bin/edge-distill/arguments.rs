//! Arguments of the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Turns a BERT and labelled texts into a small classifier with an exit after every layer.
///
/// The steps: `finetune` trains a teacher, and `distill` trains a student on it. `calibrate`
/// chooses when a sentence may leave early, and `evaluate` measures. `edge-export` writes the
/// model.edge that runs everywhere. `all` does all steps.
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
    /// Train a student on a teacher's answers
    Distill(Train),
    /// Choose when a sentence may leave early, within a budget of accuracy, and write the policy
    /// into the checkpoint
    ///
    /// The checkpoint is exported to int8 and run on texts that were not trained on: the held-out
    /// rows of its recipe, or --data. For every kind of policy, the search finds the thresholds
    /// that compute the least within the budget. The curve of accuracy against computed layers goes
    /// to curve.svg and curve.csv in the checkpoint.
    Calibrate(Calibrate),
    /// Measure a checkpoint or a model.edge on labelled texts
    Evaluate(Evaluate),
    /// Measure models together and save a file of figures for each
    ///
    /// The figures are accuracy at every exit, size, parameters, and speed: one sentence after the
    /// other on one thread, the models in turn.
    Measure(Measure),
    /// Make a page of saved measurements: origin of the models, a table and charts
    Report(ReportArguments),
    /// Write a copy of a checkpoint without the word pieces that no text of the data needs
    ///
    /// These are BERT's unused entries, and pieces with characters that are neither ASCII nor in
    /// the texts. Words with other characters become unknown pieces. For all other texts the model
    /// gives the same answers, with a smaller embedding table.
    Vocabulary(Vocabulary),
    /// Write a copy of a checkpoint without some of its layers, heads or neurons
    ///
    /// The result is a checkpoint like any other: calibrate, evaluate and export it.
    Prune(Prune),
    /// Measure how much each linear layer loses in 4 bits, and choose a width for each
    ///
    /// Each layer is rounded alone, and the exits' probabilities are compared with those in int8
    /// (KL divergence, in nats). Without --target-size or --max-divergence it prints the ranking
    /// and chooses nothing. The choice goes into config.json; export, quantization-aware training
    /// and reports follow it. Calibrate the exits again afterwards. Measurements go to
    /// sensitivity.jsonl in the checkpoint; a run that was stopped continues from it.
    Sensitivity(Sensitivity),
    /// Write a copy of a checkpoint that loses less in int8 and is the same in floats
    ///
    /// Outlier channels of the values are scaled down, and the attention output's weights are
    /// scaled up (SmoothQuant, where it is exact). It prints the mean difference of int8 and float
    /// logits before and after. If the difference does not fall, nothing is written and the exit
    /// status is 1.
    Smooth(Smooth),
    /// Compress a checkpoint to a size or a speed: search, train, calibrate, export
    ///
    /// The search reduces layers, heads, neurons, word pieces and bits in all combinations. It
    /// compares those that meet the goal on the recipe's held-out rows, without training. The
    /// recipe then trains the best one in the arithmetic of its int8 export. Trials go to
    /// tried.jsonl; a run that was stopped continues from it.
    Compress(Compress),
    /// Write the mean of the weights of checkpoints that differ only in their seeds
    ///
    /// Runs that began with the same weights end close to each other. Their mean is often better
    /// than any of them, at the speed of one.
    Average(Average),
    /// Finetune a teacher, distil a student, calibrate, export, and compare them in a table
    ///
    /// A run that was stopped continues, and completed steps are not repeated.
    All(All),
}

impl Command {
    /// Advice to the user after Ctrl-C; `None` for a command that Ctrl-C ends at once.
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
    /// Recipe: a TOML file with every setting (see toolkit/recipes)
    #[arg(short, long)]
    pub recipe: PathBuf,
    /// Folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
    /// Continue a run that was stopped; without it a run begins again
    #[arg(long)]
    pub resume: bool,
    /// Seed that replaces the recipe's seed
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args)]
pub struct Force {
    /// Write into a folder that contains other files, too; only files with the names of a
    /// checkpoint's are replaced. Without it the output must be new, empty, or an earlier output
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Place {
    /// Device that computes: auto, cpu, cuda or cuda:n
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Number format of the large matrix products; all else is f32
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Precision,
    /// Number format of the saved weights
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
    /// File of labelled texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Column of the text, by name or number; guessed if absent
    #[arg(long, requires = "data")]
    pub text: Option<String>,
    /// Column of the label, by name or number; guessed if absent
    #[arg(long, requires = "data")]
    pub label: Option<String>,
}

#[derive(Args)]
pub struct Calibrate {
    /// Folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    pub budget: f64,
    /// Kind of policy; by default the kind that computes the least
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
    /// Folder of a checkpoint, or a model.edge
    pub model: PathBuf,
    /// Second model to compare with (McNemar's test)
    #[arg(long)]
    pub against: Option<PathBuf>,
    /// Confidence threshold for all exits, instead of the model's own policy
    #[arg(long)]
    pub confidence: Option<f32>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub texts: Texts,
}

#[derive(Args)]
pub struct Measure {
    /// Suite: a TOML file of models (see toolkit/recipes/sst2-minilm/report.toml)
    pub suite: PathBuf,
    /// File of labelled texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    pub data: PathBuf,
    /// Column of the text, by name or number; guessed if absent
    #[arg(long)]
    pub text: Option<String>,
    /// Column of the label, by name or number; guessed if absent
    #[arg(long)]
    pub label: Option<String>,
    /// Folder of the measurements; those of other models stay
    #[arg(short, long)]
    pub output: PathBuf,
}

#[derive(Args)]
pub struct ReportArguments {
    /// Folder of the measurements
    pub measurements: PathBuf,
    /// Page to write: one HTML file without external files
    #[arg(short, long, default_value = "report.html")]
    pub output: PathBuf,
    /// Markdown file to write, with its pictures beside it
    #[arg(long)]
    pub markdown: Option<PathBuf>,
    /// JSON file to write for the demo's page (web-demo/data/compare.json), from the measurements
    /// `teacher`, `student`, `int8` and `small`
    #[arg(long)]
    pub demo: Option<PathBuf>,
    /// File whose text between <!-- report:begin --> and <!-- report:end --> is replaced by the
    /// table
    #[arg(long)]
    pub readme: Option<PathBuf>,
}

#[derive(Args)]
pub struct Vocabulary {
    /// Folder of the checkpoint
    pub checkpoint: PathBuf,
    /// File of texts: .tsv, .csv, .jsonl or .parquet
    #[arg(long)]
    pub data: PathBuf,
    /// Column of the text, by name or number; guessed if absent
    #[arg(long)]
    pub text: Option<String>,
    /// Number of occurrences below which a piece is dropped too; its words split into smaller
    /// pieces
    #[arg(long)]
    pub seen: Option<usize>,
    /// Folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct Prune {
    /// Folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Number of layers to keep, from the first; the last of them needs an exit
    #[arg(long)]
    pub layers: Option<usize>,
    /// Share of the attention heads to keep, 0 to 1: those that the loss needs most
    #[arg(long, default_value_t = 1.0)]
    pub heads: f64,
    /// Share of the feed-forward neurons to keep, 0 to 1: those that the loss needs most
    #[arg(long, default_value_t = 1.0)]
    pub neurons: f64,
    /// Largest number of texts for weighing heads and neurons, from the first of --data
    #[arg(long, default_value_t = 2000)]
    pub weigh: usize,
    #[command(flatten)]
    pub texts: Texts,
    /// Folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct Sensitivity {
    /// Folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Largest size of model.edge, as in 8MB; the fewest layers that reach it get 4 bits
    #[arg(long, value_parser = bytes, conflicts_with = "max_divergence")]
    pub target_size: Option<u64>,
    /// Largest KL divergence of all chosen layers together; the most layers within it get 4 bits
    #[arg(long)]
    pub max_divergence: Option<f64>,
    /// Bits of the word embeddings, 4 or 8; by default those in config.json
    #[arg(long)]
    pub embedding_bits: Option<u8>,
    /// Largest number of texts to use, from the first
    #[arg(long, default_value_t = 256)]
    pub first: usize,
    #[command(flatten)]
    pub texts: Texts,
}

#[derive(Args)]
pub struct Smooth {
    /// Folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Part of the difference between channels that moves into the weights, 0 to 1
    #[arg(long, default_value_t = 0.5)]
    pub alpha: f32,
    /// Largest number of texts to use, from the first
    #[arg(long, default_value_t = 256)]
    pub first: usize,
    #[command(flatten)]
    pub texts: Texts,
    /// Folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct Compress {
    /// The folder of the checkpoint
    pub checkpoint: PathBuf,
    /// Recipe that trains the result, as for `distill` and `finetune`; its settings of the model
    /// are not used
    #[arg(short, long)]
    pub recipe: PathBuf,
    /// Largest size of model.edge, as in 10MB or 800kB
    #[arg(long, value_parser = bytes, required_unless_present = "target_speedup")]
    pub target_size: Option<u64>,
    /// Factor by which a token takes fewer multiplications than now, at full depth; 1 or more
    #[arg(long)]
    pub target_speedup: Option<f64>,
    /// Largest number of texts for weighing heads and neurons
    #[arg(long, default_value_t = 2000)]
    pub weigh: usize,
    /// Percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    pub budget: f64,
    /// Folder of all results: tried.jsonl, start, student, model.edge
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
    #[command(flatten)]
    pub place: Place,
}

/// Parses a size in bytes with a unit of thousands: 10MB, 800kB, 12000000B.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" => return Err(format!("`{text}` has no unit, as in {text}MB or {text}B")),
        "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        other => return Err(format!("`{other}` is no unit; expected B, kB, MB or GB")),
    };
    match digits.trim().parse::<f64>() {
        Ok(number) if number * unit >= 1.0 => Ok((number * unit) as u64),
        _ => Err(format!("`{text}` is no size; expected a number and a unit, as in 10MB")),
    }
}

#[derive(Args)]
pub struct Average {
    /// Folders of the checkpoints; all but the weights is taken from the first
    #[arg(num_args = 2.., required = true)]
    pub checkpoints: Vec<PathBuf>,
    /// Folder of the checkpoint to write
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub force: Force,
}

#[derive(Args)]
pub struct All {
    /// Recipe of the teacher; without it, the student's recipe names a teacher
    #[arg(long)]
    pub teacher: Option<PathBuf>,
    /// Recipe of the student
    #[arg(long)]
    pub student: PathBuf,
    /// File of labelled texts for the table; nothing else uses them
    #[arg(long)]
    pub test: PathBuf,
    /// Percentage points of accuracy that early exits may cost
    #[arg(long, default_value_t = 0.5)]
    pub budget: f64,
    /// Folder of all results: teacher, student, model.edge
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
