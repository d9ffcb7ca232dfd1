//! Files that come into being whole: written beside the target, then renamed.

use crate::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file beside its target.
pub(super) struct Beside {
    file: NamedTempFile,
    target: PathBuf,
}

impl Beside {
    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(
        target: &Path,
        write: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<Self, Error> {
        let io = |e| Error::io(target, e);
        if target.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        }
        let folder = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut file =
            tempfile::Builder::new().prefix(".edge-export-").tempfile_in(folder).map_err(io)?;
        write(file.as_file_mut()).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        Ok(Beside { file, target: target.into() })
    }

    /// Where it lies now.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it where it belongs, and gives its size.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn rename(self) -> Result<u64, Error> {
        let io = |e| Error::io(&self.target, e);
        let bytes = self.file.as_file().metadata().map_err(io)?.len();
        // Temporary files are private to their owner, a model is not.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o644);
            self.file.as_file().set_permissions(mode).map_err(io)?;
        }
        self.file.persist(&self.target).map_err(|e| Error::io(&self.target, e.error))?;
        Ok(bytes)
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn of_bytes(target: &Path, bytes: &[u8]) -> Result<Self, Error> {
        Self::write(target, |file| file.write_all(bytes))
    }
}
