//! Files of a checkpoint in Hugging Face layout, read as transformers reads them.
//!
//! `edge-export` reads its checkpoints with them, and [`Classifier::open_onnx`](crate::Classifier)
//! the files beside an ONNX file. Every setting of transformers is either followed, or refused by
//! name.

pub mod config;
pub mod tokenizer;

use crate::{Error, lfs};
use std::path::Path;

/// Reads a file of a checkpoint.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::File`] if it is a Git LFS pointer.
fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
    if lfs::is_pointer(&bytes) { Err(Error::file(path, lfs::POINTER)) } else { Ok(bytes) }
}
