//! Weights of a checkpoint as they are stored, by the parts of the network.

use super::Checkpoint;
use crate::Error;
use crate::encoder::{EncoderConfig, LayerPart};

/// Weight and bias of a module.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// `[outputs, inputs]` of a linear layer, row major, or `[width]` of a norm.
    pub weight: Vec<f32>,
    /// `[outputs]`, or `[width]` of a norm.
    pub bias: Vec<f32>,
}

/// Word, position and token type embeddings.
#[derive(Clone, Debug)]
pub struct StoredEmbeddings {
    /// Word embeddings, `[vocabulary, hidden]`.
    pub words: Vec<f32>,
    /// Position embeddings, `[max_tokens, hidden]`.
    pub positions: Vec<f32>,
    /// `[token types, hidden]`, for a family with token types.
    pub types: Option<Vec<f32>>,
    /// Layer norm of the sum.
    pub norm: Stored,
}

impl StoredEmbeddings {
    /// Position embeddings with that of token type 0 added, the type of every single text.
    pub fn positions_of_single_texts(&self) -> Vec<f32> {
        let mut positions = self.positions.clone();
        if let Some(types) = &self.types {
            for row in positions.chunks_exact_mut(self.norm.bias.len()) {
                row.iter_mut().zip(types).for_each(|(p, t)| *p += t);
            }
        }
        positions
    }
}

impl Checkpoint {
    /// Prefix of the encoder's names: that of a classifier's checkpoint, or none for a bare encoder.
    pub fn prefix(&self) -> &'static str {
        let prefix = self.config.family.prefix;
        if self.has(&format!("{prefix}embeddings.word_embeddings.weight")) { prefix } else { "" }
    }

    /// Name of a module of layer `index`, counted from 0.
    pub fn module(&self, index: usize, part: LayerPart) -> String {
        format!("{}{}", self.prefix(), self.config.family.module(index, part))
    }

    /// Name of the dense layer of the own head; a bare encoder has it without the prefix.
    pub fn own_dense(&self) -> &'static str {
        let (dense, prefix) = (self.config.family.head.dense, self.config.family.prefix);
        if self.has(&format!("{dense}.weight")) { dense } else { dense.trim_start_matches(prefix) }
    }

    /// Reads the weight and the bias of a module.
    ///
    /// # Errors
    /// [`Error::Tensor`] if one is missing, or the weight has another shape.
    pub fn stored_module(&self, name: &str, shape: &[usize]) -> Result<Stored, Error> {
        Ok(Stored {
            weight: self.tensor(&format!("{name}.weight"), shape)?,
            bias: self.tensor(&format!("{name}.bias"), &shape[..1])?,
        })
    }

    /// Reads a module of layer `index`, counted from 0.
    ///
    /// # Errors
    /// [`Error::Tensor`] if it is missing or has another shape.
    pub fn layer_part(&self, index: usize, part: LayerPart) -> Result<Stored, Error> {
        self.stored_module(&self.module(index, part), &part.shape(&self.config.encoder, index))
    }

    /// Reads the embeddings.
    ///
    /// # Errors
    /// [`Error::Tensor`] if a table is missing or has another shape.
    pub fn embeddings(&self) -> Result<StoredEmbeddings, Error> {
        let EncoderConfig { hidden, vocabulary, max_tokens, token_types, .. } = self.config.encoder;
        let at = format!("{}embeddings", self.prefix());
        let table = |name: &str, rows: usize| {
            self.tensor(&format!("{at}.{name}_embeddings.weight"), &[rows, hidden])
        };
        Ok(StoredEmbeddings {
            words: table("word", vocabulary)?,
            positions: table("position", max_tokens)?,
            types: (token_types > 0).then(|| table("token_type", token_types)).transpose()?,
            norm: self.stored_module(&format!("{at}.LayerNorm"), &[hidden])?,
        })
    }
}
