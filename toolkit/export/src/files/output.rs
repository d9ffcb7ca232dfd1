//! Output folder of a command.

use super::marker::{
    self, CHECKPOINT, MARKER, Marker, NEW, finish, is_internal, remove_unfinished,
};
use super::{parent, sync_folder, usual};
use crate::Error;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A folder for results. It is new, empty, or an earlier output, which contains a marker. Files of
/// other origin in it are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Path of the folder.
    pub folder: PathBuf,
    /// True if the folder may lack a marker. Its files with the names of checkpoint files are then
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

/// Content of an output folder.
enum Content {
    /// The folder does not exist.
    Missing,
    /// Only files that the program wrote, with these names.
    Own(BTreeSet<String>),
    /// Files of other origin, in a folder without a marker.
    Others(Vec<String>),
}

impl Output {
    /// A folder in this one with the same settings.
    pub fn join(&self, name: &str) -> Self {
        Output { folder: self.folder.join(name), force: self.force }
    }

    /// Checks that the folder may be written, and that writing keeps `inputs`, the files and
    /// folders that are read. It must be called before anything is computed.
    ///
    /// # Errors
    /// [`Error::Output`] if writing is forbidden, [`Error::Io`] if it fails.
    pub fn check(&self, inputs: &[&Path]) -> Result<(), Error> {
        let io = |e| Error::io(&self.folder, e);
        let existing = match self.own()? {
            None => self.folder.ancestors().skip(1).map(or_here).find(|folder| folder.exists()),
            Some(_) => Some(&*self.folder),
        };
        // An unwritable folder is detected now instead of after the work.
        tempfile::tempfile_in(existing.unwrap_or(Path::new("."))).map_err(io)?;
        self.check_inputs(inputs)
    }

    /// Names of the program's own files in the folder; `None` if the folder does not exist.
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
            // A missing input is reported by its reader.
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

    /// Creates the folder, to be filled step by step.
    ///
    /// # Errors
    /// [`Error::Output`] if the folder must not be written, [`Error::Io`].
    pub fn open(&self) -> Result<(), Error> {
        let io = |e| Error::io(&self.folder, e);
        self.own()?;
        std::fs::create_dir_all(&self.folder).map_err(io)?;
        if Marker::read(&self.folder).is_none() {
            Marker::new(BTreeSet::new()).write(&self.folder).map_err(io)?;
        }
        Ok(())
    }

    /// Fills the folder. `fill` receives an empty folder; after its success the files of an earlier
    /// output are replaced. All other files are kept.
    ///
    /// # Errors
    /// [`Error::Output`] if the folder must not be written, [`Error::Io`], and errors of `fill`.
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
        // Files are replaced in place, because the folder may be a mount or the current folder of
        // the user.
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

/// Writes the marker of a folder with the names of its files, and returns them.
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

/// Fills a new folder beside its final place and renames it, so it is never visible half filled.
///
/// # Errors
/// [`Error::Io`], and errors of `fill`.
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
    // The folder has moved, so its old path must not be removed.
    _ = new.keep();
    sync_folder(parent(folder));
    Ok(())
}

#[cfg(test)]
mod tests;
