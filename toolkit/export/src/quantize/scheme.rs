//! Quantization scheme of a checkpoint, and what an export asks for in its place.

use super::{EmbeddingBits, Int8, Sites, WeightBits};
use serde::{Deserialize, Serialize};

/// Rounding of an int8 export that the weights of a checkpoint were trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantize {
    /// Bits of the weights of the linear layers, see `edge-export --weight-bits`.
    pub weight_bits: u8,
    /// Bits of the word embeddings, see `edge-export --embedding-bits`.
    pub embedding_bits: u8,
    /// Linear layers whose weights are stored in 4 bits: `all`, or a list of names such as
    /// `layers.0.qkv`; `edge-distill sensitivity` selects them.
    #[serde(skip_serializing_if = "Sites::is_empty")]
    pub four_bits: Sites,
}

impl Default for Quantize {
    fn default() -> Self {
        Quantize { weight_bits: 7, embedding_bits: 8, four_bits: Sites::NONE }
    }
}

/// Numbers of bits that are requested for an int8 export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// See [`Quantize::weight_bits`].
    pub weights: Option<u8>,
    /// See [`Quantize::embedding_bits`].
    pub embeddings: Option<u8>,
    /// Bits of the stored weights of all linear layers: 4, or 8 for int8 weights.
    pub linear: Option<u8>,
}

impl Quantize {
    /// Replaces the values that `bits` sets.
    ///
    /// # Errors
    /// A message, if there are no such bits.
    pub fn with(self, bits: Bits) -> Result<Self, String> {
        Ok(Quantize {
            weight_bits: bits.weights.unwrap_or(self.weight_bits),
            embedding_bits: bits.embeddings.unwrap_or(self.embedding_bits),
            four_bits: match bits.linear {
                None => self.four_bits,
                Some(4) => Sites::ALL,
                Some(8) => Sites::NONE,
                Some(other) => return Err(format!("linear_bits is {other}; expected 4 or 8")),
            },
        })
    }

    /// Numbers of bits as types of the exporter.
    ///
    /// # Errors
    /// A message, if there are no such bits.
    pub fn int8(self) -> Result<Int8, String> {
        let bits =
            |name: &str, bits: u8, taken: &str| format!("{name} is {bits}; expected {taken}");
        Ok(Int8 {
            weights: WeightBits::of(self.weight_bits)
                .ok_or_else(|| bits("weight_bits", self.weight_bits, "7 or 8"))?,
            embeddings: EmbeddingBits::of(self.embedding_bits)
                .ok_or_else(|| bits("embedding_bits", self.embedding_bits, "4 or 8"))?,
            four_bits: self.four_bits,
        })
    }
}
