//! Reading and verifying `model.edge`, and writing it.
//!
//! A bundle is an uncompressed tar with its entries in the order of their use: `manifest.json`,
//! `tokenizer.json`, `stage-0.onnx`, `stage-1.onnx`, … [`BundleReader`] takes a bundle in pieces of
//! any size. It returns each entry once the entry is complete and its SHA-256 is verified. The
//! first exits can thus answer while later layers are still arriving.
//!
//! Every byte is verified: headers and padding have one permitted form ([`tar`]), and the manifest
//! contains the digests of itself and of all other entries. Memory for an entry is allocated only
//! after its size has been compared with [`Limits`].

mod manifest;
mod manifest_v1;
pub mod tar;
mod versions;

pub use manifest::{
    Encoder, Entry, FORMAT, InputLimits, MANIFEST, Manifest, Provenance, Stage, TOKENIZER, VERSION,
    WeightFormat, sha256_hex, stage_entry,
};

use crate::Error;
use bytes::{Bytes, BytesMut};
use manifest::hex;
use sha2::{Digest, Sha256};

/// Limits on the sizes in a bundle.
///
/// Memory follows the bytes that have arrived of an entry, not the size in its header. The buffer
/// is at most twice as large as those bytes, or 16 MiB larger, whichever is more. While the buffer
/// grows, the old and the new buffer are both allocated. An entry that is whole in one piece is not
/// copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the manifest, in bytes; 1 MiB by default.
    pub manifest: u64,
    /// Size of the tokenizer, in bytes; 64 MiB by default.
    pub tokenizer: u64,
    /// Size of all entries together, in bytes; 2 GiB by default, 1 GiB in WebAssembly.
    pub total: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let total = if cfg!(target_family = "wasm") { 1 << 30 } else { 2 << 30 };
        Limits { manifest: 1 << 20, tokenizer: 64 << 20, total }
    }
}

/// Bytes that are allocated ahead of the bytes that have arrived.
const AHEAD: usize = 16 << 20;

/// Bytes that are digested in one call. WebAssembly engines first run quickly compiled code, and
/// change to optimized code at a later call. One call for a whole entry would run the slow code to
/// its end.
const DIGESTED: usize = 16 << 10;

/// A verified entry.
#[derive(Clone, Debug, PartialEq)]
pub enum BundlePart {
    /// `manifest.json`.
    Manifest(Box<Manifest>),
    /// The bytes of `tokenizer.json`.
    Tokenizer(Bytes),
    /// The ONNX graph of a stage.
    Stage(usize, Bytes),
}

/// Reader that takes a bundle in pieces and returns its verified entries, in order.
#[derive(Debug)]
pub struct BundleReader {
    limits: Limits,
    manifest: Option<Manifest>,
    /// Size of the manifest in bytes.
    manifest_bytes: u64,
    /// Entries handed out so far, the manifest included.
    done: usize,
    state: State,
    pending: BytesMut,
    /// Digest of the bytes of the entry so far; `None` if the caller digests entries.
    digest: Option<Sha256>,
    /// Bytes taken so far.
    taken: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Header,
    Body(u64),
    Padding(usize),
    Trailer,
    End,
}

impl BundleReader {
    /// Creates a reader at the start of a bundle.
    pub fn new(limits: Limits) -> Self {
        BundleReader { digest: Some(Sha256::new()), ..Self::without_digest(limits) }
    }

    /// Creates a reader for a caller that digests each entry itself.
    pub(crate) fn without_digest(limits: Limits) -> Self {
        BundleReader {
            limits,
            manifest: None,
            manifest_bytes: 0,
            done: 0,
            state: State::Header,
            pending: BytesMut::new(),
            digest: None,
            taken: 0,
        }
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Size of the whole bundle in bytes, once the manifest has arrived.
    pub fn total(&self) -> Option<u64> {
        let manifest = self.manifest.as_ref()?;
        let block = tar::BLOCK as u64;
        let padded = |size: u64| block + size.next_multiple_of(block);
        let entries: u64 = manifest.entries.iter().map(|e| padded(e.bytes)).sum();
        Some(padded(self.manifest_bytes) + entries + 2 * block)
    }

    /// Takes the next piece and calls `each` for every entry that the piece completes. An entry
    /// that is whole in one piece is not copied.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the name of the entry that is damaged or too large, or the error that
    /// `each` returns. After an error the reader cannot be used again.
    pub fn push(
        &mut self,
        mut piece: Bytes,
        mut each: impl FnMut(BundlePart) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while let Some(entry) = self.arrive(&mut piece)? {
            let digest = self.digest().expect("only a caller of `arrive` goes without");
            each(self.verify(entry, &digest)?)?;
        }
        Ok(())
    }

    /// Takes bytes from the front of a piece, until an entry is whole or the piece is empty. The
    /// caller must [verify](Self::verify) the entry before the next call.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the name of the entry at which the bundle is damaged.
    pub(crate) fn arrive(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, Error> {
        loop {
            let wanted = match self.state {
                State::Header => tar::BLOCK,
                State::Body(size) => size as usize,
                State::Padding(n) => n,
                State::Trailer => 2 * tar::BLOCK,
                State::End if piece.is_empty() => return Ok(None),
                State::End => {
                    return Err(Error::bundle("end of bundle", "data after the last entry"));
                }
            };
            let Some(bytes) = self.take(piece, wanted) else {
                return Ok(None);
            };
            match self.state {
                State::Header => self.header(&bytes)?,
                State::Body(_) => return Ok(Some(bytes)),
                State::Padding(_) => {
                    if bytes.iter().any(|b| *b != 0) {
                        let entry = self.name_of(self.done - 1);
                        return Err(Error::bundle(entry, "the padding after it is not zero"));
                    }
                    let entries = self.manifest.as_ref().map_or(0, |m| m.entries.len());
                    self.state = if self.done <= entries { State::Header } else { State::Trailer };
                }
                State::Trailer => {
                    if bytes.iter().any(|b| *b != 0) {
                        return Err(Error::bundle(
                            "end of bundle",
                            "two blocks of zeros must follow the last entry",
                        ));
                    }
                    self.state = State::End;
                }
                State::End => unreachable!("handled above"),
            }
        }
    }

    /// SHA-256 of the whole entry; `None` if the caller digests entries.
    pub(crate) fn digest(&mut self) -> Option<[u8; 32]> {
        self.digest.as_mut().map(|digest| digest.finalize_reset().into())
    }

    /// Verifies a whole entry by its SHA-256. The manifest contains its own digest.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the name of the entry, if it is damaged or too large.
    pub(crate) fn verify(&mut self, bytes: Bytes, digest: &[u8]) -> Result<BundlePart, Error> {
        let size = bytes.len() as u64;
        let part = self.part(bytes, digest)?;
        self.done += 1;
        self.state = State::Padding(tar::padding(size));
        Ok(part)
    }

    /// Checks that the whole bundle has arrived.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the name of the entry at which the bundle breaks off.
    pub fn finish(&self) -> Result<(), Error> {
        if self.state == State::End {
            return Ok(());
        }
        let entry = match self.state {
            State::Padding(_) => self.name_of(self.done - 1),
            State::Trailer => "end of bundle".into(),
            _ => self.name_of(self.done),
        };
        Err(Error::bundle(entry, format!("the bundle breaks off here, after {} bytes", self.taken)))
    }

    /// Takes exactly `wanted` bytes; `None` if more must arrive first.
    fn take(&mut self, piece: &mut Bytes, wanted: usize) -> Option<Bytes> {
        let missing = wanted - self.pending.len();
        let more = piece.split_to(missing.min(piece.len()));
        self.taken += more.len() as u64;
        if let (State::Body(_), Some(digest)) = (self.state, &mut self.digest) {
            more.chunks(DIGESTED).for_each(|chunk| digest.update(chunk));
        }
        if more.len() == wanted {
            return Some(more);
        }
        if self.pending.capacity() - self.pending.len() < more.len() {
            self.pending.reserve(missing.min(AHEAD.max(more.len())));
        }
        self.pending.extend_from_slice(&more);
        (self.pending.len() == wanted).then(|| std::mem::take(&mut self.pending).freeze())
    }

    fn name_of(&self, index: usize) -> String {
        let listed = |m: &Manifest| m.entries.get(index.wrapping_sub(1)).map(|e| e.name.clone());
        self.manifest.as_ref().and_then(listed).unwrap_or_else(|| MANIFEST.into())
    }

    fn header(&mut self, bytes: &Bytes) -> Result<(), Error> {
        let expected = self.name_of(self.done);
        let block = bytes.as_ref().try_into().expect("a block was asked for");
        let Some((name, size)) = tar::parse(block) else {
            return Err(Error::bundle(
                expected,
                "its tar header is damaged, or another program than edge-export wrote it",
            ));
        };
        if name != expected {
            return Err(Error::bundle(
                expected,
                format!("found `{}` in its place", name.escape_debug()),
            ));
        }
        match &self.manifest {
            None if size > self.limits.manifest => Err(Error::bundle(
                expected,
                format!("{size} bytes, more than the limit of {}", self.limits.manifest),
            )),
            Some(manifest) if manifest.entries[self.done - 1].bytes != size => Err(Error::bundle(
                expected,
                format!(
                    "found {size} bytes; expected {}, its size in the manifest",
                    manifest.entries[self.done - 1].bytes
                ),
            )),
            _ => {
                self.state = State::Body(size);
                Ok(())
            }
        }
    }

    fn part(&mut self, bytes: Bytes, digest: &[u8]) -> Result<BundlePart, Error> {
        let Some(manifest) = &self.manifest else {
            let manifest = Manifest::from_json(&bytes)?;
            let tokenizer = manifest.entries[0].bytes;
            if tokenizer > self.limits.tokenizer {
                return Err(Error::bundle(
                    TOKENIZER,
                    format!("{tokenizer} bytes, more than the limit of {}", self.limits.tokenizer),
                ));
            }
            let total = manifest.entries.iter().try_fold(0u64, |sum, e| sum.checked_add(e.bytes));
            if total.is_none_or(|total| total > self.limits.total) {
                return Err(Error::bundle(
                    MANIFEST,
                    format!(
                        "it lists {} bytes, more than the limit of {}",
                        total.map_or("over 2⁶⁴".into(), |t| t.to_string()),
                        self.limits.total
                    ),
                ));
            }
            self.manifest_bytes = bytes.len() as u64;
            self.manifest = Some(manifest.clone());
            return Ok(BundlePart::Manifest(Box::new(manifest)));
        };
        let entry = &manifest.entries[self.done - 1];
        let actual = hex(digest);
        if actual != entry.sha256 {
            return Err(Error::bundle(
                &entry.name,
                format!("damaged: its SHA-256 is {actual}, expected {}", entry.sha256),
            ));
        }
        Ok(match self.done {
            1 => BundlePart::Tokenizer(bytes),
            n => BundlePart::Stage(n - 2, bytes),
        })
    }
}

/// Writes a bundle. `manifest.entries` is filled in from the parts.
///
/// # Errors
/// The errors of `out`; [`std::io::ErrorKind::InvalidInput`] if an entry is 8 GiB or larger.
pub fn write(
    mut manifest: Manifest,
    tokenizer: &[u8],
    stages: &[Vec<u8>],
    mut out: impl std::io::Write,
) -> std::io::Result<()> {
    let parts: Vec<(String, &[u8])> = std::iter::once((TOKENIZER.to_string(), tokenizer))
        .chain(stages.iter().enumerate().map(|(i, s)| (stage_entry(i), s.as_slice())))
        .collect();
    manifest.entries = parts
        .iter()
        .map(|(name, bytes)| Entry {
            name: name.clone(),
            bytes: bytes.len() as u64,
            sha256: sha256_hex(bytes),
        })
        .collect();
    let json = manifest.to_json();
    for (name, bytes) in std::iter::once((MANIFEST.to_string(), json.as_slice())).chain(parts) {
        let size = bytes.len() as u64;
        let header = tar::header(&name, size).ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                format!("{name} has {size} bytes; expected less than 8 GiB in an entry"),
            )
        })?;
        out.write_all(&header)?;
        out.write_all(bytes)?;
        out.write_all(&[0; tar::BLOCK][..tar::padding(size)])?;
    }
    out.write_all(&[0; 2 * tar::BLOCK])
}
