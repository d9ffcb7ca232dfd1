//! Reading a checkpoint in Hugging Face layout.
//!
//! | file | |
//! |---|---|
//! | `config.json` | `model_type` `bert` or `distilbert` |
//! | `model.safetensors` | f64, f32, f16 or bf16, with the current or the legacy names |
//! | `tokenizer.json` | or `vocab.txt`, with the [settings beside them](edge_runtime::pretrained::tokenizer) |
//! | `exits.json` | only if the checkpoint has exit heads of ours |

mod config;
mod tokenizer;
mod tokens;
mod weights;

pub(crate) use tokenizer::{TOKENIZER_CONFIG, tokenizer_config};

pub use config::{Bits, Config, Exits, ModelType, Pooling, Quantize, Widths};

use crate::Error;
use crate::files;
use candle_core::{DType, Tensor};
use edge_runtime::lfs;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
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
        let exits = exits.exists().then(|| Exits::read(&exits, &config)).transpose()?;
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

    /// The tokens that the tokenizer has and the embeddings lack, by id: a text with one of them has
    /// no answer.
    ///
    /// # Errors
    /// Errors of [`tokenizer`](Self::tokenizer).
    pub fn tokens_without_embedding(&self) -> Result<Vec<String>, Error> {
        tokens::beyond(&self.tokenizer()?, self.config.vocabulary)
            .map_err(|e| Error::checkpoint(self.folder.join("tokenizer.json"), e.to_string()))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.weights.has(name)
    }

    /// All tensors as they are stored, by their current names.
    ///
    /// # Errors
    /// [`Error::Tensor`] if one cannot be read.
    pub(crate) fn tensors(&self) -> Result<HashMap<String, Tensor>, Error> {
        let read = |name: &String| match self.weights.get(name) {
            Ok(tensor) => Ok((name.clone(), tensor)),
            Err(problem) => {
                let (path, tensor) = (self.weights_path(), name.clone());
                Err(Error::Tensor { path, tensor, problem })
            }
        };
        self.weights.names().map(read).collect()
    }

    /// A tensor as f32, row major.
    ///
    /// # Errors
    /// [`Error::Tensor`] if it is missing, of another shape or type, or holds a value that is not
    /// finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let wrong = |problem: String| Error::Tensor {
            path: self.weights_path(),
            tensor: name.into(),
            problem,
        };
        let tensor = self.weights.get(name).map_err(wrong)?;
        if tensor.dims() != shape {
            return Err(wrong(format!(
                "has the shape {:?}, by config.json it is {shape:?}",
                tensor.dims()
            )));
        }
        if !matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
            return Err(wrong(format!("is {:?}; f64, f32, f16 and bf16 are read", tensor.dtype())));
        }
        let values: Vec<f32> = tensor
            .to_dtype(DType::F32)
            .and_then(|t| t.flatten_all()?.to_vec1())
            .map_err(|e| wrong(format!("cannot be read: {e}")))?;
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => Err(wrong(format!("holds {v}; the weights are damaged"))),
            None => Ok(values),
        }
    }
}

/// The bytes of a file.
///
/// # Errors
/// [`Error::Io`], [`Error::Checkpoint`] if Git LFS has not fetched it.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    if lfs::is_pointer(&bytes) { Err(Error::checkpoint(path, lfs::POINTER)) } else { Ok(bytes) }
}
