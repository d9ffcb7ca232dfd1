//! Opening of a bundle from a file, from memory or from a stream.
//!
//! The functions differ in the memory that contains the weights. Int8 embedding tables, half of a
//! small model, are used in place. Weights that are packed for the processor are used in place too,
//! if their address is a multiple of 64. Other weights are copied into the engine's layout.

use super::{Classifier, Loader};
use crate::bundle::MANIFEST;
use crate::engine::Engine;
use crate::{Error, Limits, lfs};
use bytes::Bytes;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Bytes of one read. Each piece is parsed before the next read. Memory thus contains only the
/// entry that is being read and the data that the engine keeps.
const PIECE: usize = 16 << 10;

impl Classifier {
    /// Opens a bundle in a file and reads it into memory.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; errors of [`from_bytes`](Self::from_bytes).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let wrong = |cause| Error::Io { path: path.into(), cause };
        let mut file = File::open(path).map_err(wrong)?;
        load(&mut file, wrong)
    }

    /// Opens a bundle in a file and maps it into memory. The system reads data that the engine uses
    /// in place on first use, and drops it when memory is short.
    ///
    /// # Safety
    /// The file must stay unchanged while the classifier lives. After a change the classifier
    /// computes with unverified bytes. A read behind the end of a shortened file ends the process
    /// (by the signal SIGBUS on Unix). To replace a model, write a new file and rename it.
    ///
    /// # Errors
    /// Errors of [`open`](Self::open).
    #[cfg(any(unix, windows))]
    pub unsafe fn open_mapped(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let wrong = |cause| Error::Io { path: path.into(), cause };
        let file = File::open(path).map_err(wrong)?;
        // SAFETY: the caller keeps the file as it is.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(wrong)?;
        Self::from_bytes(Bytes::from_owner(map))
    }

    /// Opens a bundle that is part of the program: `include_bytes!("model.edge")`. Data that the
    /// engine can use in place is not copied.
    ///
    /// # Errors
    /// Errors of [`from_bytes`](Self::from_bytes).
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, Error> {
        Self::from_bytes(Bytes::from_static(bytes))
    }

    /// Opens a bundle in memory, which the classifier keeps.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Graph`] or [`Error::Tokenizer`], with the name of the part at
    /// fault.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, Error> {
        let mut loader = Loader::new(Limits::default());
        loader.push(bytes)?;
        loader.finish()
    }

    /// Opens a bundle from a reader, which is read from front to back.
    ///
    /// # Errors
    /// [`Error::Stream`] if reading fails; errors of [`from_bytes`](Self::from_bytes).
    pub fn from_reader(mut reader: impl Read) -> Result<Self, Error> {
        load(&mut reader, |e| Error::Stream(e.to_string()))
    }

    /// Opens a bundle that arrives piece by piece. To answer before it is complete, use [`Loader`].
    ///
    /// # Errors
    /// [`Error::Stream`] if the stream fails; errors of [`from_bytes`](Self::from_bytes).
    pub async fn from_stream<S, B, F>(stream: S) -> Result<Self, Error>
    where
        S: futures_core::Stream<Item = Result<B, F>>,
        B: Into<Bytes>,
        F: std::fmt::Display,
    {
        let mut stream = std::pin::pin!(stream);
        let mut loader = Loader::new(Limits::default());
        while let Some(piece) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            loader.push(piece.map_err(|e| Error::Stream(e.to_string()))?)?;
        }
        loader.finish()
    }
}

impl<E: Engine> Classifier<E> {
    /// Opens a bundle in memory for an engine that has no stages yet.
    ///
    /// # Errors
    /// Errors of [`from_bytes`](Classifier::from_bytes), and of the engine for a stage.
    pub fn with_engine(bytes: impl Into<Bytes>, engine: E) -> Result<Self, Error> {
        let mut loader = Loader::with_engine(Limits::default(), engine);
        loader.push(bytes)?;
        loader.finish()
    }
}

fn load(
    reader: &mut dyn Read,
    wrong: impl Fn(std::io::Error) -> Error,
) -> Result<Classifier, Error> {
    let mut loader = Loader::new(Limits::default());
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return loader.finish(),
            Ok(read) if lfs::is_pointer(&piece[..read]) => {
                return Err(Error::bundle(MANIFEST, lfs::POINTER));
            }
            Ok(read) => loader.push(Bytes::copy_from_slice(&piece[..read]))?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(wrong(e)),
        }
    }
}
