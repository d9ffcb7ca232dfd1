//! Reads a checkpoint in Hugging Face layout.
//!
//! | file | |
//! |---|---|
//! | `config.json` | `model_type` of one of the [families](crate::families) |
//! | `model.safetensors` | f64, f32, f16 or bf16, with the current or the legacy names |
//! | `tokenizer.json` | or `vocab.txt`, with the [settings beside them](edge_runtime::pretrained::tokenizer) |
//! | `exits.json` | only if the checkpoint has exit heads of this toolkit |

mod config;
mod exits;
mod read;
mod tokenizer;
mod tokens;
mod weights;

pub use config::Config;
pub use exits::{Exits, Pooling};
pub use read::{Stored, StoredEmbeddings};
pub use tokenizer::{TOKENIZER_CONFIG, tokenizer_config};

use crate::Error;
use crate::files;
use edge_runtime::tokenizer::Tokenizer;
use safetensors::tensor::TensorView;
use std::path::PathBuf;
use weights::WeightsFile;

/// A checkpoint on disk. Its weights are read on demand.
pub struct Checkpoint {
    /// Content of `config.json`.
    pub config: Config,
    /// Content of `exits.json`.
    pub exits: Option<Exits>,
    folder: PathBuf,
    weights: WeightsFile,
}

impl Checkpoint {
    /// Opens a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is missing, [`Error::Checkpoint`] if a file is unusable.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        if files::unfinished(&folder) {
            let problem = "a program ended while it wrote this checkpoint; run its command again";
            return Err(Error::checkpoint(folder, problem));
        }
        let config = Config::read(&folder.join("config.json"))?;
        let exits = folder.join("exits.json");
        let exits = exits.exists().then(|| Exits::read(&exits, &config.encoder)).transpose()?;
        let weights = WeightsFile::open(&folder)?;
        Ok(Checkpoint { config, exits, folder, weights })
    }

    /// Name of the checkpoint's folder.
    pub fn name(&self) -> String {
        let full = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        full.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// Path of `config.json`.
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// Path of the weights.
    pub fn weights_path(&self) -> PathBuf {
        self.weights.path.clone()
    }

    /// Bytes of `tokenizer.json`, or of a tokenizer made from `vocab.txt` if only that exists. The
    /// [settings beside it](edge_runtime::pretrained::tokenizer) are applied.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Checkpoint`] if both files are missing or a
    /// setting is unsupported.
    pub fn tokenizer(&self) -> Result<Vec<u8>, Error> {
        tokenizer::read(&self.folder)
    }

    /// Tokenizer that truncates texts to `max_tokens` or to the maximum of the network.
    ///
    /// # Errors
    /// Errors of [`tokenizer`](Self::tokenizer); [`Error::Tokenizer`] if the file does not contain
    /// a tokenizer.
    pub fn text_tokenizer(&self, max_tokens: usize) -> Result<Tokenizer, Error> {
        Tokenizer::from_json(&self.tokenizer()?, max_tokens.min(self.config.encoder.max_tokens))
            .map(|tokenizer| tokenizer.with_vocabulary(self.config.encoder.vocabulary))
            .map_err(Error::Tokenizer)
    }

    /// Tokens of the tokenizer without an embedding, by id. A text with one of them cannot be
    /// classified.
    ///
    /// # Errors
    /// Errors of [`tokenizer`](Self::tokenizer).
    pub fn tokens_without_embedding(&self) -> Result<Vec<String>, Error> {
        tokens::beyond(&self.tokenizer()?, self.config.encoder.vocabulary)
            .map_err(|e| Error::checkpoint(self.folder.join("tokenizer.json"), e.to_string()))
    }

    /// True if there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.weights.has(name)
    }

    /// Current names of all tensors.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.weights.names().map(String::as_str)
    }

    /// Stored tensor, by its current name.
    ///
    /// # Errors
    /// [`Error::Tensor`] if it is missing.
    pub fn stored(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.weights.get(name).map_err(|problem| self.wrong(name, problem))
    }

    fn wrong(&self, name: &str, problem: String) -> Error {
        Error::Tensor { path: self.weights_path(), tensor: name.into(), problem }
    }

    /// Reads a tensor as f32, row major.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the tensor is missing, has another shape or number format, or contains
    /// NaN or infinity.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let tensor = self.stored(name)?;
        let wrong = |problem: String| self.wrong(name, problem);
        if tensor.shape() != shape {
            return Err(wrong(format!(
                "has the shape {:?}; expected {shape:?}, from config.json",
                tensor.shape()
            )));
        }
        let values = weights::floats(&tensor).map_err(wrong)?;
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => {
                Err(wrong(format!("contains {v}; expected finite values, the weights are damaged")))
            }
            None => Ok(values),
        }
    }
}
