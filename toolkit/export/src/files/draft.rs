//! A file that is completed before it replaces its target.

use super::{parent, sync_folder, usual};
use crate::Error;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that has not replaced its target yet.
///
/// - A regular file is written beside the target and renamed, so a failure keeps the older file. An
///   older file's permissions are kept; a new file has the default ones. Missing parent folders are
///   created.
/// - A symbolic link is followed: the linked file is replaced, and the link is kept.
/// - A device, a FIFO, or an open descriptor (`/dev/stdout`) receives the bytes once the draft is
///   complete.
pub struct Draft {
    file: NamedTempFile,
    usual: Permissions,
    target: PathBuf,
    place: Place,
}

/// Kind of a target.
enum Place {
    /// A regular file, which may not exist yet, and its path without symbolic links.
    Regular(PathBuf),
    /// A stream of bytes.
    Stream,
}

/// Maximum number of symbolic links that are followed from one path.
const LINKS: usize = 40;

impl Place {
    fn of(target: &Path) -> io::Result<Self> {
        match std::fs::metadata(target) {
            Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => Ok(Place::Stream),
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Self::followed(target),
        }
    }

    fn followed(target: &Path) -> io::Result<Self> {
        let mut path = target.to_owned();
        for _ in 0..LINKS {
            if !path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
                return Ok(Place::Regular(path));
            }
            // Links in /proc are open descriptors; their text may be something other than a path.
            if parent(&path).canonicalize()?.starts_with("/proc") {
                return Ok(Place::Stream);
            }
            path = parent(&path).join(std::fs::read_link(&path)?);
        }
        Err(io::Error::other("too many symbolic links"))
    }
}

impl Draft {
    /// Starts an empty draft.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(target: &Path) -> Result<Self, Error> {
        let io = |e| Error::io(target, e);
        let place = Place::of(target).map_err(io)?;
        let file = match &place {
            Place::Regular(path) => {
                std::fs::create_dir_all(parent(path)).map_err(io)?;
                usual(".edge-", 0o666).tempfile_in(parent(path))
            }
            Place::Stream => NamedTempFile::new(),
        };
        let file = file.map_err(io)?;
        let usual = file.as_file().metadata().map_err(io)?.permissions();
        Ok(Draft { file, usual, target: target.into(), place })
    }

    /// Writes a draft with the function `write`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(
        target: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<Self, Error> {
        let mut draft = Self::create(target)?;
        write(draft.file()).map_err(|e| Error::io(target, e))?;
        Ok(draft)
    }

    /// Open file of the draft.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Path of the draft until it is committed.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns true if the target is a device, a FIFO or an open descriptor, which have no folder
    /// for further files.
    pub fn is_stream(&self) -> bool {
        matches!(self.place, Place::Stream)
    }

    /// Replaces the target with the draft and returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(self) -> Result<u64, Error> {
        let Draft { file, usual, target, place } = self;
        let io = |e| Error::io(&target, e);
        // Opened again by its path: a writer may have replaced the file that was opened before.
        let mut draft = OpenOptions::new().read(true).write(true).open(file.path()).map_err(io)?;
        let bytes = draft.metadata().map_err(io)?.len();
        let path = match place {
            Place::Regular(path) => path,
            Place::Stream => {
                let mut stream = OpenOptions::new().append(true).open(&target).map_err(io)?;
                io::copy(&mut draft, &mut stream).map_err(io)?;
                return Ok(bytes);
            }
        };
        draft.sync_all().map_err(io)?;
        match std::fs::metadata(&path) {
            Ok(older) => keep(&older, file.path()).map_err(io)?,
            Err(_) => std::fs::set_permissions(file.path(), usual).map_err(io)?,
        }
        file.persist(&path).map_err(|e| io(e.error))?;
        sync_folder(parent(&path));
        Ok(bytes)
    }
}

/// Gives a file the permissions of an older one, and its owner if the system permits it.
fn keep(older: &Metadata, path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, chown};
        _ = chown(path, Some(older.uid()), Some(older.gid()));
    }
    std::fs::set_permissions(path, older.permissions())
}

/// Writes a whole file like a [`Draft`].
///
/// # Errors
/// [`Error::Io`].
pub fn write(target: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    Draft::write(target, |file| file.write_all(bytes.as_ref()))?.commit().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_replaces_the_older_one_and_makes_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("some/where/report.csv");
        for text in ["first", "second"] {
            write(&target, text).unwrap();
            assert_eq!(std::fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(entries(target.parent().unwrap()), 1, "nothing is left beside it");
    }

    #[test]
    fn a_failure_leaves_the_older_file_and_no_scraps() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.edge");
        write(&target, "older").unwrap();
        let failed = Draft::write(&target, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        drop(Draft::write(&target, |file| file.write_all(b"never committed")).unwrap());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "older");
        assert_eq!(entries(folder.path()), 1);
        for wrong in [folder.path(), &target.join("below a file")] {
            let error = write(wrong, "").unwrap_err().to_string();
            assert!(error.contains(&wrong.display().to_string()), "{error}");
        }
    }

    #[cfg(unix)]
    mod unix {
        use super::*;
        use std::io::Read;
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        use std::process::Command;

        fn mode(path: &Path) -> u32 {
            path.metadata().unwrap().permissions().mode() & 0o7777
        }

        #[test]
        fn a_new_file_has_the_usual_mode_and_an_older_one_keeps_its_own() {
            let folder = tempfile::tempdir().unwrap();
            let (plain, target) = (folder.path().join("plain"), folder.path().join("target"));
            File::create(&plain).unwrap();
            write(&target, "new").unwrap();
            assert_eq!(mode(&target), mode(&plain));
            for kept in [0o640, 0o600, 0o664] {
                std::fs::set_permissions(&target, Permissions::from_mode(kept)).unwrap();
                write(&target, "newer").unwrap();
                assert_eq!(mode(&target), kept);
            }
        }

        #[test]
        fn links_are_followed_and_stay() {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            write(&at("data/file"), "older").unwrap();
            symlink("data/file", at("link")).unwrap();
            symlink("link", at("second")).unwrap();
            symlink("data/later", at("dangling")).unwrap();
            for (link, file) in
                [("link", "data/file"), ("second", "data/file"), ("dangling", "data/later")]
            {
                write(&at(link), link).unwrap();
                assert!(at(link).symlink_metadata().unwrap().is_symlink(), "{link}");
                assert_eq!(std::fs::read_to_string(at(file)).unwrap(), link);
            }
            symlink("round", at("round")).unwrap();
            assert!(write(&at("round"), "").is_err());
        }

        #[test]
        fn a_device_is_written_into() {
            let folder = tempfile::tempdir().unwrap();
            let null = folder.path().join("null");
            let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).output();
            if !made.as_ref().is_ok_and(|made| made.status.success())
                || File::create(&null).is_err()
            {
                eprintln!("SKIPPED a_device_is_written_into: no device node can be made: {made:?}");
                return;
            }
            write(&null, "into the void").unwrap();
            assert!(null.symlink_metadata().unwrap().file_type().is_char_device());
            assert_eq!(entries(folder.path()), 1);
        }

        #[test]
        fn a_fifo_is_written_into() {
            let folder = tempfile::tempdir().unwrap();
            let fifo = folder.path().join("fifo");
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            let reader = std::thread::spawn({
                let fifo = fifo.clone();
                move || {
                    let mut text = String::new();
                    File::open(fifo).unwrap().read_to_string(&mut text).unwrap();
                    text
                }
            });
            write(&fifo, "through the pipe").unwrap();
            assert_eq!(reader.join().unwrap(), "through the pipe");
            assert!(fifo.symlink_metadata().unwrap().file_type().is_fifo());
        }
    }
}
