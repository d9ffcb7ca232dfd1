//! Mean of the weights of several runs (Wortsman et al. 2022, "Model soups").
//!
//! Runs with the same start and different orders of batches end in one valley of the loss. Their
//! mean is lower in the valley than the runs themselves.

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::files::{self, Output, copy_files};
use crate::network::{own_head, read_tensors, write_tensors};
use candle_core::{DType, Tensor};
use edge_export::text_file::read_file;
use std::collections::HashMap;
use std::path::PathBuf;

/// Writes a checkpoint with the means of the weights of `checkpoints`. Number formats of the
/// weights and all other files come from the first checkpoint.
///
/// # Errors
/// [`Error::Checkpoint`] if the checkpoints differ in more than the values of their weights,
/// [`Error::Output`] if `output` must not be written, [`Error::Io`].
///
/// # Panics
/// If `checkpoints` is empty.
pub fn average(checkpoints: &[PathBuf], output: impl Into<Output>) -> Result<(), Error> {
    let output = output.into();
    output.check(&checkpoints.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let first = &checkpoints[0];
    let opened = Checkpoint::open(first)?;
    let stored = tensors(&opened)?;
    let mut sums: HashMap<String, Tensor> = stored
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), tensor.to_dtype(DType::F32)?)))
        .collect::<candle_core::Result<_>>()?;
    for folder in &checkpoints[1..] {
        let other = Checkpoint::open(folder)?;
        let wrong = |problem: String| Error::checkpoint(other.weights_path(), problem);
        let differs = |what: &str| wrong(format!("differs in {what} from {}", first.display()));
        if other.config != opened.config {
            return Err(differs("its config.json"));
        }
        if other.tokenizer()? != opened.tokenizer()? {
            return Err(differs("its tokenizer"));
        }
        let shape = |e: &crate::checkpoint::Exits| (e.layers.clone(), e.hidden, e.pooling);
        if other.exits.as_ref().map(shape) != opened.exits.as_ref().map(shape) {
            return Err(differs("its exits"));
        }
        let tensors = tensors(&other)?;
        if tensors.len() != sums.len() {
            return Err(differs("the number of its tensors"));
        }
        for (name, tensor) in tensors {
            let sum = sums
                .get_mut(&name)
                .filter(|sum| sum.shape() == tensor.shape())
                .ok_or_else(|| differs(&format!("its tensor `{name}`")))?;
            *sum = sum.add(&tensor.to_dtype(DType::F32)?)?;
        }
    }
    let mut means = sums
        .iter()
        .map(|(name, sum)| {
            let mean = sum.affine(1.0 / checkpoints.len() as f64, 0.0)?;
            Ok((name.clone(), mean.to_dtype(stored[name].dtype())?))
        })
        .collect::<candle_core::Result<_>>()?;
    output.replace(|folder| {
        copy_files(first, folder, &["model.safetensors", "config.json"])?;
        let path = opened.config_path();
        let mut config = serde_json::from_slice(&read_file(&path)?)
            .map_err(|e| Error::checkpoint(&path, e.to_string()))?;
        own_head::agree(&mut means, &mut config, opened.exits.as_ref());
        let text = serde_json::to_string_pretty(&config).expect("plain JSON") + "\n";
        files::write(&folder.join("config.json"), text)?;
        write_tensors(&means, &folder.join("model.safetensors"))
    })
}

/// Tensors to average. With exits, the copy of the last exit is excluded, because it is created
/// again.
fn tensors(checkpoint: &Checkpoint) -> Result<HashMap<String, Tensor>, Error> {
    let mut tensors = read_tensors(checkpoint)?;
    tensors.retain(|name, _| checkpoint.exits.is_none() || !own_head::is_part(name));
    Ok(tensors)
}
