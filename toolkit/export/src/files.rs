//! Writing of files and folders: everything that the toolkit writes comes into being here.
//!
//! A [`Draft`] is a file that is complete before it takes its place. An [`Output`] is a folder that is new, empty,
//! or an earlier output. Neither replaces anything else.

mod draft;
mod marker;
mod output;

pub use draft::{Draft, write};
pub use marker::{copy_files, remove_unfinished, unfinished};
pub use output::{Output, new_folder};

use std::path::Path;

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A builder of temporary files and folders with the usual permissions, as the umask leaves them.
fn usual<'a>(prefix: &'a str, mode: u32) -> tempfile::Builder<'a, 'a> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// Writes a folder's own entries to disk, where the system can.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = std::fs::File::open(folder) {
        _ = folder.sync_all();
    }
}
