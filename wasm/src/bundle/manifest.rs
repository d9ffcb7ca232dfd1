//! `manifest.json`: list of the entries of a bundle, with the digests that verify them.

use crate::ExitPolicy;
use crate::task::Task;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The value of [`Manifest::format`].
pub const FORMAT: &str = "edge-distil";
/// The bundle version that this crate writes. It reads version 1 too.
pub const VERSION: u32 = 2;
/// The name of the first entry.
pub const MANIFEST: &str = "manifest.json";
/// The name of the second entry.
pub const TOKENIZER: &str = "tokenizer.json";

/// The first entry of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the format, always [`FORMAT`].
    pub format: String,
    /// Version of the format, see [`VERSION`].
    pub version: u32,
    /// SHA-256 of the manifest itself, computed with zeros for these 64 digits.
    pub digest: String,
    /// The meaning of the logits.
    pub task: Task,
    /// The inputs that the model takes.
    pub input: InputLimits,
    /// The shape of the encoder.
    pub encoder: Encoder,
    /// The number format of the weights.
    pub weights: WeightFormat,
    /// The stages, in the order in which they run.
    pub stages: Vec<Stage>,
    /// The exit policy that is used if the caller gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ExitPolicy>,
    /// Origin of the weights.
    #[serde(default)]
    pub provenance: Provenance,
    /// The entries that follow, in their order.
    pub entries: Vec<Entry>,
}

/// Inputs that a model takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputLimits {
    /// Number of texts of an input: 1.
    pub texts: usize,
    /// The longest input, in tokens; longer inputs are truncated.
    pub max_tokens: usize,
}

/// The shape of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    /// Family of the checkpoint that the encoder was exported from: `bert` or `distilbert`.
    pub family: String,
    /// Number of encoder layers.
    pub layers: usize,
    /// Hidden size.
    pub hidden: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Feed-forward width.
    pub intermediate: usize,
    /// Number of word pieces.
    pub vocabulary: usize,
}

/// The number format of the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightFormat {
    /// Number format: `fp32` or `int8`.
    pub precision: String,
    /// Bits of the weights of the linear layers for `int8`: 8 (−127…127) or 7 (−63…63).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bits: Option<u8>,
    /// Bits of the word embeddings for `int8`; absent if they have 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_bits: Option<u8>,
    /// Linear layers whose weights have 4 bits in the file for `int8`, such as `layers.0.qkv`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub four_bits: Vec<String>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Encoder layers that the stage computes.
    pub layers: usize,
    /// True if sentences can leave after the stage.
    pub exit: bool,
}

/// Origin of the weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program that wrote the bundle, with its version.
    pub producer: String,
    /// The name of the checkpoint.
    pub checkpoint: String,
    /// SHA-256 of the checkpoint's weights file.
    pub weights_sha256: String,
}

/// One entry after the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Name: `tokenizer.json`, `stage-0.onnx`, `stage-1.onnx`, …
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

pub(super) const NO_DIGEST: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// The name of the entry that contains a stage.
pub fn stage_entry(stage: usize) -> String {
    format!("stage-{stage}.onnx")
}

impl Manifest {
    /// The number of stages with an exit.
    pub fn exits(&self) -> usize {
        self.stages.iter().filter(|s| s.exit).count()
    }

    /// The bytes of `manifest.json`, with [`Manifest::digest`] filled in.
    pub fn to_json(&self) -> Vec<u8> {
        let blank = Manifest { digest: NO_DIGEST.into(), ..self.clone() };
        let text = serde_json::to_string_pretty(&blank).expect("a manifest is plain data");
        let digest = sha256_hex(text.as_bytes());
        text.replacen(NO_DIGEST, &digest, 1).into_bytes()
    }

    /// Checks that the fields agree.
    ///
    /// # Errors
    /// A message with the field, its actual and its expected value.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(last) = self.stages.last() else {
            return Err("no stages".into());
        };
        if !last.exit {
            return Err("the last stage has no exit".into());
        }
        let layers = self.stages.iter().try_fold(0usize, |sum, s| sum.checked_add(s.layers));
        if layers != Some(self.encoder.layers) {
            return Err(format!(
                "the layers of the stages add up to {}; expected {}, the number in `encoder`",
                layers.map_or("more than 2⁶⁴".into(), |n| n.to_string()),
                self.encoder.layers
            ));
        }
        self.task.check()?;
        if self.input.texts != 1 {
            return Err(format!("an input has {} texts; expected 1", self.input.texts));
        }
        if self.input.max_tokens < 3 {
            return Err(format!("max_tokens is {}; expected 3 or more", self.input.max_tokens));
        }
        let expected =
            std::iter::once(TOKENIZER.to_string()).chain((0..self.stages.len()).map(stage_entry));
        for (i, name) in expected.enumerate() {
            match self.entries.get(i) {
                Some(entry) if entry.name == name => {}
                Some(entry) => {
                    return Err(format!("entry {} is `{}`; expected `{name}`", i + 1, entry.name));
                }
                None => return Err(format!("entry `{name}` is not listed")),
            }
        }
        if let Some(extra) = self.entries.get(self.stages.len() + 1) {
            return Err(format!("unexpected entry `{}` after the last stage", extra.name));
        }
        if let Some(policy) = &self.policy {
            policy.check(self.exits()).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
