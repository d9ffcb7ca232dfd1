//! Text to token ids: Hugging Face `tokenizers`, the same in every build.

use crate::Error;
use tokenizers::{PostProcessor, TruncationDirection, TruncationParams, TruncationStrategy};

/// Turns texts into token ids, special tokens included.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

/// The token ids of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The ids, special tokens included.
    pub ids: Vec<u32>,
    /// Whether the text was longer than the model takes.
    pub truncated: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.json`. Truncation is to `max_tokens`, whatever the file says; its padding is
    /// ignored, for the runtime does not pad.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the file is not one that `tokenizers` reads.
    pub fn from_json(json: &[u8], max_tokens: usize) -> Result<Self, Error> {
        let wrong = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(wrong)?;
        inner.with_padding(None);
        // `tokenizers` subtracts the one from the other without a look.
        let added = inner.get_post_processor().map_or(0, |p| p.added_tokens(false));
        if added > max_tokens {
            return Err(Error::Tokenizer(format!(
                "its post-processor adds {added} tokens to a text, the model takes {max_tokens}"
            )));
        }
        inner
            .with_truncation(Some(TruncationParams {
                max_length: max_tokens,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
                direction: TruncationDirection::Right,
            }))
            .map_err(wrong)?;
        Ok(Tokenizer { inner })
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer fails or gives no token at all.
    pub fn encode(&self, text: &str) -> Result<Encoded, Error> {
        let encoding =
            self.inner.encode_fast(text, true).map_err(|e| Error::Tokenizer(e.to_string()))?;
        if encoding.is_empty() {
            return Err(Error::Tokenizer(
                "gives no token for a text; a post-processor that adds [CLS] is missing".into(),
            ));
        }
        Ok(Encoded {
            ids: encoding.get_ids().to_vec(),
            truncated: !encoding.get_overflowing().is_empty(),
        })
    }
}
