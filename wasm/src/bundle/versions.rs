//! Reading of manifests, of this version and of earlier ones.

use super::manifest::{FORMAT, MANIFEST, Manifest, NO_DIGEST, VERSION, sha256_hex};
use super::manifest_v1;
use crate::Error;
use serde::Deserialize;

impl Manifest {
    /// Reads and checks `manifest.json`.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the name `manifest.json`, if it is damaged, has another version,
    /// contradicts itself, or cannot be parsed as JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |problem: String| Error::bundle(MANIFEST, problem);
        // Other versions may have other fields, so the version is checked first.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
            digest: String,
        }
        let head: Head = serde_json::from_slice(bytes)
            .map_err(|e| wrong(format!("not a manifest of an Edge Distil bundle: {e}")))?;
        if head.format != FORMAT {
            return Err(wrong(format!("format is `{}`; expected `{FORMAT}`", head.format)));
        }
        if ![manifest_v1::VERSION, VERSION].contains(&head.version) {
            return Err(wrong(format!(
                "version is {}, this runtime reads the versions {} and {VERSION}; export the model \
                 again, or use a runtime of that version",
                head.version,
                manifest_v1::VERSION,
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| wrong(format!("not UTF-8: {e}")))?;
        if head.digest.len() != NO_DIGEST.len()
            || sha256_hex(text.replacen(&head.digest, NO_DIGEST, 1).as_bytes()) != head.digest
        {
            return Err(wrong("damaged: its SHA-256 differs from its `digest`".into()));
        }
        let manifest = match head.version {
            manifest_v1::VERSION => manifest_v1::read(bytes),
            _ => serde_json::from_slice(bytes),
        };
        let manifest: Manifest = manifest.map_err(|e| wrong(e.to_string()))?;
        manifest.check().map_err(wrong)?;
        Ok(manifest)
    }
}
