//! Rewriting a checkpoint with other weights.

use crate::Error;
use crate::checkpoint::{Checkpoint, Exits};
use crate::files::{Output, copy_files};
use crate::network::{own_head, read_tensors, write_tensors};
use candle_core::Tensor;
use edge_export::text_file::read_file;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Contents of a checkpoint's files, to be changed.
#[derive(Clone)]
pub(super) struct Rewritten {
    /// Stored weights, by their current names.
    pub tensors: HashMap<String, Tensor>,
    /// Contents of `config.json`.
    pub config: Value,
    /// Contents of `exits.json`, if there is one. The policy is removed, because its accuracy was
    /// measured with the old weights.
    pub exits: Option<Value>,
}

/// Files that describe the old weights and are not copied.
const OF_OLD_WEIGHTS: [&str; 5] =
    ["README.md", "curve.csv", "curve.svg", "model.edge", "sensitivity.jsonl"];

impl Rewritten {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Checkpoint`].
    pub fn read(folder: &Path, opened: &Checkpoint) -> Result<Self, Error> {
        let json = |name: &str| {
            let path = folder.join(name);
            serde_json::from_slice::<Value>(&read_file(&path)?)
                .map_err(|e| Error::checkpoint(&path, e.to_string()))
        };
        let mut exits = opened.exits.as_ref().map(|_| json("exits.json")).transpose()?;
        if let Some(Value::Object(exits)) = &mut exits {
            exits.remove("policy");
        }
        Ok(Rewritten { tensors: read_tensors(opened)?, config: json("config.json")?, exits })
    }

    /// Returns the tensor of this name.
    ///
    /// # Errors
    /// [`Error::Tensor`] if it is missing.
    pub fn tensor(&mut self, opened: &Checkpoint, name: &str) -> Result<&mut Tensor, Error> {
        self.tensors.get_mut(name).ok_or_else(|| Error::Tensor {
            path: opened.weights_path(),
            tensor: name.into(),
            problem: "is missing".into(),
        })
    }

    /// Writes the checkpoint to `output`, with all other files of `folder` that still apply.
    ///
    /// # Errors
    /// [`Error::Output`] if `output` may not be written, [`Error::Io`].
    pub fn write(mut self, folder: &Path, output: &Output) -> Result<(), Error> {
        let exits = self.exits.clone().map(serde_json::from_value).transpose();
        let exits: Option<Exits> =
            exits.map_err(|e| Error::checkpoint(folder.join("exits.json"), e.to_string()))?;
        own_head::agree(&mut self.tensors, &mut self.config, exits.as_ref());
        let mut changed = vec!["model.safetensors", "config.json", "exits.json"];
        changed.extend(OF_OLD_WEIGHTS);
        let json = [("config.json", Some(&self.config)), ("exits.json", self.exits.as_ref())];
        output.replace(|new| {
            copy_files(folder, new, &changed)?;
            for (name, value) in json {
                let Some(value) = value else { continue };
                let text = serde_json::to_string_pretty(value).expect("plain JSON") + "\n";
                let path = new.join(name);
                std::fs::write(&path, text).map_err(|e| Error::io(&path, e))?;
            }
            write_tensors(&self.tensors, &new.join("model.safetensors"))
        })
    }
}
