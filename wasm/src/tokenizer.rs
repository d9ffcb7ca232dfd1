//! Conversion of text to token ids with Hugging Face `tokenizers`, the same in every build.

mod parts;
mod wordpiece;

use crate::Error;
use crate::guard::guard;
use crate::input::{Encoded, Input};
use parts::{Bert, Kinds, NORMALIZERS, PRE_TOKENIZERS, PROCESSORS, SEQUENCE};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;
use tokenizers::models::ModelWrapper;
use tokenizers::{
    Decoder, EncodeInput, Encoding, Model, Normalizer, PostProcessor, PreTokenizer, TokenizerImpl,
    TruncationDirection, TruncationParams, TruncationStrategy,
};

/// Tokenizer: converts texts to token ids, special tokens included.
#[derive(Debug)]
pub struct Tokenizer {
    inner: Box<dyn Encode>,
    /// Number of token ids that the model has embeddings for.
    vocabulary: usize,
    /// Token of unknown words.
    unknown: Option<u32>,
    /// Largest number of texts of an input.
    texts: usize,
}

/// Encoding of a text, for tokenizers of any parts.
trait Encode: std::fmt::Debug + Send + Sync {
    /// Encodes an input, with the bytes of each token if `spans` is true.
    fn encode(&self, input: Input, spans: bool) -> tokenizers::Result<Encoding>;

    fn id(&self, token: &str) -> Option<u32>;
}

impl<M, N, T, P, D> Encode for TokenizerImpl<M, N, T, P, D>
where
    M: Model + std::fmt::Debug + Send + Sync,
    N: Normalizer + std::fmt::Debug + Send + Sync,
    T: PreTokenizer + std::fmt::Debug + Send + Sync,
    P: PostProcessor + std::fmt::Debug + Send + Sync,
    D: Decoder + std::fmt::Debug + Send + Sync,
{
    fn encode(&self, input: Input, spans: bool) -> tokenizers::Result<Encoding> {
        match spans {
            true => TokenizerImpl::encode(self, of_library(input), true),
            false => self.encode_fast(of_library(input), true),
        }
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.token_to_id(token)
    }
}

impl Encode for tokenizers::Tokenizer {
    fn encode(&self, input: Input, spans: bool) -> tokenizers::Result<Encoding> {
        guard(|| Encode::encode(&**self, input, spans))
            .unwrap_or_else(|words| Err(panicked(&words).into()))
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.token_to_id(token)
    }
}

fn of_library(input: Input) -> EncodeInput {
    match input {
        Input::One(text) => text.into(),
        Input::Pair(first, second) => (first, second).into(),
    }
}

/// Message for a file that `tokenizers` panics on.
fn panicked(words: &str) -> String {
    format!("the library `tokenizers` panicked on this file: {words}")
}

impl Tokenizer {
    /// Reads an untrusted `tokenizer.json`, with the parts of a BERT tokenizer only: `tokenizers`
    /// panics on some other parts.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] with the name of the part that is not supported.
    pub fn from_bundle(json: &[u8], max_tokens: usize) -> Result<Self, Error> {
        let file: File =
            serde_json::from_slice(json).map_err(|e| Error::Tokenizer(e.to_string()))?;
        file.check().map_err(Error::Tokenizer)?;
        let mut inner = Bert::from_bytes(json).map_err(wrong)?;
        configure(&mut inner, max_tokens)?;
        Ok(Self::new(Box::new(inner), file.model.unk_token))
    }

    /// Reads any `tokenizer.json`. Texts are truncated to `max_tokens`. The file's own truncation
    /// and padding are ignored; the runtime does not pad.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if `tokenizers` cannot read the file.
    pub fn from_json(json: &[u8], max_tokens: usize) -> Result<Self, Error> {
        let inner = guard(|| {
            let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(wrong)?;
            configure(&mut inner, max_tokens)?;
            Ok::<_, Error>(inner)
        });
        let inner = inner.map_err(|words| Error::Tokenizer(panicked(&words)))??;
        let unknown = match inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
            ModelWrapper::BPE(model) => model.unk_token.clone(),
            // Its number is private; the token has this name in all files of transformers.
            ModelWrapper::Unigram(_) => Some("<unk>".into()),
        };
        Ok(Self::new(Box::new(inner), unknown))
    }

    fn new(inner: Box<dyn Encode>, unknown: Option<String>) -> Self {
        let unknown = unknown.and_then(|token| inner.id(&token));
        Tokenizer { inner, vocabulary: usize::MAX, unknown, texts: 1 }
    }

    /// Sets the number of embeddings: texts with a token id of `vocabulary` or more are refused.
    #[must_use]
    pub fn with_vocabulary(mut self, vocabulary: usize) -> Self {
        self.vocabulary = vocabulary;
        self
    }

    /// Encodes an input as token ids. [`Encoded::spans`] is empty.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer fails, gives zero tokens, or gives an id without an
    /// embedding; or if the input has more texts than the model takes.
    pub fn encode<'a>(&self, input: impl Into<Input<'a>>) -> Result<Encoded, Error> {
        self.encoded(input.into(), false)
    }

    /// Encodes an input as token ids, with the bytes of each token in its text.
    ///
    /// # Errors
    /// Errors of [`encode`](Self::encode).
    pub fn encode_with_spans<'a>(&self, input: impl Into<Input<'a>>) -> Result<Encoded, Error> {
        self.encoded(input.into(), true)
    }

    fn encoded(&self, input: Input, spans: bool) -> Result<Encoded, Error> {
        if matches!(input, Input::Pair(..)) && self.texts < 2 {
            let problem = "a pair of texts; the model takes one text: join the two";
            return Err(Error::Tokenizer(problem.into()));
        }
        let encoding = self.inner.encode(input, spans).map_err(wrong)?;
        if encoding.is_empty() {
            return Err(Error::Tokenizer(
                "gives no token for a text; a post-processor that adds [CLS] is missing".into(),
            ));
        }
        let beyond = |id: &&u32| **id as usize >= self.vocabulary;
        if let Some(id) = encoding.get_ids().iter().find(beyond) {
            return Err(Error::Tokenizer(format!(
                "gives the token id {id}; the model has embeddings for ids below {}. Resize its \
                 embeddings to the tokenizer's length, or take the token out of the tokenizer",
                self.vocabulary,
            )));
        }
        let ids = encoding.get_ids().to_vec();
        let span = |(from, to): &(usize, usize)| *from as u32..*to as u32;
        Ok(Encoded {
            second: ids.len(),
            spans: if spans { encoding.get_offsets().iter().map(span).collect() } else { vec![] },
            truncated: !encoding.get_overflowing().is_empty(),
            unknown: self.unknown.map_or(0, |unk| ids.iter().filter(|id| **id == unk).count()),
            ids,
        })
    }
}

fn wrong(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

/// Sets truncation to `max_tokens`, and removes padding.
fn configure<M, N, T, P, D>(
    tokenizer: &mut TokenizerImpl<M, N, T, P, D>,
    max_tokens: usize,
) -> Result<(), Error>
where
    M: Model,
    N: Normalizer,
    T: PreTokenizer,
    P: PostProcessor,
    D: Decoder,
{
    tokenizer.with_padding(None);
    // `tokenizers` subtracts `added` from `max_length` without a check.
    let added = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(false));
    if added > max_tokens {
        return Err(Error::Tokenizer(format!(
            "its post-processor adds {added} tokens to a text, the model takes {max_tokens}"
        )));
    }
    let truncation = TruncationParams {
        max_length: max_tokens,
        strategy: TruncationStrategy::LongestFirst,
        stride: 0,
        direction: TruncationDirection::Right,
    };
    tokenizer.with_truncation(Some(truncation)).map_err(wrong)?;
    Ok(())
}

/// Parts of `tokenizer.json` that are checked before `tokenizers` reads the file.
#[derive(Deserialize)]
struct File {
    normalizer: Option<TokenizerPart>,
    pre_tokenizer: Option<TokenizerPart>,
    post_processor: Option<TokenizerPart>,
    decoder: Option<TokenizerPart>,
    model: TokenizerPart,
}

#[derive(Deserialize)]
struct TokenizerPart {
    #[serde(default)]
    r#type: String,
    /// Field of a model.
    unk_token: Option<String>,
    /// Merges of a byte-pair model.
    merges: Option<IgnoredAny>,
    /// Members of a sequence of normalizers.
    #[serde(default)]
    normalizers: Vec<TokenizerPart>,
    /// Members of a sequence of pre-tokenizers.
    #[serde(default)]
    pretokenizers: Vec<TokenizerPart>,
    /// Pieces of a template for one text; `pair` has those for two.
    #[serde(default)]
    single: Vec<Piece>,
    #[serde(default)]
    pair: Vec<Piece>,
    #[serde(default)]
    special_tokens: HashMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
enum Piece {
    Sequence { id: String },
    SpecialToken { id: String },
}

impl File {
    fn check(&self) -> Result<(), String> {
        // Old files have no name of the model; a model without merges is WordPiece.
        if !(self.model.r#type.is_empty() && self.model.merges.is_none()) {
            check_part("model", Some(&self.model), &["WordPiece"])?;
        }
        let sequence = [SEQUENCE].into_iter();
        let taken: Vec<_> = names(NORMALIZERS).chain(sequence.clone()).collect();
        check_part("normalizer", self.normalizer.as_ref(), &taken)?;
        let taken: Vec<_> = names(PRE_TOKENIZERS).chain(sequence).collect();
        check_part("pre_tokenizer", self.pre_tokenizer.as_ref(), &taken)?;
        let taken: Vec<_> = names(PROCESSORS).collect();
        check_part("post_processor", self.post_processor.as_ref(), &taken)?;
        check_part("decoder", self.decoder.as_ref(), &["WordPiece"])?;
        let Some(template) = &self.post_processor else { return Ok(()) };
        let wrong = template.single.iter().chain(&template.pair).find(|piece| match piece {
            Piece::Sequence { id } => id != "A" && id != "B",
            Piece::SpecialToken { id } => !template.special_tokens.contains_key(id),
        });
        if let Some(Piece::Sequence { id } | Piece::SpecialToken { id }) = wrong {
            return Err(format!("its post_processor uses `{id}`, which it does not define"));
        }
        let second = |piece: &Piece| matches!(piece, Piece::Sequence { id } if id == "B");
        if template.single.iter().any(second) {
            return Err("its post_processor uses text B in `single`; expected text A alone".into());
        }
        Ok(())
    }
}

fn names<T: ?Sized>(kinds: &Kinds<T>) -> impl Iterator<Item = &'static str> {
    kinds.iter().map(|(name, _)| *name)
}

fn check_part(name: &str, part: Option<&TokenizerPart>, taken: &[&str]) -> Result<(), String> {
    let Some(part) = part else { return Ok(()) };
    if !taken.contains(&part.r#type.as_str()) {
        return Err(format!("its {name} is `{}`; expected {}", part.r#type, taken.join(", ")));
    }
    part.normalizers
        .iter()
        .chain(&part.pretokenizers)
        .try_for_each(|inner| check_part(name, Some(inner), taken))
}
