//! A whole model as one ONNX file for TensorRT, in int8 with explicit quantization.
//!
//! Inputs, outputs, metadata and the files beside it are those of [`onnx`](super::onnx). Each
//! linear layer of the encoder has `QuantizeLinear` and `DequantizeLinear` before it, and int8
//! weights before a `DequantizeLinear`. Quantization is symmetric, because TensorRT requires the
//! zero point 0. Weights have a scale per output; activations have a single scale, which the texts
//! of [`calibrate`] fix. Embeddings, norms, attention and exits are in 32-bit floats. TensorRT 11
//! and TensorRT-RTX compute in the types of the file; TensorRT 10 does with `--stronglyTyped`.

use super::fits;
use super::onnx::{Written, write};
use super::ranges::{Method, Ranges, observe};
use super::whole::Products;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::quantize::{Int8, Site};
use std::collections::BTreeMap;
use std::path::Path;

/// Number of texts for [`calibrate`]; more texts hardly change the scales.
pub const TEXTS: usize = 512;

/// Default method.
pub const METHOD: Method = Method::Percentile(99.99);

/// Largest quantized activation.
const LEVELS: u8 = 127;

/// Scales of the inputs of all linear layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales(BTreeMap<Site, f32>);

impl Scales {
    /// Scales that a method selects for the observed activations.
    pub fn of(ranges: &Ranges, method: Method) -> Self {
        let scale = |site: &Site| ranges.scale(*site, method, LEVELS);
        Scales(ranges.sites.keys().map(|site| (*site, scale(site))).collect())
    }
}

/// Scales for a checkpoint, from the first [`TEXTS`] of `texts`, which resemble the texts to
/// classify.
///
/// # Errors
/// [`Error::Unfit`] if there is no text; [`Error::Checkpoint`], [`Error::Tensor`].
pub fn calibrate<S: AsRef<str>>(
    checkpoint: &Checkpoint,
    texts: &[S],
    method: Method,
    progress: impl FnMut(usize, usize),
) -> Result<Scales, Error> {
    let ranges = observe(checkpoint, &texts[..texts.len().min(TEXTS)], progress)?;
    Ok(Scales::of(&ranges, method))
}

/// Exports a checkpoint for TensorRT, see [`onnx::export`](super::onnx::export). Embeddings are
/// floats for every value of `int8`.
///
/// # Errors
/// Errors of [`onnx::export`](super::onnx::export); [`Error::Unfit`] if the scales are for another
/// network.
pub fn export(
    checkpoint: &Checkpoint,
    int8: Int8,
    scales: &Scales,
    target: &Path,
    progress: impl FnMut(&str, usize, usize),
) -> Result<Written, Error> {
    fits(checkpoint, int8)?;
    let layers = checkpoint.config.encoder.layers;
    if !(0..layers).all(|layer| scales.0.contains_key(&Site::Qkv(layer)))
        || scales.0.contains_key(&Site::Qkv(layers))
    {
        return Err(Error::Unfit(format!(
            "the scales are for another network; expected one of {layers} layers"
        )));
    }
    let scale = |site: Site| scales.0[&site];
    write(checkpoint, Products::Static(int8, &scale), "int8-qdq", target, progress)
}

/// Command that builds an engine from the file, for batches of 1 to 32 texts (optimum 8) of 1 to
/// `max_tokens` tokens (optimum 64).
pub fn trtexec(file: &Path, max_tokens: usize) -> String {
    let shapes = |name: &str, batch: usize, tokens: usize| {
        format!(" --{name}Shapes=input_ids:{batch}x{tokens},attention_mask:{batch}x{tokens}")
    };
    let engine = file.with_extension("engine");
    format!(
        "trtexec --onnx={} --saveEngine={} --stronglyTyped{}{}{}",
        quoted(file),
        quoted(&engine),
        shapes("min", 1, 1),
        shapes("opt", 8, max_tokens.min(64)),
        shapes("max", 32, max_tokens),
    )
}

/// Path, quoted for a shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_one_that_a_shell_takes() {
        assert_eq!(
            trtexec(Path::new("out/model.onnx"), 48),
            "trtexec --onnx=out/model.onnx --saveEngine=out/model.engine --stronglyTyped \
             --minShapes=input_ids:1x1,attention_mask:1x1 \
             --optShapes=input_ids:8x48,attention_mask:8x48 \
             --maxShapes=input_ids:32x48,attention_mask:32x48"
        );
        assert_eq!(quoted(Path::new("it's here")), r"'it'\''s here'");
    }
}
