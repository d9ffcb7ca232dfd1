//! Reading a checkpoint as a network.

use super::early_exit::Network;
use super::start::{Heads, Start, start};
use crate::Error;
use crate::checkpoint::Checkpoint;
use candle_core::Device;

/// A checkpoint as it is.
///
/// # Errors
/// See [`start`].
pub fn load(checkpoint: &Checkpoint, device: Device) -> Result<Network, Error> {
    let config = checkpoint.config.clone();
    let heads = match &checkpoint.exits {
        Some(exits) => Heads::Exits(exits.layers.clone(), exits.pooling, exits.hidden),
        None => Heads::Own,
    };
    if let Some(name) = missing_heads(checkpoint) {
        return Err(Error::Tensor {
            path: checkpoint.weights_path(),
            tensor: name,
            problem: "is missing; a classifier has it. Train one with `edge-distill finetune`"
                .into(),
        });
    }
    let layers = (0..config.encoder.layers).collect();
    start(&Start { from: checkpoint, config, layers, heads, seed: 0, device })
}

/// The first tensor of the heads that a checkpoint lacks.
fn missing_heads(checkpoint: &Checkpoint) -> Option<String> {
    let names: Vec<String> = match &checkpoint.exits {
        Some(exits) => {
            (0..exits.layers.len()).map(|i| format!("exits.{i}.classifier.weight")).collect()
        }
        None => vec!["classifier.weight".into()],
    };
    names.into_iter().find(|name| !checkpoint.has(name))
}
