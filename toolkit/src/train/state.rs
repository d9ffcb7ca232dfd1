//! State of a run between two steps, on disk.

use super::optimizer::AdamW;
use crate::Error;
use crate::files::{self, new_folder, remove_unfinished};
use crate::network::write_tensors;
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Progress of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Number of completed steps.
    pub step: usize,
    /// Number of all steps.
    pub steps: usize,
    /// SHA-256 of the inputs of the run: recipe, texts, labels, teacher.
    pub run: String,
    /// Smoothed loss, and its minimum so far.
    pub smoothed: Option<(f64, f64)>,
}

const STEM: &str = "state-";

/// Stored states, the latest last.
fn folders(work: &Path) -> Result<Vec<(usize, PathBuf)>, Error> {
    let io = |e| Error::io(work, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(work).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(step) = name.strip_prefix(STEM).and_then(|s| s.parse().ok()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Stores a state. The previous state is removed only after this one is complete, so a killed run
/// always has a state.
///
/// # Errors
/// [`Error::Io`].
pub fn store(work: &Path, optimizer: &AdamW, position: &Position) -> Result<(), Error> {
    let tensors = optimizer.state()?;
    new_folder(&work.join(format!("{STEM}{}", position.step)), |folder| {
        write_tensors(&tensors, &folder.join("tensors.safetensors"))?;
        let path = folder.join("position.json");
        std::fs::write(&path, serde_json::to_vec(position).expect("plain JSON"))
            .map_err(|e| Error::io(path, e))
    })?;
    clear(work, position.step)
}

/// Reads the latest stored position, if there is one.
///
/// # Errors
/// [`Error::Io`], [`Error::Data`].
pub fn position(work: &Path) -> Result<Option<Position>, Error> {
    let Some((_, folder)) = folders(work)?.pop() else { return Ok(None) };
    let path = folder.join("position.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| damaged(path, &e))
}

fn damaged(path: PathBuf, why: &dyn std::fmt::Display) -> Error {
    let problem = format!("the stored state is damaged ({why}); remove its folder to begin again");
    Error::data(path, None, problem)
}

/// Restores the state of a position.
///
/// # Errors
/// [`Error::Data`] if the file is damaged.
pub fn restore(work: &Path, optimizer: &mut AdamW, step: usize) -> Result<(), Error> {
    let path = work.join(format!("{STEM}{step}")).join("tensors.safetensors");
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu)
        .map_err(|e| damaged(path.clone(), &e))?;
    optimizer.restore(&tensors, step).map_err(|e| damaged(path, &e))
}

/// Name of the file that marks a complete run.
const COMPLETE: &str = "complete.json";

#[derive(Serialize, Deserialize)]
struct Complete {
    run: String,
    held_out: Vec<f64>,
}

/// Marks a run as complete, and removes its state.
///
/// # Errors
/// [`Error::Io`].
pub fn complete(work: &Path, run: &str, held_out: &[f64]) -> Result<(), Error> {
    let complete = Complete { run: run.into(), held_out: held_out.into() };
    let json = serde_json::to_string(&complete).expect("plain JSON");
    files::write(&work.join(COMPLETE), json)?;
    clear(work, usize::MAX)
}

/// Held-out accuracies of the run with this digest, if it is complete.
///
/// # Errors
/// [`Error::Io`].
pub fn completed(work: &Path, run: &str) -> Result<Option<Vec<f64>>, Error> {
    let path = work.join(COMPLETE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    let complete: Option<Complete> = serde_json::from_slice(&bytes).ok();
    Ok(complete.filter(|c| c.run == run).map(|c| c.held_out))
}

/// Removes the results of earlier runs.
///
/// # Errors
/// [`Error::Io`].
pub fn begin(work: &Path) -> Result<(), Error> {
    let path = work.join(COMPLETE);
    if path.exists() {
        std::fs::remove_file(&path).map_err(|e| Error::io(path, e))?;
    }
    clear(work, usize::MAX)
}

/// Removes every stored state except that of `step`, and the unfinished folders of a killed run.
///
/// # Errors
/// [`Error::Io`].
pub fn clear(work: &Path, step: usize) -> Result<(), Error> {
    for (stored, folder) in folders(work)? {
        if stored != step {
            std::fs::remove_dir_all(&folder).map_err(|e| Error::io(folder, e))?;
        }
    }
    Ok(remove_unfinished(work)?)
}
