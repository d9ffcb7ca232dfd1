//! A folder that a command writes.

use super::marker::{
    self, CHECKPOINT, MARKER, Marker, NEW, finish, is_internal, remove_unfinished,
};
use super::{parent, sync_folder, usual};
use crate::Error;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A folder for results. It is new, empty, or an earlier output, which a marker in it shows; files of others
/// in it stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The folder.
    pub folder: PathBuf,
    /// True if the folder may be one without a marker. Its files that have the names of a checkpoint's are then
    /// replaced.
    pub force: bool,
}

impl From<PathBuf> for Output {
    fn from(folder: PathBuf) -> Self {
        Output { folder, force: false }
    }
}

impl From<&PathBuf> for Output {
    fn from(folder: &PathBuf) -> Self {
        folder.clone().into()
    }
}

impl From<&Path> for Output {
    fn from(folder: &Path) -> Self {
        folder.to_owned().into()
    }
}

/// The content of an output's folder.
enum Content {
    /// Nothing: the folder does not exist.
    Missing,
    /// No file but the program's own, of these names.
    Own(BTreeSet<String>),
    /// Files of others, in a folder without a marker.
    Others(Vec<String>),
}

impl Output {
    /// A folder in this one, to be written in the same way.
    pub fn join(&self, name: &str) -> Self {
        Output { folder: self.folder.join(name), force: self.force }
    }

    /// Checks that the folder may be written, and that this leaves `inputs`, the files and folders that are read,
    /// as they are. Call it before anything is computed.
    ///
    /// # Errors
    /// [`Error::Output`] if it may not, [`Error::Io`] if it cannot be written.
    pub fn check(&self, inputs: &[&Path]) -> Result<(), Error> {
        let io = |e| Error::io(&self.folder, e);
        let existing = match self.own()? {
            None => self.folder.ancestors().skip(1).map(or_here).find(|folder| folder.exists()),
            Some(_) => Some(&*self.folder),
        };
        // A folder that cannot be written is found now, not after the work.
        tempfile::tempfile_in(existing.unwrap_or(Path::new("."))).map_err(io)?;
        self.check_inputs(inputs)
    }

    /// The names of the program's own files in the folder; `None` if the folder does not exist.
    fn own(&self) -> Result<Option<BTreeSet<String>>, Error> {
        let own = match self.content()? {
            Content::Missing => return Ok(None),
            Content::Own(own) => own,
            Content::Others(_) if self.force => BTreeSet::new(),
            Content::Others(names) => {
                let more = match names.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                return Err(self.wrong(format!(
                    "holds files that this program did not write ({}{more}); expected a new or an empty folder, or \
                     an earlier output. With --force its files stay, except those with the names of a checkpoint's",
                    names[0]
                )));
            }
        };
        if self.folder.canonicalize().is_ok_and(|full| full.file_name().is_none()) {
            return Err(self.wrong("is the root of the file system; expected a folder in it"));
        }
        let own: BTreeSet<_> = own.into_iter().chain(CHECKPOINT.map(String::from)).collect();
        match own.iter().find(|name| self.folder.join(name).is_dir()) {
            Some(name) => Err(self.wrong(format!("its `{name}` is a folder; a file goes there"))),
            None => Ok(Some(own)),
        }
    }

    fn content(&self) -> Result<Content, Error> {
        let io = |e| Error::io(&self.folder, e);
        match std::fs::metadata(&self.folder) {
            Ok(found) if !found.is_dir() => {
                return Err(self.wrong("is a file; expected a folder, or the name of a new one"));
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return match self.folder.is_symlink() {
                    true => Err(self.wrong("is a link to a folder that does not exist")),
                    false => Ok(Content::Missing),
                };
            }
            found => found.map_err(io)?,
        };
        finish(&self.folder).map_err(io)?;
        if let Some(marker) = Marker::read(&self.folder) {
            return Ok(Content::Own(marker.files));
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(io)? {
            names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !is_internal(name));
        names.sort();
        Ok(if names.is_empty() { Content::Own(BTreeSet::new()) } else { Content::Others(names) })
    }

    fn check_inputs(&self, inputs: &[&Path]) -> Result<(), Error> {
        let Ok(here) = self.folder.canonicalize() else { return Ok(()) };
        let mut own = self.own()?.unwrap_or_default();
        if Marker::read(&here).is_some_and(|marker| marker.files.contains("recipe.toml")) {
            // The run writes the same recipe again.
            own.remove("recipe.toml");
        }
        for input in inputs {
            // Its reader reports an input that is missing.
            let Ok(full) = input.canonicalize() else { continue };
            if full == here {
                return Err(self.wrong("is read by this command; choose another folder to write"));
            }
            let name = full.file_name().unwrap_or_default().to_string_lossy();
            if full.is_file() && full.parent() == Some(&here) && own.contains(&*name) {
                let problem = format!(
                    "`{name}` in it is read by this command and would be replaced; choose another folder to write"
                );
                return Err(self.wrong(problem));
            }
        }
        Ok(())
    }

    fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::Output { path: self.folder.clone(), problem: problem.into() }
    }

    /// Makes the folder, to be filled step by step.
    ///
    /// # Errors
    /// [`Error::Output`] if it may not be written, [`Error::Io`].
    pub fn open(&self) -> Result<(), Error> {
        let io = |e| Error::io(&self.folder, e);
        self.own()?;
        std::fs::create_dir_all(&self.folder).map_err(io)?;
        if Marker::read(&self.folder).is_none() {
            Marker::new(BTreeSet::new()).write(&self.folder).map_err(io)?;
        }
        Ok(())
    }

    /// Fills the folder. An earlier output's files are replaced when `fill`, which is given an empty folder, has
    /// succeeded; all other files in it stay.
    ///
    /// # Errors
    /// [`Error::Output`] if it may not be written, [`Error::Io`], and those of `fill`.
    pub fn replace<E: From<Error>>(
        &self,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(own) = self.own()? else {
            return new_folder(&self.folder, |new| {
                fill(new)?;
                Ok(mark(new).map(drop)?)
            });
        };
        // In place: the folder may be a mount, or the one that the user is in.
        let io = |e| Error::io(&self.folder, e);
        remove_unfinished(&self.folder)?;
        let new = usual(NEW, 0o777).tempdir_in(&self.folder).map_err(io)?;
        fill(new.path())?;
        let files = mark(new.path())?;
        let others = |name: &&String| !own.contains(*name) && self.folder.join(name).exists();
        if let Some(name) = files.iter().find(others) {
            let problem = format!("`{name}` in it was not written by this program; move it away");
            return Err(self.wrong(problem).into());
        }
        sync_files(new.path())?;
        Ok(marker::replace(&self.folder, &new.keep()).map_err(io)?)
    }
}

/// Marks a folder with the names of its files, and returns them.
fn mark(folder: &Path) -> Result<BTreeSet<String>, Error> {
    let io = |e| Error::io(folder, e);
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        files.insert(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    files.remove(MARKER);
    Marker::new(files.clone()).write(folder).map_err(io)?;
    Ok(files)
}

fn sync_files(folder: &Path) -> Result<(), Error> {
    let io = |e| Error::io(folder, e);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        File::open(path).and_then(|f| f.sync_all()).map_err(io)?;
    }
    Ok(())
}

fn or_here(folder: &Path) -> &Path {
    if folder == Path::new("") { Path::new(".") } else { folder }
}

/// Fills a folder that does not exist beside its place, and renames it: it is never seen half filled.
///
/// # Errors
/// [`Error::Io`], and those of `fill`.
pub fn new_folder<E: From<Error>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let io = |e| Error::io(folder, e);
    std::fs::create_dir_all(parent(folder)).map_err(io)?;
    let new = usual(NEW, 0o777).tempdir_in(parent(folder)).map_err(io)?;
    fill(new.path())?;
    sync_files(new.path())?;
    std::fs::rename(new.path(), folder).map_err(io)?;
    // It is no longer where it would be removed.
    _ = new.keep();
    sync_folder(parent(folder));
    Ok(())
}

#[cfg(test)]
mod tests;
