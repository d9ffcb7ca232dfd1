//! Cache in the layout of `huggingface_hub`:
//!
//! ```text
//! models--organization--name/
//!     refs/main                      commit of `main` at the last request
//!     blobs/<hash>                   files, by their hash from the hub
//!     snapshots/<commit>/<file>      links to the blobs
//! ```

use crate::Error;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RepositoryKind {
    Model,
    Dataset,
}

/// Location of a repository in the cache.
pub(super) struct Repository {
    kind: RepositoryKind,
    name: String,
    folder: PathBuf,
}

impl Repository {
    /// Creates the location; `name` is `organization/name`.
    pub(super) fn new(cache: &Path, kind: RepositoryKind, name: &str) -> Self {
        let kinds = match kind {
            RepositoryKind::Model => "models",
            RepositoryKind::Dataset => "datasets",
        };
        let folder = cache.join(format!("{kinds}--{}", name.replace('/', "--")));
        Repository { kind, name: name.into(), folder }
    }

    pub(super) fn kind(&self) -> RepositoryKind {
        self.kind
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn snapshot_of(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Folder of the commit that was last requested, if there is one.
    pub(super) fn snapshot(&self) -> Result<Option<PathBuf>, Error> {
        let path = self.folder.join("refs/main");
        match std::fs::read_to_string(&path) {
            Ok(commit) => {
                Ok(Some(self.snapshot_of(commit.trim())).filter(|snapshot| snapshot.is_dir()))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// Stores the commit of `main`.
    pub(super) fn set_head(&self, commit: &str) -> Result<(), Error> {
        Ok(crate::files::write(&self.folder.join("refs/main"), commit)?)
    }

    /// Path of the blob with this hash. Its folder is created.
    pub(super) fn blob(&self, hash: &str) -> Result<PathBuf, Error> {
        let folder = self.folder.join("blobs");
        create(&folder)?;
        Ok(folder.join(hash))
    }

    /// Adds a blob to the folder of a commit.
    pub(super) fn link(&self, commit: &str, file: &str, blob: &Path) -> Result<(), Error> {
        let path = self.snapshot_of(commit).join(file);
        let parent = path.parent().expect("a file in a folder");
        create(parent)?;
        // The existing link may point to a deleted blob.
        if path.symlink_metadata().is_ok() {
            std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
        let linked = link(blob, &path, file.split('/').count() + 1);
        match linked {
            // Another process was faster.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|e| Error::io(&path, e)),
        }
    }
}

/// Creates a relative link, so that the cache may be moved.
#[cfg(unix)]
fn link(blob: &Path, path: &Path, up: usize) -> std::io::Result<()> {
    let mut target = PathBuf::from("../".repeat(up));
    target.push("blobs");
    target.push(blob.file_name().expect("a file"));
    std::os::unix::fs::symlink(target, path)
}

/// Creates a hard link, because symbolic links need a privilege on other systems.
#[cfg(not(unix))]
fn link(blob: &Path, path: &Path, _up: usize) -> std::io::Result<()> {
    std::fs::hard_link(blob, path)
}

fn create(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))
}

/// Files in a folder and its subfolders, with `/` between.
pub(super) fn files_in(folder: &Path) -> Result<Vec<String>, Error> {
    fn visit(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), Error> {
        for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            let entry = entry.map_err(|e| Error::io(folder, e))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // A check with `exists` alone could follow a link in a circle.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                visit(&entry.path(), &format!("{name}/"), files)?;
            } else if entry.path().is_file() {
                files.push(name);
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    visit(folder, "", &mut files)?;
    files.sort();
    Ok(files)
}
