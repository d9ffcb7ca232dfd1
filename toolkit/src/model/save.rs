//! Writing a network as a checkpoint.

use super::network::Network;
use crate::Error;
use crate::checkpoint::Exits;
use candle_core::{DType, Device, Tensor};
use edge_runtime::ExitPolicy;
use std::collections::HashMap;
use std::path::Path;

/// Writes a checkpoint in Hugging Face layout, with `more` files by name. It is written beside `folder` and renamed: `folder`
/// is never seen half written.
///
/// # Errors
/// [`Error::Io`].
pub fn save(
    network: &Network,
    policy: Option<ExitPolicy>,
    more: &[(&str, &[u8])],
    folder: &Path,
    precision: DType,
) -> Result<(), Error> {
    replace_folder(folder, |folder| {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|e| Error::io(path, e))
        };
        write("config.json", pretty(&network.config.to_json()).as_bytes())?;
        more.iter().try_for_each(|(name, bytes)| write(name, bytes))?;
        if let Some(exits) = exits(network, policy) {
            write("exits.json", pretty(&exits).as_bytes())?;
        }
        write_tensors(&tensors(network, precision)?, &folder.join("model.safetensors"))
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

/// Writes a safetensors file.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_tensors(tensors: &HashMap<String, Tensor>, path: &Path) -> Result<(), Error> {
    candle_core::safetensors::save(tensors, path)
        .map_err(|e| Error::io(path, std::io::Error::other(e)))
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain JSON") + "\n"
}

/// Copies the files of a checkpoint, but those that will be written anew.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn copy_files(from: &Path, to: &Path, but: &[&str]) -> Result<(), Error> {
    for entry in std::fs::read_dir(from).map_err(|e| Error::io(from, e))? {
        let file = entry.map_err(|e| Error::io(from, e))?.path();
        let name = file.file_name().unwrap_or_default();
        if file.is_file() && !but.iter().any(|b| name == *b) {
            std::fs::copy(&file, to.join(name)).map_err(|e| Error::io(&file, e))?;
        }
    }
    Ok(())
}

/// Fills a folder beside `folder` and puts it in its place.
///
/// # Errors
/// [`Error::Io`], and what `fill` returns.
pub(crate) fn replace_folder(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let io = |e| Error::io(folder, e);
    std::fs::create_dir_all(parent).map_err(io)?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(io)?;
    fill(new.path())?;
    for entry in std::fs::read_dir(new.path()).map_err(io)? {
        std::fs::File::open(entry.map_err(io)?.path()).and_then(|f| f.sync_all()).map_err(io)?;
    }
    if folder.exists() {
        // A folder cannot be renamed over another that is not empty.
        let old = tempfile::Builder::new().prefix(".old-").tempdir_in(parent).map_err(io)?;
        std::fs::rename(folder, old.path().join("was")).map_err(io)?;
    }
    std::fs::rename(new.keep(), folder).map_err(io)
}
