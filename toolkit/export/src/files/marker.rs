//! Marker of a folder that this program wrote, with the names of its own files.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Name of the marker file in an output.
pub(super) const MARKER: &str = ".edge-distill";

/// Name of the folder, in an output, with complete files that replace those of the output.
const READY: &str = ".edge-distill.ready";

/// Prefix of the name of a folder that is being filled.
pub(super) const NEW: &str = ".edge-distill.new-";

const FORMAT: &str = "edge-distill output";

/// Names of checkpoint files in any output. A file with one of these names is replaced or removed
/// with the checkpoint, because beside another checkpoint it would change it.
pub(super) const CHECKPOINT: [&str; 12] = [
    "added_tokens.json",
    "config.json",
    "curve.csv",
    "curve.svg",
    "exits.json",
    "model.safetensors",
    "recipe.toml",
    "sensitivity.jsonl",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

/// Content of a marker.
#[derive(Serialize, Deserialize)]
pub(super) struct Marker {
    format: String,
    version: u32,
    /// Files that were written together with the marker.
    pub files: BTreeSet<String>,
}

impl Marker {
    pub fn new(files: BTreeSet<String>) -> Self {
        Marker { format: FORMAT.into(), version: 1, files }
    }

    /// Reads the marker of a folder, if there is one.
    pub fn read(folder: &Path) -> Option<Self> {
        let json = std::fs::read(folder.join(MARKER)).ok()?;
        let mut marker: Marker = serde_json::from_slice(&json).ok()?;
        // Only plain names are kept; a path could lead into another folder.
        marker.files.retain(|name| Path::new(name).file_name().is_some_and(|n| n == &**name));
        (marker.format == FORMAT).then_some(marker)
    }

    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_string_pretty(self).expect("plain JSON") + "\n";
        std::fs::write(folder.join(MARKER), json)
    }
}

/// Returns true if an entry of a folder belongs to the mechanism that writes outputs.
pub(super) fn is_internal(name: &str) -> bool {
    name == MARKER || name == READY || name.starts_with(NEW)
}

/// Returns true if a program ended while it replaced the files of this folder, so some are older
/// than others. The next command that writes to the folder completes the replacement.
pub fn unfinished(folder: &Path) -> bool {
    Marker::read(&folder.join(READY)).is_some()
}

/// Replaces the files of the older output with those of `new`, a folder in `folder` with a marker.
pub(super) fn replace(folder: &Path, new: &Path) -> io::Result<()> {
    std::fs::rename(new, folder.join(READY))?;
    super::sync_folder(folder);
    finish(folder)
}

/// Completes a replacement. Each step may have been done already.
pub(super) fn finish(folder: &Path) -> io::Result<()> {
    let ready = folder.join(READY);
    if let Some(new) = Marker::read(&ready) {
        let older = Marker::read(folder).map(|marker| marker.files).unwrap_or_default();
        for name in older.iter().map(String::as_str).chain(CHECKPOINT) {
            if !new.files.contains(name) {
                ignore_missing(std::fs::remove_file(folder.join(name)))?;
            }
        }
        for name in &new.files {
            ignore_missing(std::fs::rename(ready.join(name), folder.join(name)))?;
        }
        std::fs::rename(ready.join(MARKER), folder.join(MARKER))?;
        super::sync_folder(folder);
    }
    ignore_missing(std::fs::remove_dir(ready))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the folders that a killed program was filling.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_unfinished(folder: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(NEW) {
            std::fs::remove_dir_all(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
        }
    }
    Ok(())
}

/// Copies the files of a checkpoint, except those named in `except`.
///
/// # Errors
/// [`Error::Io`].
pub fn copy_files(from: &Path, to: &Path, except: &[&str]) -> Result<(), Error> {
    for entry in std::fs::read_dir(from).map_err(|e| Error::io(from, e))? {
        let file = entry.map_err(|e| Error::io(from, e))?.path();
        let name = file.file_name().unwrap_or_default();
        let internal = name.to_str().is_some_and(is_internal);
        if file.is_file() && !internal && !except.iter().any(|e| name == *e) {
            std::fs::copy(&file, to.join(name)).map_err(|e| Error::io(&file, e))?;
        }
    }
    Ok(())
}
