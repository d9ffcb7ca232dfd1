//! A whole model as one ONNX file, for ONNX Runtime and other runtimes of standard ONNX (opset 17).
//!
//! | | name | type |
//! |---|---|---|
//! | inputs | `input_ids`, `attention_mask` | int64 `[batch, sequence]` |
//! | outputs | `logits_k`: the exit after `k` encoder layers (`logits_0`: after the embeddings) | float32 `[batch, labels]` |
//! | | `logits`: the exit after the last | float32 `[batch, labels]` |
//!
//! Every exit is computed in every run; the exit policy is in the metadata. A caller may request
//! only some outputs: ONNX Runtime then omits the computation of the others.
//!
//! `tokenizer.json` and `config.json` are written beside the file, as programs expect them. The
//! file's metadata (ONNX Runtime: `session.get_modelmeta().custom_metadata_map`) contain, as JSON:
//!
//! | key | |
//! |---|---|
//! | `labels` | the names of the labels, in the order of the logits |
//! | `exits` | `[{"output": "logits_0", "layers": 0}, …]` |
//! | `policy` | the calibrated exit policy, if there is one |
//! | `max_tokens` | the most tokens of a text |
//! | `precision` | `fp32`, `fp16`, `int8`, or `int8-qdq` for TensorRT |
//! | `checkpoint`, `weights_sha256` | where the weights come from |
//!
//! # Int8
//!
//! [`Arithmetic::Int8`] is dynamic quantization in the form that ONNX Runtime runs as one kernel
//! (`DynamicQuantizeLinear`, `MatMulInteger`, a scale per column of the weights). It has one range
//! for all activations of a batch, but `model.edge` has one for each token. Logits therefore
//! depend, in the second decimal, on the other texts of the batch and on its padding. On SST-2 dev
//! their mean distance from fp32 is 0.038, that of `model.edge` is 0.025, and the accuracy is the
//! same. With the arithmetic of `model.edge`, ONNX Runtime takes 1.6 to 2 times as long
//! (AVX-512 VNNI, 16 to 128 tokens).

use super::graph::Float;
use super::whole::{Products, Whole, whole};
use super::{fits, protect};
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::files::Draft;
use crate::quantize::{Int8, Precision};
use crate::text_file::read_file;
use edge_runtime::bundle::sha256_hex;
use prost::Message;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// Arithmetic of a whole-model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats for weights and activations. Layer norms accumulate in 32 bits, and exits are
    /// computed in 32 bits.
    Fp16,
    /// Signed bytes, see [`Precision::Int8`]. Weights of 4 bits are expanded to signed bytes.
    Int8(Int8),
}

impl From<Precision> for Arithmetic {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 => Arithmetic::Fp32,
            Precision::Int8(int8) => Arithmetic::Int8(int8),
        }
    }
}

/// Result of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Names of the outputs, in order.
    pub outputs: Vec<String>,
}

/// Exports a checkpoint to one ONNX file. `tokenizer.json` and `config.json` are written beside it,
/// unless the target is a stream. A failure keeps older files, see [`Draft`].
///
/// `progress` receives each step's name, its number and the number of steps.
///
/// # Errors
/// [`Error::Checkpoint`] or [`Error::Tensor`] if the checkpoint is unusable, [`Error::Io`] if a
/// target cannot be written. [`Error::Unfit`] if a weight is too large for 16 bits or the file too
/// large for ONNX. [`Error::Unfit`] too if the target belongs to the checkpoint, or another model's
/// `tokenizer.json` or `config.json` is beside it.
pub fn export(
    checkpoint: &Checkpoint,
    arithmetic: Arithmetic,
    target: &Path,
    progress: impl FnMut(&str, usize, usize),
) -> Result<Written, Error> {
    let (products, name) = match arithmetic {
        Arithmetic::Fp32 => (Products::Floats(Float::F32), "fp32"),
        Arithmetic::Fp16 => (Products::Floats(Float::F16), "fp16"),
        Arithmetic::Int8(int8) => {
            fits(checkpoint, int8)?;
            (Products::Dynamic(int8), "int8")
        }
    };
    write(checkpoint, products, name, target, progress)
}

/// Writes the file and the files beside it.
pub(super) fn write(
    checkpoint: &Checkpoint,
    products: Products<'_>,
    precision: &str,
    target: &Path,
    mut progress: impl FnMut(&str, usize, usize),
) -> Result<Written, Error> {
    protect(checkpoint, target)?;
    let steps = checkpoint.config.encoder.layers + 2;
    progress("reading the tokenizer", 0, steps);
    let beside = [
        ("tokenizer.json", checkpoint.tokenizer()?),
        ("config.json", read_file(&checkpoint.config_path())?),
    ];
    let whole = whole(checkpoint, products, |layers| {
        let step = match layers {
            0 => "exporting the embeddings".into(),
            _ => format!("exporting layer {layers}"),
        };
        progress(&step, layers, steps);
    })?;
    progress("writing", steps - 1, steps);
    let metadata = metadata(checkpoint, &whole, precision)?;
    // Concatenated protobuf messages are one message.
    let bytes = [whole.file, metadata.encode_to_vec()].concat();
    let model = Draft::write(target, |file| file.write_all(&bytes))?;
    let mut files = Vec::new();
    for (name, bytes) in beside.iter().filter(|_| !model.is_stream()) {
        let path = target.with_file_name(name);
        match std::fs::read(&path) {
            Ok(there) if there == *bytes => {}
            Ok(_) => {
                return Err(Error::Unfit(format!(
                    "{} is of another model; move it away, or give the export a folder of its own: \
                     a model's {name} is beside it",
                    path.display()
                )));
            }
            Err(_) if path == target => {
                return Err(Error::Unfit(format!(
                    "{}: the model's {name} has this name; choose another, as model.onnx",
                    path.display()
                )));
            }
            Err(_) => files.push(Draft::write(&path, |file| file.write_all(bytes))?),
        }
    }
    for file in files {
        file.commit()?;
    }
    let bytes = model.commit()?;
    progress("done", steps, steps);
    Ok(Written { bytes, outputs: whole.exits.into_iter().map(|(name, _)| name).collect() })
}

/// Metadata of an ONNX file, a field that stage graphs lack.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn metadata(checkpoint: &Checkpoint, whole: &Whole, precision: &str) -> Result<Metadata, Error> {
    let config = &checkpoint.config;
    let exits = whole.exits.iter().map(|(name, layers)| json!({"output": name, "layers": layers}));
    let text = |value: Value| value.to_string();
    let mut entries = vec![
        ("labels", text(json!(config.task.labels()))),
        ("exits", text(exits.collect())),
        ("max_tokens", text(json!(config.encoder.max_tokens))),
        ("precision", text(json!(precision))),
        ("checkpoint", text(json!(checkpoint.name()))),
        ("weights_sha256", text(json!(sha256_hex(&read_file(&checkpoint.weights_path())?)))),
    ];
    if let Some(policy) = checkpoint.exits.as_ref().and_then(|e| e.policy.as_ref()) {
        // Serialized directly: a `Value` would lengthen the digits of a threshold.
        entries.push(("policy", serde_json::to_string(policy).expect("plain JSON")));
    }
    let entry = |(key, value): (&str, String)| Entry { key: key.into(), value };
    Ok(Metadata { metadata_props: entries.into_iter().map(entry).collect() })
}
