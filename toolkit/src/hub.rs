//! Checkpoints and data sets of the Hugging Face hub, by name.
//!
//! Downloads are stored in the cache of Python's `huggingface_hub`, in its layout, so both share
//! their downloads. Every file is checked against the hash from the hub, and gets its name only
//! when it is complete.

mod cache;
mod download;
mod http;
mod select;

use crate::Error;
use cache::{Repository, RepositoryKind};
use std::path::{Path, PathBuf};

/// Address of the hub, path of the cache, and credentials.
#[derive(Clone)]
pub struct Settings {
    /// Address of the hub.
    pub endpoint: String,
    /// Token of an account, for private and gated repositories. It is sent only to the endpoint and
    /// withheld from redirect targets.
    pub token: Option<String>,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// File of certificates (PEM) that replaces the built-in ones, which a company's proxy may
    /// need.
    pub certificates: Option<PathBuf>,
    /// True if only the cache is used, without the network.
    pub offline: bool,
    /// True if large downloads show a progress bar.
    pub progress: bool,
}

impl Settings {
    /// Settings of the environment, like those of Python's `huggingface_hub`. The variables are
    /// `HF_ENDPOINT`, `HF_TOKEN` (or the file `HF_TOKEN_PATH`, which `hf auth login` writes),
    /// `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`, and `SSL_CERT_FILE` or `REQUESTS_CA_BUNDLE`.
    /// `HTTPS_PROXY` and related variables are applied too.
    pub fn from_env() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let home = variable("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let home = || variable("HOME").or_else(|| variable("USERPROFILE")).unwrap_or_default();
            variable("XDG_CACHE_HOME")
                .map_or_else(|| Path::new(&home()).join(".cache"), PathBuf::from)
                .join("huggingface")
        });
        let token_path =
            variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = variable("HF_TOKEN")
            .or_else(|| std::fs::read_to_string(token_path).ok())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&&*v.trim().to_uppercase()));
        Settings {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            token,
            cache: variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            certificates: variable("SSL_CERT_FILE")
                .or_else(|| variable("REQUESTS_CA_BUNDLE"))
                .map(PathBuf::from),
            offline,
            progress: true,
        }
    }
}

/// Client of the hub, or only of its cache.
pub struct Hub {
    settings: Settings,
    client: http::Client,
}

impl Hub {
    /// Client with the settings of the environment, see [`Settings::from_env`].
    ///
    /// # Errors
    /// Errors of [`Hub::new`].
    pub fn from_env() -> Result<Self, Error> {
        Self::new(Settings::from_env())
    }

    /// Client with these settings.
    ///
    /// # Errors
    /// [`Error::Hub`] if the endpoint is an invalid address, or the certificate file lacks
    /// certificates; [`Error::Io`] if that file cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let client = http::Client::new(&settings)?;
        Ok(Hub { settings, client })
    }

    /// Folder of a checkpoint: the local folder with this path, or else the downloaded checkpoint
    /// with this name (`organization/name`).
    ///
    /// # Errors
    /// [`Error::Hub`] if the checkpoint is missing, or cannot be downloaded; [`Error::Io`] if the
    /// cache cannot be written.
    pub fn resolve_checkpoint(&self, name_or_path: &str) -> Result<PathBuf, Error> {
        match Path::new(name_or_path).is_dir() {
            true => Ok(name_or_path.into()),
            false => self.checkpoint(name_or_path),
        }
    }

    /// Files of a data set: the local file with this path, or the split's files in the local folder
    /// with this path. Otherwise the split's files of the data set with this name on the hub.
    ///
    /// # Errors
    /// Errors of [`Hub::resolve_checkpoint`].
    pub fn resolve_dataset(&self, name_or_path: &str, split: &str) -> Result<Vec<PathBuf>, Error> {
        let path = Path::new(name_or_path);
        if path.is_file() {
            return Ok(vec![path.into()]);
        }
        if path.is_dir() {
            let files = cache::files_in(path)?;
            let chosen = select::split(&files, None, split)
                .map_err(|problem| Error::hub(name_or_path, problem))?;
            return Ok(chosen.iter().map(|file| path.join(file)).collect());
        }
        self.dataset(name_or_path, split)
    }

    /// Downloads a checkpoint and returns its folder: config.json, model.safetensors, the
    /// tokenizer, and exits.json if it exists.
    ///
    /// # Errors
    /// Errors of [`Hub::resolve_checkpoint`].
    pub fn checkpoint(&self, name: &str) -> Result<PathBuf, Error> {
        let (organization, rest) = split_name(name, "checkpoint")?;
        if rest.contains('/') {
            return Err(Error::hub(name, "a checkpoint's name on the hub is organization/name"));
        }
        let id = format!("{organization}/{rest}");
        let repository = Repository::new(&self.settings.cache, RepositoryKind::Model, &id);
        let (folder, _) = self.fetch(&repository, select::checkpoint)?;
        Ok(folder)
    }

    /// Downloads a split of a data set and returns its files: one file, or all of its shards.
    ///
    /// The names of the files begin with the split. In a repository of several data sets, each in a
    /// folder, the folder is part of the name: `nyu-mll/glue/sst2`.
    ///
    /// # Errors
    /// Errors of [`Hub::resolve_checkpoint`].
    pub fn dataset(&self, name: &str, split: &str) -> Result<Vec<PathBuf>, Error> {
        let (organization, rest) = split_name(name, "data set")?;
        let (rest, folder) = match rest.split_once('/') {
            Some((rest, folder)) => (rest, Some(folder)),
            None => (rest, None),
        };
        let id = format!("{organization}/{rest}");
        let repository = Repository::new(&self.settings.cache, RepositoryKind::Dataset, &id);
        let (snapshot, files) =
            self.fetch(&repository, |files| select::split(files, folder, split))?;
        Ok(files.iter().map(|file| snapshot.join(file)).collect())
    }

    /// Downloads the selected files of a repository into the cache. Returns the folder of this
    /// commit, and the names of the files.
    fn fetch(
        &self,
        repository: &Repository,
        choose: impl Fn(&[String]) -> Result<Vec<String>, String>,
    ) -> Result<(PathBuf, Vec<String>), Error> {
        let name = repository.name();
        if self.settings.offline {
            let how = format!(
                "in the cache ({}). HF_HUB_OFFLINE is set, so only the cache was searched; run once \
                 without it, or copy the cache of a machine that has it",
                repository.folder().display()
            );
            let snapshot =
                repository.snapshot()?.ok_or_else(|| Error::hub(name, format!("not {how}")))?;
            let files = choose(&cache::files_in(&snapshot)?)
                .map_err(|problem| Error::hub(name, format!("{problem}; this is {how}")))?;
            return Ok((snapshot, files));
        }
        let listing = self.client.listing(repository.kind(), name)?;
        let all: Vec<String> = listing.files.iter().map(|file| file.name.clone()).collect();
        let chosen = choose(&all).map_err(|problem| Error::hub(name, problem))?;
        let snapshot = repository.snapshot_of(&listing.commit);
        for file in listing.files.iter().filter(|file| chosen.contains(&file.name)) {
            if !snapshot.join(&file.name).exists() {
                let blob = download::blob(
                    &self.client,
                    repository,
                    &listing.commit,
                    file,
                    self.settings.progress,
                )?;
                repository.link(&listing.commit, &file.name, &blob)?;
            }
        }
        repository.set_head(&listing.commit)?;
        Ok((snapshot, chosen))
    }
}

/// Organization, and the rest of the name.
fn split_name<'a>(name: &'a str, what: &str) -> Result<(&'a str, &'a str), Error> {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let is_file = select::is_data(name);
    match name.split_once('/') {
        Some((organization, rest)) if !is_file && name.split('/').all(is_part) => {
            Ok((organization, rest))
        }
        _ => Err(Error::hub(
            name,
            format!(
                "no such file or folder, and no name of a {what} on the hub; expected \
                     organization/name"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let variables = variables.to_vec();
        Settings::from(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn the_environment_is_that_of_huggingface_hub() {
        let s = settings(&[("HOME", "/u")]);
        assert_eq!(s.endpoint, "https://huggingface.co");
        assert_eq!(s.cache, Path::new("/u/.cache/huggingface/hub"));
        assert!(s.token.is_none() && !s.offline);
        let s = settings(&[("HOME", "/u"), ("XDG_CACHE_HOME", "/c"), ("HF_TOKEN", " t\n")]);
        assert_eq!(s.cache, Path::new("/c/huggingface/hub"));
        assert_eq!(s.token.as_deref(), Some("t"));
        let s = settings(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", "true"), ("HF_TOKEN", "")]);
        assert_eq!(s.cache, Path::new("/h/hub"));
        assert!(s.offline && s.token.is_none());
        let s = settings(&[("HF_HUB_CACHE", "/k"), ("HF_ENDPOINT", "http://m"), ("HF_HOME", "/h")]);
        assert_eq!((&*s.cache, &*s.endpoint), (Path::new("/k"), "http://m"));
    }

    #[test]
    fn the_token_may_lie_in_a_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "secret\n").unwrap();
        let home = home.path().to_str().unwrap();
        assert_eq!(settings(&[("HF_HOME", home)]).token.as_deref(), Some("secret"));
        let both = settings(&[("HF_HOME", home), ("HF_TOKEN", "other")]);
        assert_eq!(both.token.as_deref(), Some("other"));
    }

    #[test]
    fn paths_are_not_asked_for_on_the_hub() {
        for name in ["bert", "data/train.tsv", "./a/b", "../a/b", "/a/b", "a//b", "a/b c", "a/../b"]
        {
            let error = split_name(name, "checkpoint").unwrap_err().to_string();
            assert!(error.contains("no such file or folder"), "{error}");
        }
        assert_eq!(split_name("a/b-c_1.0", "checkpoint").unwrap(), ("a", "b-c_1.0"));
    }
}
