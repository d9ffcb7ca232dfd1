//! Making a trained checkpoint smaller.

pub mod depth;
pub mod fit;
mod record;
mod rewrite;
pub mod search;
pub mod sensitivity;
pub mod smooth;
pub mod structure;
pub mod vocabulary;

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::files::Output;
use crate::measure::Examples;
use crate::network::load;
use crate::train::tokenizer;
use candle_core::Device;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use structure::{Importance, Kept};

/// What structured pruning leaves of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The number of layers, the first ones; `None` for all.
    pub layers: Option<usize>,
    /// The share of the attention heads, 0 to 1.
    pub heads: f64,
    /// The share of the neurons of the feed-forward networks, 0 to 1.
    pub neurons: f64,
}

/// Writes a checkpoint anew with the layers, heads and neurons that `shape` leaves; which of the latter
/// two stay is chosen on `examples`. Returns what was kept.
///
/// # Errors
/// [`Error::Checkpoint`], [`Error::Output`], [`Error::Io`]; [`Error::Unfit`] if a share is no share; those of computing.
pub fn prune(
    checkpoint: &Path,
    shape: &Shape,
    examples: &Examples,
    output: impl Into<Output>,
    stop: &AtomicBool,
    progress: impl FnMut(usize, usize),
) -> Result<Kept, Error> {
    let output = output.into();
    output.check(&[checkpoint])?;
    for (name, share) in [("heads", shape.heads), ("neurons", shape.neurons)] {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::Unfit(format!(
                "the share of the {name} to keep is {share}; it is more than 0 and at most 1"
            )));
        }
    }
    let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let shallow = place.path().join("layers");
    let mut from = checkpoint;
    if let Some(layers) = shape.layers {
        depth::keep_first(checkpoint, layers, &shallow)?;
        from = &shallow;
    }
    let worth = weigh(from, examples, stop, progress)?;
    let kept = worth.keep(shape.heads, shape.neurons);
    structure::prune(from, &kept, output)?;
    Ok(kept)
}

/// What the heads and neurons of a checkpoint are worth on `examples`.
fn weigh(
    checkpoint: &Path,
    examples: &Examples,
    stop: &AtomicBool,
    progress: impl FnMut(usize, usize),
) -> Result<Importance, Error> {
    if examples.texts.is_empty() {
        return Err(Error::Unfit("there is no text to weigh heads and neurons on".into()));
    }
    let opened = Checkpoint::open(checkpoint)?;
    let tokenizer = tokenizer(&opened, opened.config.encoder.max_tokens)?;
    let sentences =
        examples.texts.iter().zip(&examples.truth).map(|(text, label)| {
            Ok((tokenizer.encode(text).map_err(Error::Tokenizer)?.ids, *label))
        });
    let sentences = sentences.collect::<Result<Vec<_>, Error>>()?;
    structure::importance(&load(&opened, Device::Cpu)?, &sentences, stop, progress)
}
