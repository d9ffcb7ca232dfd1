//! `manifest.json`: list of the entries of a bundle, with the digests that verify them.

use crate::{Error, ExitPolicy};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// The value of [`Manifest::format`].
pub const FORMAT: &str = "edge-distil";
/// The bundle version that this crate reads and writes.
pub const VERSION: u32 = 1;
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
    /// The labels, in the order of the logits.
    pub labels: Vec<String>,
    /// The network.
    pub architecture: Architecture,
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

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Family of the model: `bert` or `distilbert`.
    pub model_type: String,
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
    /// The longest input, in tokens; longer texts are truncated.
    pub max_tokens: usize,
    /// Number format of the weights: `fp32` or `int8`.
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

const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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

/// Checks that the names of the labels are unique and not empty: answers contain names, not
/// numbers.
///
/// # Errors
/// A message with the name and the numbers of the labels that share it.
pub fn check_labels(labels: &[String]) -> Result<(), String> {
    let mut numbers = HashMap::new();
    for (number, label) in labels.iter().enumerate() {
        if label.trim().is_empty() {
            return Err(format!("label {number} has an empty name"));
        }
        if let Some(first) = numbers.insert(label.as_str(), number) {
            return Err(format!("labels {first} and {number} are both named `{label}`"));
        }
    }
    Ok(())
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

    /// Reads and checks `manifest.json`.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the name `manifest.json`, if it is damaged, has another version,
    /// contradicts itself, or cannot be parsed as JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |problem: String| Error::bundle(MANIFEST, problem);
        // Other versions may have other fields, so the version is checked first.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
            digest: String,
        }
        let head: Head = serde_json::from_slice(bytes)
            .map_err(|e| wrong(format!("not a manifest of an Edge Distil bundle: {e}")))?;
        if head.format != FORMAT {
            return Err(wrong(format!("format is `{}`; expected `{FORMAT}`", head.format)));
        }
        if head.version != VERSION {
            return Err(wrong(format!(
                "version is {}, this runtime reads version {VERSION}; export the model again, or \
                 use a runtime of that version",
                head.version
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| wrong(format!("not UTF-8: {e}")))?;
        if head.digest.len() != NO_DIGEST.len()
            || sha256_hex(text.replacen(&head.digest, NO_DIGEST, 1).as_bytes()) != head.digest
        {
            return Err(wrong("damaged: its SHA-256 differs from its `digest`".into()));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| wrong(e.to_string()))?;
        manifest.check().map_err(wrong)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let Some(last) = self.stages.last() else {
            return Err("no stages".into());
        };
        if !last.exit {
            return Err("the last stage has no exit".into());
        }
        let layers = self.stages.iter().try_fold(0usize, |sum, s| sum.checked_add(s.layers));
        if layers != Some(self.architecture.layers) {
            return Err(format!(
                "the layers of the stages do not add up to {}, the number in `architecture`",
                self.architecture.layers
            ));
        }
        if self.labels.len() < 2 {
            return Err(format!("{} labels; a classifier has 2 or more", self.labels.len()));
        }
        check_labels(&self.labels).map_err(|problem| {
            format!(
                "{problem}; give each label a name of its own in id2label of the checkpoint's \
                 config.json, and export it again"
            )
        })?;
        if self.architecture.max_tokens < 3 {
            return Err(format!(
                "max_tokens is {}; expected 3 or more",
                self.architecture.max_tokens
            ));
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
