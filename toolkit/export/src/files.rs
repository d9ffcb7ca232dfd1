//! Writes all files and folders of the toolkit.
//!
//! A [`Draft`] is a file that is completed before it replaces its target. An [`Output`] is a folder
//! that is new, empty, or an earlier output. Both replace nothing else.

mod draft;
mod marker;
mod output;

pub use draft::{Draft, write};
pub use marker::{copy_files, remove_unfinished, unfinished};
pub use output::{Output, new_folder};

use std::path::Path;

/// Parent folder of a path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Builder of temporary files and folders with the default permissions of the umask.
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

/// Writes the entries of a folder to disk, if the system can.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = std::fs::File::open(folder) {
        _ = folder.sync_all();
    }
}
