//! A stage as a list of calls, read from its ONNX graph and checked once for all engines.
//!
//! A stage graph calls model-local functions of the domain [`DOMAIN`]. Their bodies, in the same
//! file, are standard ONNX, so that any ONNX runtime runs the file; an engine here recognises each
//! call by its name and runs a kernel of its own. What each computes, for `R` rows (the tokens of a
//! batch, or its sentences):
//!
//! | call | inputs | attribute | output |
//! |---|---|---|---|
//! | `Embed` | ids, words `[V, H]`, positions `[P, H]`, gamma `[H]`, beta `[H]` | `epsilon` | `[R, H]` |
//! | `QEmbed` | ids, words int8, scales `[V]`, positions int8, scales `[P]`, gamma, beta | `epsilon` | `[R, H]` |
//! | `Q4Embed` | ids, words uint8 `[V, H/2]`, scales `[V, G]`, positions int8, scales `[P]`, gamma, beta | `epsilon` | `[R, H]` |
//! | `Linear` + activation | x `[R, K]`, weight `[K, N]`, bias `[N]` | | `[R, N]` |
//! | `QLinear` + activation | x `[R, K]`, weight int8 `[K, N]`, scale `[N]`, bias `[N]` | | `[R, N]` |
//! | `PackedLinear` + activation | x `[R, K]`, weight int8 or uint8, packed, scale `[N]`, bias `[N]` | `zero_point` | `[R, N]` |
//! | `Q4Linear` + activation | x `[R, K]`, codes uint8 `[K/2, N]`, multipliers uint8 `[B, N]`, scale `[N]`, bias `[N]` | | `[R, N]` |
//! | `SelfAttention` | queries, keys and values side by side `[R, 3H]`, mask | `heads` | `[R, H]` |
//! | `AddNorm` | x `[R, H]`, residual `[R, H]`, gamma `[H]`, beta `[H]` | `epsilon` | `[R, H]` |
//! | `MeanPool` | x `[R, H]`, mask | | `[sentences, H]` |
//! | `FirstPool` | x `[R, H]` | | `[sentences, H]` |
//!
//! The activations are the suffixes of [`Activation`]: `Linear`, `LinearGelu`, `QLinearTanh`, …
//! A byte of `Q4Embed`'s words holds column `j` in its low half and column `j + H/2` in its high one,
//! each as `round(value / scale) + 8`; a scale is that of `H/G` columns, and `G` is even.
//! `QLinear` quantizes each row x to integers `q = round(x · 127 / max|x|)`, ties to even, and gives
//! `(q · W) · scale · (max|x| / 127) + bias`.
//!
//! `PackedLinear` is `QLinear` whose weights stand in the order of a [`Packing`], unsigned if its zero point
//! is not 0. An engine whose kernels read that order uses them where they are.
//!
//! `Q4Linear` is `QLinear` whose weights have 4 bits in the file: each int8 weight is a code of −7…7 times a
//! multiplier of 1…15 that so many neighbouring inputs of an output share. A byte of the codes holds `code + 8`
//! of input `k` in its low half and of input `k + K/2` in its high one; the multipliers of both are the
//! halves of the byte in row `k / (K / 2B)`. They are multiplied as the stage is read, so that engines see
//! the weights of a `QLinear`.

mod halves;
pub(crate) mod packing;
mod read;

use bytes::Bytes;
pub use packing::{Packing, Target};

/// The domain of the model-local functions.
pub const DOMAIN: &str = "edge.distil";
/// The version of [`DOMAIN`] that this crate runs.
pub const DOMAIN_VERSION: i64 = 1;

/// Input of stage 0: token ids, int64 `[batch, sequence]`.
pub const INPUT_IDS: &str = "input_ids";
/// Input of every stage: 1 for a token, 0 for padding, int64 `[batch, sequence]`.
pub const ATTENTION_MASK: &str = "attention_mask";
/// Input of every stage but the first: hidden states, float `[batch, sequence, hidden]`.
pub const HIDDEN: &str = "hidden";
/// Output of every stage but the last: the hidden states for the next stage.
pub const NEXT_HIDDEN: &str = "next_hidden";
/// Output of a stage with an exit: float `[batch, labels]`.
pub const LOGITS: &str = "logits";

/// A stage, ready for an engine to build.
#[derive(Clone, Debug, PartialEq)]
pub struct StageGraph {
    /// The entry it came from, for messages.
    pub name: String,
    /// Width of the hidden states that it takes; `None` for stage 0, which takes token ids.
    pub input: Option<usize>,
    /// The calls, in the order in which they run. Value 0 is the input, value `i + 1` the output
    /// of call `i`.
    pub calls: Vec<Call>,
    /// The value that goes to the next stage, with its width.
    pub next_hidden: Option<(usize, usize)>,
    /// The value that holds the logits, with the number of labels.
    pub logits: Option<(usize, usize)>,
}

impl StageGraph {
    /// Puts all packed weights back into rows, for an engine that reads no others.
    pub fn unpack(&mut self) {
        for call in &mut self.calls {
            if let Op::Linear { weight, .. } = &mut call.op {
                weight.unpack();
            }
        }
    }
}

/// One call in a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Name of the node.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The values it reads.
    pub inputs: Vec<usize>,
}

/// What a call computes, with its weights.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Word and position embeddings, summed and normalized.
    Embed {
        /// One row per word piece.
        words: Matrix,
        /// One row per position.
        positions: Matrix,
        /// The normalization.
        norm: Norm,
    },
    /// A product with a weight matrix, `[inputs, outputs]`.
    Linear {
        /// The weights; int8 has one scale per column.
        weight: Matrix,
        /// One value per output.
        bias: Vec<f32>,
        /// What is applied to the result.
        activation: Activation,
    },
    /// Multi-head attention within each sentence.
    SelfAttention {
        /// Number of heads.
        heads: usize,
    },
    /// The sum of two values, normalized.
    AddNorm(Norm),
    /// The mean of the rows of each sentence.
    MeanPool,
    /// The first row of each sentence.
    FirstPool,
}

/// A weight matrix, row major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The elements.
    pub elements: Elements,
}

/// The elements of a [`Matrix`].
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Signed bytes with their scales.
    I8 {
        /// The elements as they stand in the file.
        values: Bytes,
        /// One scale per row of an embedding, per column of a linear layer.
        scales: Vec<f32>,
    },
    /// Signed bytes with their scales, as `PackedLinear` has them.
    Packed {
        /// The elements as they stand in the file.
        values: Bytes,
        /// Their order.
        packing: Packing,
        /// One scale per column.
        scales: Vec<f32>,
    },
    /// Two to a byte, as `Q4Embed` has them.
    I4 {
        /// The elements as they stand in the file.
        values: Bytes,
        /// The scales of a row side by side, each that of as many columns.
        scales: Vec<f32>,
    },
}

impl Matrix {
    /// Puts packed elements back into rows.
    ///
    /// # Panics
    /// If there are not as many as the matrix has.
    pub fn unpack(&mut self) {
        if let Elements::Packed { values, packing, scales } = &mut self.elements {
            let values = packing.unpack(self.rows, self.columns, values).into();
            self.elements = Elements::I8 { values, scales: std::mem::take(scales) };
        }
    }
}

/// Layer normalization.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Factor of each column.
    pub gamma: Vec<f32>,
    /// Offset of each column.
    pub beta: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// What a linear layer applies to its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// Nothing.
    Identity,
    /// x · Φ(x), with the error function (Hendrycks and Gimpel 2016).
    Gelu,
    /// The approximation of the same with tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// tanh(x).
    Tanh,
}

impl Activation {
    /// All of them.
    pub const ALL: [Activation; 5] = [
        Activation::Identity,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Tanh,
    ];

    /// What stands behind `Linear`, `QLinear` and the like in the name of a call.
    pub fn suffix(self) -> &'static str {
        match self {
            Activation::Identity => "",
            Activation::Gelu => "Gelu",
            Activation::GeluTanh => "GeluTanh",
            Activation::Relu => "Relu",
            Activation::Tanh => "Tanh",
        }
    }
}
