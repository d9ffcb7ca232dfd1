//! Reading of whole files: bytes, and text in UTF-8.

use crate::Error;
use edge_runtime::encoding::{self, UTF8_MARK};
use edge_runtime::lfs;
use std::path::Path;

/// Number of bytes from which the encoding of a file is recognized.
const ENCODING_BYTES: usize = 1 << 13;

/// Reads a file as text, without a byte order mark.
///
/// # Errors
/// [`Error::Io`]; [`Error::Data`] if the file is a Git LFS pointer, is not UTF-8 or contains a NUL
/// character.
pub fn text_file(path: &Path) -> Result<String, Error> {
    let mut bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    if lfs::is_pointer(&bytes) {
        return Err(Error::data(path, None, lfs::POINTER));
    }
    if let Some(encoding) = encoding::recognize(&bytes[..bytes.len().min(ENCODING_BYTES)]) {
        return Err(Error::data(path, None, format!("the file is {encoding}")));
    }
    if bytes.starts_with(UTF8_MARK.as_bytes()) {
        bytes.drain(..UTF8_MARK.len());
    }
    let line = |bytes: &[u8]| Some(1 + bytes.iter().filter(|b| **b == b'\n').count());
    match String::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            Some(at) => Err(Error::data(
                path,
                line(&text.as_bytes()[..at]),
                "there is a NUL character; the file is damaged, or not text",
            )),
            None => Ok(text),
        },
        Err(e) => {
            let good = e.utf8_error().valid_up_to();
            Err(Error::data(
                path,
                line(&e.as_bytes()[..good]),
                "the file is not UTF-8; save it as UTF-8",
            ))
        }
    }
}

/// Reads the bytes of a file of a checkpoint.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] if the file is a Git LFS pointer.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    if lfs::is_pointer(&bytes) { Err(Error::checkpoint(path, lfs::POINTER)) } else { Ok(bytes) }
}
