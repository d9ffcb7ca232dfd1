//! Dropping the last layers of a checkpoint that has an exit before them.
//!
//! The exit after a layer was trained together with the layers before it, so what is left is a whole
//! model: its answers are those that the exit gave, and its last exit is that one.

use crate::Error;
use crate::checkpoint::{Checkpoint, ModelType, read_file};
use crate::model::{copy_files, names, replace_folder, write_tensors};
use candle_core::{Device, safetensors};
use serde_json::Value;
use std::path::Path;

/// Writes `checkpoint` to `output` with its first `layers` layers and the exits among them. The exit
/// policy is left out: it promised an accuracy beside that of the full depth, which is another one.
///
/// # Errors
/// [`Error::Checkpoint`] if there is no exit after that layer, [`Error::Io`].
pub fn keep_first(checkpoint: &Path, layers: usize, output: &Path) -> Result<(), Error> {
    let opened = Checkpoint::open(checkpoint)?;
    let path = checkpoint.join("exits.json");
    let exits = opened.exits.as_ref().map_or(&[][..], |exits| &exits.layers);
    let Some(last) = exits.iter().position(|l| *l == layers).filter(|_| layers > 0) else {
        let problem = format!("there is no exit after layer {layers}; there are after {exits:?}");
        return Err(Error::checkpoint(path, problem));
    };
    let model = opened.config.model_type;
    let dropped: Vec<String> = (layers..opened.config.layers)
        .map(|layer| names::layer_stem(model, layer))
        .chain((last + 1..exits.len()).map(|exit| format!("exits.{exit}.")))
        .collect();
    let mut tensors = safetensors::load(opened.weights_path(), &Device::Cpu)?;
    tensors.retain(|name, _| {
        !dropped.iter().any(|stem| name.starts_with(stem) || name.contains(&format!(".{stem}")))
    });
    let number = match model {
        ModelType::Bert => "num_hidden_layers",
        ModelType::DistilBert => "n_layers",
    };
    let edit = |name: &str, change: &dyn Fn(&mut Value)| {
        let path = checkpoint.join(name);
        let mut json: Value = serde_json::from_slice(&read_file(&path)?)
            .map_err(|e| Error::checkpoint(&path, e.to_string()))?;
        change(&mut json);
        Ok::<_, Error>(serde_json::to_string_pretty(&json).expect("plain JSON") + "\n")
    };
    let changed = [
        ("config.json", edit("config.json", &|json| json[number] = layers.into())?),
        (
            "exits.json",
            edit("exits.json", &|json| {
                json["layers"] = exits[..=last].into();
                json.as_object_mut().map(|exits| exits.remove("policy"));
            })?,
        ),
    ];
    replace_folder(output, |folder| {
        copy_files(checkpoint, folder, &["model.safetensors", "config.json", "exits.json"])?;
        for (name, text) in &changed {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|e| Error::io(&path, e))?;
        }
        write_tensors(&tensors, &folder.join("model.safetensors"))
    })
}
