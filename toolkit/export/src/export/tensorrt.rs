//! A whole model as one ONNX file for TensorRT, int8 by explicit quantization.
//!
//! Inputs, outputs, metadata and the files beside it are those of [`onnx`](super::onnx). Before each linear
//! layer of the encoder stand `QuantizeLinear` and `DequantizeLinear`, and its weights are int8 behind a
//! `DequantizeLinear`: symmetric (TensorRT takes no other zero point than 0), the weights with a scale per
//! output, the activations with one scale for all, fixed by the texts of [`calibrate`]. Everything else,
//! embeddings, norms, attention and exits, is in 32-bit floats; TensorRT 11 and TensorRT-RTX compute in the
//! types that the file says, TensorRT 10 does with `--stronglyTyped`.

use super::fits;
use super::onnx::{Written, write};
use super::ranges::{Method, Ranges, observe};
use super::whole::Products;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::quantize::{Int8, Site};
use std::collections::BTreeMap;
use std::path::Path;

/// The texts that are enough for [`calibrate`]: more of them hardly move the scales.
pub const TEXTS: usize = 512;

/// The method unless told otherwise.
pub const METHOD: Method = Method::Percentile(99.99);

/// The largest quantized activation.
const LEVELS: u8 = 127;

/// The scales of the inputs of all linear layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales(BTreeMap<Site, f32>);

impl Scales {
    /// Those that a method chooses for what was seen.
    pub fn of(ranges: &Ranges, method: Method) -> Self {
        let scale = |site: &Site| ranges.scale(*site, method, LEVELS);
        Scales(ranges.sites.keys().map(|site| (*site, scale(site))).collect())
    }
}

/// The scales for a checkpoint by texts like those that it will be asked about: the first [`TEXTS`] of them.
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

/// Exports a checkpoint as [`onnx::export`](super::onnx::export) does, for TensorRT. Embeddings are floats
/// whatever `int8` says of them.
///
/// # Errors
/// Those of [`onnx::export`](super::onnx::export); [`Error::Unfit`] if the scales are of another network.
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
        return Err(Error::Unfit(format!("the scales are of a network without {layers} layers")));
    }
    let scale = |site: Site| scales.0[&site];
    write(checkpoint, Products::Static(int8, &scale), "int8-qdq", target, progress)
}

/// The command that builds an engine of such a file, for batches of 1 to 32 texts (at best 8) of 1 to
/// `max_tokens` tokens (at best 64).
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

/// A path as a shell takes it.
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
