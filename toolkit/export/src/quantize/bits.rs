//! Number formats of the weights, and the number of bits of each part.

use super::{Site, Sites};

/// Number format of the weights and of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// Signed bytes. Word embeddings, or weights of some linear layers, are stored two to a byte if
    /// they have 4 bits.
    Int8(Int8),
}

impl Precision {
    /// Default precision of an int8 export.
    pub const INT8: Precision = Precision::Int8(Int8::new(WeightBits::Seven, EmbeddingBits::Eight));
}

/// Range of the word embeddings, which are a third to a half of a small model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingBits {
    /// −7…7, with a scale for every [`EMBEDDING_GROUP`] columns of a row.
    Four,
    /// −127…127, with one scale per row.
    Eight,
}

impl EmbeddingBits {
    /// Finds the variant with a number of bits.
    pub fn of(bits: u8) -> Option<Self> {
        [EmbeddingBits::Four, EmbeddingBits::Eight].into_iter().find(|b| b.bits() == bits)
    }

    /// The number of bits.
    pub fn bits(self) -> u8 {
        match self {
            EmbeddingBits::Four => 4,
            EmbeddingBits::Eight => 8,
        }
    }
}

/// Maximum number of columns of a word embedding that share a scale.
pub const EMBEDDING_GROUP: usize = 64;

/// Range of the int8 weights of the linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightBits {
    /// −63…63: the products of AVX2 (`vpmaddubsw`) and of relaxed WebAssembly SIMD are exact.
    Seven,
    /// −127…127.
    Eight,
}

impl WeightBits {
    /// Finds the variant with a number of bits.
    pub fn of(bits: u8) -> Option<Self> {
        [WeightBits::Seven, WeightBits::Eight].into_iter().find(|b| b.bits() == bits)
    }

    /// The number of bits.
    pub fn bits(self) -> u8 {
        match self {
            WeightBits::Seven => 7,
            WeightBits::Eight => 8,
        }
    }

    /// Largest weight.
    pub fn largest(self) -> i8 {
        match self {
            WeightBits::Seven => 63,
            WeightBits::Eight => 127,
        }
    }
}

/// Number of bits of each part of an int8 model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int8 {
    /// Weights of the linear layers, with a scale for each output.
    pub weights: WeightBits,
    /// Word embeddings.
    pub embeddings: EmbeddingBits,
    /// Linear layers whose weights are products of a code of 4 bits and a multiplier.
    pub four_bits: Sites,
}

impl Int8 {
    /// Numbers of bits without linear layers of 4 bits.
    pub const fn new(weights: WeightBits, embeddings: EmbeddingBits) -> Self {
        Int8 { weights, embeddings, four_bits: Sites::NONE }
    }

    /// Grid to which the weights of a linear layer are rounded.
    pub fn linear(&self, site: Option<Site>) -> Grid {
        match site.is_some_and(|site| self.four_bits.contains(site)) {
            true => Grid::Products(self.weights),
            false => Grid::Integers(self.weights),
        }
    }
}

/// Set of values that the weights of an output may have, before their scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Integers of this number of bits.
    Integers(WeightBits),
    /// Integers of this number of bits that are products of a code and a multiplier.
    Products(WeightBits),
}
