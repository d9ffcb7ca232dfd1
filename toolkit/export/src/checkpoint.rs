//! Reading a checkpoint in Hugging Face layout.
//!
//! | file | |
//! |---|---|
//! | `config.json` | `model_type` of one of the [families](crate::families) |
//! | `model.safetensors` | f64, f32, f16 or bf16, with the current or the legacy names |
//! | `tokenizer.json` | or `vocab.txt`, with the [settings beside them](edge_runtime::pretrained::tokenizer) |
//! | `exits.json` | only if the checkpoint has exit heads of ours |

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
use weights::Weights;

/// A checkpoint on disk. Its weights are read when they are asked for.
pub struct Checkpoint {
    /// `config.json`.
    pub config: Config,
    /// `exits.json`.
    pub exits: Option<Exits>,
    folder: PathBuf,
    weights: Weights,
}

impl Checkpoint {
    /// Opens a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is missing, [`Error::Checkpoint`] if one is not what it should be.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        if files::unfinished(&folder) {
            let problem = "a program ended while it wrote this checkpoint; run its command again";
            return Err(Error::checkpoint(folder, problem));
        }
        let config = Config::read(&folder.join("config.json"))?;
        let exits = folder.join("exits.json");
        let exits = exits.exists().then(|| Exits::read(&exits, &config.encoder)).transpose()?;
        let weights = Weights::open(&folder)?;
        Ok(Checkpoint { config, exits, folder, weights })
    }

    /// The name of the checkpoint's folder.
    pub fn name(&self) -> String {
        let full = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        full.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// The file that holds the settings.
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// The file that holds the weights.
    pub fn weights_path(&self) -> PathBuf {
        self.weights.path.clone()
    }

    /// The bytes of `tokenizer.json`, made from `vocab.txt` where there is only that, with the
    /// [settings beside it](edge_runtime::pretrained::tokenizer).
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Checkpoint`] if there is none or one cannot be
    /// followed.
    pub fn tokenizer(&self) -> Result<Vec<u8>, Error> {
        tokenizer::read(&self.folder)
    }

    /// The tokenizer, which cuts texts to `max_tokens` or to what the network takes.
    ///
    /// # Errors
    /// Errors of [`tokenizer`](Self::tokenizer); [`Error::Tokenizer`] if the file is no tokenizer.
    pub fn text_tokenizer(&self, max_tokens: usize) -> Result<Tokenizer, Error> {
        Tokenizer::from_json(&self.tokenizer()?, max_tokens.min(self.config.encoder.max_tokens))
            .map(|tokenizer| tokenizer.with_vocabulary(self.config.encoder.vocabulary))
            .map_err(Error::Tokenizer)
    }

    /// The tokens that the tokenizer has and the embeddings lack, by id: a text with one of them has
    /// no answer.
    ///
    /// # Errors
    /// Errors of [`tokenizer`](Self::tokenizer).
    pub fn tokens_without_embedding(&self) -> Result<Vec<String>, Error> {
        tokens::beyond(&self.tokenizer()?, self.config.encoder.vocabulary)
            .map_err(|e| Error::checkpoint(self.folder.join("tokenizer.json"), e.to_string()))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.weights.has(name)
    }

    /// The current names of all tensors.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.weights.names().map(String::as_str)
    }

    /// A tensor as it is stored, by its current name.
    ///
    /// # Errors
    /// [`Error::Tensor`] if it is missing.
    pub fn stored(&self, name: &str) -> Result<TensorView<'_>, Error> {
        self.weights.get(name).map_err(|problem| self.wrong(name, problem))
    }

    fn wrong(&self, name: &str, problem: String) -> Error {
        Error::Tensor { path: self.weights_path(), tensor: name.into(), problem }
    }

    /// A tensor as f32, row major.
    ///
    /// # Errors
    /// [`Error::Tensor`] if it is missing, of another shape or type, or holds a value that is not
    /// finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let tensor = self.stored(name)?;
        let wrong = |problem: String| self.wrong(name, problem);
        if tensor.shape() != shape {
            return Err(wrong(format!(
                "has the shape {:?}, by config.json it is {shape:?}",
                tensor.shape()
            )));
        }
        let values = weights::floats(&tensor).map_err(wrong)?;
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => Err(wrong(format!("holds {v}; the weights are damaged"))),
            None => Ok(values),
        }
    }
}
