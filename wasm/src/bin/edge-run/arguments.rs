//! Arguments of the command line.

use anyhow::bail;
use clap::{Parser, ValueEnum};
use edge_runtime::ExitPolicy;
use std::path::PathBuf;

/// Classifies texts with a model.edge, or with an ONNX file from elsewhere.
///
/// Without TEXT, each line of standard input (or of --file) is a text. A line that cannot be read
/// is reported with its number, and the rest goes on; the exit status is then 1. Other errors give
/// 2.
#[derive(Parser)]
#[command(name = "edge-run", version, override_usage = "edge-run [OPTIONS] [MODEL] [TEXT]...")]
pub struct Arguments {
    /// MODEL is a first argument that is a file or looks like a path, as model.edge and
    /// out/model.onnx do (an .onnx needs the build feature `onnx`, and tokenizer.json and
    /// config.json beside it). Without it $EDGE_MODEL or the shipped model is used. The rest are
    /// texts; put -- before texts that begin with a dash
    #[arg(value_name = "[MODEL] TEXT")]
    pub arguments: Vec<String>,
    /// Read texts from a file, one a line
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print a JSON object for each text
    #[arg(long)]
    pub json: bool,
    /// Rule by which a text leaves early [default: the model's own policy]
    #[arg(short, long, value_enum)]
    pub policy: Option<Policy>,
    /// The policy's threshold [default: confidence 0.9, entropy 0.3, margin 0.8, patience 2]
    #[arg(short, long, requires = "policy")]
    pub threshold: Option<f32>,
    /// Number of threads that share the texts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Engine that computes; auto measures both and takes the faster one for each size of batch
    #[arg(long, value_enum, default_value_t = EngineName::Cpu)]
    pub engine: EngineName,
    /// Print on standard error where texts left, the share of layers computed, and the speed
    #[arg(long)]
    pub stats: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum EngineName {
    /// The GPU where it is faster, else the CPU
    Auto,
    /// The CPU
    Cpu,
    /// The GPU, or an error where there is none
    Gpu,
    /// The GPU with values in f16, or an error where it has no f16
    #[value(name = "gpu-f16")]
    GpuF16,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Policy {
    /// Full depth for every text
    Never,
    /// Leave when the largest probability is at least the threshold
    Confidence,
    /// Leave when the normalized entropy is at most the threshold
    Entropy,
    /// Leave when the two largest probabilities are at least the threshold apart
    Margin,
    /// Leave when a number of exits in a row agree; the number is the threshold
    Patience,
}

impl EngineName {
    /// Returns true if only the GPU may compute.
    pub fn is_gpu(self) -> bool {
        matches!(self, EngineName::Gpu | EngineName::GpuF16)
    }
}

impl Arguments {
    /// Exit policy of the arguments, or `own` if they have none.
    pub fn policy(&self, own: ExitPolicy) -> anyhow::Result<ExitPolicy> {
        let threshold = |usual: f32| self.threshold.unwrap_or(usual);
        Ok(match self.policy {
            None => own,
            Some(Policy::Never) if self.threshold.is_some() => {
                bail!("found --threshold with the policy never; remove one of them")
            }
            Some(Policy::Never) => ExitPolicy::Never,
            Some(Policy::Confidence) => ExitPolicy::confidence(threshold(0.9)),
            Some(Policy::Entropy) => ExitPolicy::entropy(threshold(0.3)),
            Some(Policy::Margin) => ExitPolicy::margin(threshold(0.8)),
            Some(Policy::Patience) => {
                let exits = threshold(2.0);
                if exits.fract() != 0.0 || !(1.0..=1e6).contains(&exits) {
                    bail!(
                        "threshold of patience is {exits}; expected a whole number of exits, 1 or more"
                    );
                }
                ExitPolicy::patience(exits as usize)
            }
        })
    }
}
