//! Reading a checkpoint as a network.

use super::early_exit::Network;
use super::start::{Heads, Start, start};
use crate::Error;
use crate::checkpoint::Checkpoint;
use candle_core::Device;

/// Loads the network of a checkpoint unchanged.
///
/// # Errors
/// Errors of [`start`].
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
            problem: "is missing; expected a classifier. Train one with `edge-distill finetune`"
                .into(),
        });
    }
    let layers = (0..config.encoder.layers).collect();
    start(&Start { from: checkpoint, config, layers, heads, seed: 0, device })
}

/// First tensor of the heads that is missing in a checkpoint.
fn missing_heads(checkpoint: &Checkpoint) -> Option<String> {
    let names: Vec<String> = match &checkpoint.exits {
        Some(exits) => {
            (0..exits.layers.len()).map(|i| format!("exits.{i}.classifier.weight")).collect()
        }
        None => vec!["classifier.weight".into()],
    };
    names.into_iter().find(|name| !checkpoint.has(name))
}
