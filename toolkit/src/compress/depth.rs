//! Removal of a checkpoint's last layers, after one of its exits.
//!
//! The exit after a layer was trained together with the layers before it, so the rest is a complete
//! model. It gives the answers of that exit, which becomes the last one.

use super::rewrite::Rewritten;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::files::Output;
use std::path::Path;

/// Writes `checkpoint` to `output` with its first `layers` layers and their exits. The exit policy
/// is left out, because its accuracy was measured against the old full depth.
///
/// # Errors
/// [`Error::Checkpoint`] if there is no exit after that layer, [`Error::Output`] if `output` may not be written,
/// [`Error::Io`].
pub fn keep_first(
    checkpoint: &Path,
    layers: usize,
    output: impl Into<Output>,
) -> Result<(), Error> {
    let output = output.into();
    output.check(&[checkpoint])?;
    let opened = Checkpoint::open(checkpoint)?;
    let exits = opened.exits.as_ref().map_or(&[][..], |exits| &exits.layers);
    let Some(last) = exits.iter().position(|l| *l == layers).filter(|_| layers > 0) else {
        let problem = format!("there is no exit after layer {layers}; expected one of {exits:?}");
        return Err(Error::checkpoint(checkpoint.join("exits.json"), problem));
    };
    let config = &opened.config;
    let dropped: Vec<String> = (layers..config.encoder.layers)
        .map(|layer| config.family.layer(layer))
        .chain((last + 1..exits.len()).map(|exit| format!("exits.{exit}.")))
        .collect();
    let mut new = Rewritten::read(checkpoint, &opened)?;
    new.tensors.retain(|name, _| {
        !dropped.iter().any(|stem| name.starts_with(stem) || name.contains(&format!(".{stem}")))
    });
    new.config[config.family.keys.layers] = layers.into();
    if let Some(serde_json::Value::Array(widths)) = new.config.get_mut("layer_widths") {
        widths.truncate(layers);
    }
    if let Some(json) = &mut new.exits {
        json["layers"] = exits[..=last].into();
    }
    new.write(checkpoint, &output)
}
