//! Writing of a network as a checkpoint.

use super::early_exit::Network;
use super::own_head;
use crate::Error;
use crate::checkpoint::{Checkpoint, Exits};
use crate::files::Output;
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use edge_runtime::ExitPolicy;
use std::collections::HashMap;
use std::path::Path;

/// Writes a checkpoint in Hugging Face layout, with additional files `more` by name.
///
/// # Errors
/// [`Error::Output`] if the folder must not be written, [`Error::Io`].
pub fn save(
    network: &Network,
    policy: Option<ExitPolicy>,
    more: &[(&str, &[u8])],
    output: &Output,
    precision: DType,
) -> Result<(), Error> {
    output.replace(|folder| {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|e| Error::io(path, e))
        };
        let exits = exits(network, policy);
        let (mut config, mut tensors) = (network.config.to_json(), tensors(network, precision)?);
        own_head::agree(&mut tensors, &mut config, exits.as_ref());
        write("config.json", pretty(&config).as_bytes())?;
        more.iter().try_for_each(|(name, bytes)| write(name, bytes))?;
        if let Some(exits) = exits {
            write("exits.json", pretty(&exits).as_bytes())?;
        }
        write_tensors(&tensors, &folder.join("model.safetensors"))
    })
}

fn exits(network: &Network, policy: Option<ExitPolicy>) -> Option<Exits> {
    let first = network.heads.first().filter(|_| !network.own_head)?;
    Some(Exits {
        pooling: first.pooling,
        hidden: first.dense.bias.var().elem_count(),
        activation: "tanh".into(),
        layers: network.heads.iter().map(|h| h.layers).collect(),
        policy,
    })
}

fn tensors(network: &Network, precision: DType) -> Result<HashMap<String, Tensor>, Error> {
    let parameters = network.parameters();
    let tensors = parameters.iter().map(|p| {
        let value = p
            .masked()
            .unwrap_or(p.var())
            .as_detached_tensor()
            .to_device(&Device::Cpu)?
            .to_dtype(precision)?;
        Ok((p.name().to_owned(), value))
    });
    tensors.collect::<candle_core::Result<_>>().map_err(Error::Compute)
}

/// Reads all tensors of a checkpoint in their stored form, by their current names.
///
/// # Errors
/// [`Error::Tensor`] if a tensor cannot be read.
pub(crate) fn read_tensors(checkpoint: &Checkpoint) -> Result<HashMap<String, Tensor>, Error> {
    let read = |name: &str| {
        let tensor = checkpoint.stored(name)?.load(&Device::Cpu).map_err(|e| Error::Tensor {
            path: checkpoint.weights_path(),
            tensor: name.into(),
            problem: format!("cannot be read: {e}"),
        })?;
        Ok((name.to_owned(), tensor))
    };
    checkpoint.tensor_names().map(read).collect()
}

/// Writes a safetensors file.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_tensors(tensors: &HashMap<String, Tensor>, path: &Path) -> Result<(), Error> {
    let io = |e| Error::io(path, e);
    let usual = std::fs::File::create(path).and_then(|file| file.metadata()).map_err(io)?;
    candle_core::safetensors::save(tensors, path).map_err(|e| io(std::io::Error::other(e)))?;
    // candle replaces the file by one that only its owner may read.
    std::fs::set_permissions(path, usual.permissions()).map_err(io)
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain JSON") + "\n"
}
