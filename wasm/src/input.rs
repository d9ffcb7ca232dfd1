//! Inputs of a model, before and after the tokenizer.

use std::ops::Range;

/// Input of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input<'a> {
    /// One text.
    One(&'a str),
    /// Two texts.
    Pair(&'a str, &'a str),
}

impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Input::One(text)
    }
}

impl<'a> From<&'a String> for Input<'a> {
    fn from(text: &'a String) -> Self {
        Input::One(text)
    }
}

/// Tokens of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The ids, special tokens included.
    pub ids: Vec<u32>,
    /// Number of the first token of the second text; the number of tokens without a second text.
    pub second: usize,
    /// Bytes of each token in its text, empty for special tokens. Only
    /// [`encode_with_spans`](crate::tokenizer::Tokenizer::encode_with_spans) fills this list.
    pub spans: Vec<Range<u32>>,
    /// True if the input was cut to the model's length.
    pub truncated: bool,
    /// Number of unknown tokens (`[UNK]`).
    pub unknown: usize,
}

impl Encoded {
    /// Makes an input of ids that are known, special tokens included.
    pub fn from_ids(ids: Vec<u32>) -> Self {
        Encoded { second: ids.len(), spans: Vec::new(), truncated: false, unknown: 0, ids }
    }
}
