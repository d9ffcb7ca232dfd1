//! A stage as a list of calls, read from its ONNX graph and checked once for all engines.
//!
//! A stage graph calls model-local functions of the domain [`DOMAIN`]. Their bodies, in the same
//! file, are standard ONNX, so that any ONNX runtime runs the file. An engine of this crate
//! recognises each call by its name and runs its own kernel. The calls, for `R` rows (the tokens or
//! the sentences of a batch):
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
//!
//! A byte of `Q4Embed`'s words contains column `j` in its low nibble and column `j + H/2` in its
//! high nibble, each as `round(value / scale) + 8`. A scale is that of `H/G` columns, and `G` is
//! even.
//!
//! `QLinear` quantizes each row x to integers `q = round(x · 127 / max|x|)`, ties to even, and
//! returns `(q · W) · scale · (max|x| / 127) + bias`.
//!
//! `PackedLinear` is `QLinear` with weights in the order of a [`Packing`]. They are unsigned if the
//! zero point is not 0. An engine whose kernels read that order uses the weights in place.
//!
//! `Q4Linear` is `QLinear` with 4-bit weights in the file. Each int8 weight is a code of −7…7 times
//! a multiplier of 1…15, which a group of neighbouring inputs of an output shares. A byte of the
//! codes contains `code + 8` of input `k` in its low nibble and of input `k + K/2` in its high
//! nibble. Their multipliers are the nibbles of the byte in row `k / (K / 2B)`. Reading the stage
//! multiplies codes and multipliers, so that engines get the weights of a `QLinear`.

mod nibbles;
pub(crate) mod packing;
mod read;

use bytes::Bytes;
pub use packing::Packing;

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

/// A stage that an engine can build.
#[derive(Clone, Debug, PartialEq)]
pub struct StageGraph {
    /// Entry of the stage in the bundle, for messages.
    pub name: String,
    /// Width of the input hidden states; `None` for stage 0, which takes token ids.
    pub input: Option<usize>,
    /// Calls, in the order in which they run. Value 0 is the input, value `i + 1` the output of
    /// call `i`.
    pub calls: Vec<Call>,
    /// Value that goes to the next stage, with its width.
    pub next_hidden: Option<(usize, usize)>,
    /// Value of the logits, with the number of labels.
    pub logits: Option<(usize, usize)>,
}

impl StageGraph {
    /// Unpacks all packed weights into rows, for an engine without kernels for packed weights.
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
    /// Operation and its weights.
    pub op: Op,
    /// Values that the call reads.
    pub inputs: Vec<usize>,
}

/// Operation of a call, with its weights.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Word and position embeddings, summed and normalized.
    Embed {
        /// One row per word piece.
        words: Matrix,
        /// One row per position.
        positions: Matrix,
        /// Normalization of the sum.
        norm: Norm,
    },
    /// A product with a weight matrix, `[inputs, outputs]`.
    Linear {
        /// Weights; int8 weights have one scale per column.
        weight: Matrix,
        /// One value per output.
        bias: Vec<f32>,
        /// Activation of the result.
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
        /// Elements as in the file.
        values: Bytes,
        /// One scale per row of an embedding, per column of a linear layer.
        scales: Vec<f32>,
    },
    /// Signed bytes with their scales, as in `PackedLinear`.
    Packed {
        /// Elements as in the file.
        values: Bytes,
        /// Order of the elements.
        packing: Packing,
        /// One scale per column.
        scales: Vec<f32>,
    },
    /// Two elements per byte, as in `Q4Embed`.
    I4 {
        /// Elements as in the file.
        values: Bytes,
        /// Scales of a row side by side, each of the same number of columns.
        scales: Vec<f32>,
    },
}

impl Matrix {
    /// Unpacks packed elements into rows.
    ///
    /// # Panics
    /// If the number of elements is not that of the matrix.
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
    /// Number that is added to the variance.
    pub epsilon: f32,
}

/// Activation of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// No activation.
    Identity,
    /// x · Φ(x), with the error function (Hendrycks and Gimpel 2016).
    Gelu,
    /// Approximation of GELU with tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// tanh(x).
    Tanh,
}

impl Activation {
    /// List of all activations.
    pub const ALL: [Activation; 5] = [
        Activation::Identity,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Tanh,
    ];

    /// Suffix of `Linear`, `QLinear`, `PackedLinear` and `Q4Linear` in the name of a call.
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
