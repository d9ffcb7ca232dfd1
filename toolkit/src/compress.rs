//! Compression of a trained checkpoint.

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

/// Parts of a checkpoint that structured pruning keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Number of layers, counted from the first; `None` keeps all.
    pub layers: Option<usize>,
    /// Share of the attention heads, above 0 and at most 1.
    pub heads: f64,
    /// Share of the neurons of the feed-forward networks, above 0 and at most 1.
    pub neurons: f64,
}

/// Writes a copy of a checkpoint with the layers, heads and neurons that `shape` keeps. Heads and
/// neurons are chosen by their importance on `examples`. Returns the kept parts.
///
/// # Errors
/// [`Error::Checkpoint`], [`Error::Output`], [`Error::Io`]; [`Error::Unfit`] if a share is out of
/// its range; errors of computing.
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
                "the share of the {name} to keep is {share}; expected more than 0 and at most 1"
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

/// Importance of the heads and neurons of a checkpoint on `examples`.
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
