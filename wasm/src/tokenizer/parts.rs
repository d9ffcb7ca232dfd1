//! BERT tokenizers, which a bundle may contain, built from parts of `tokenizers`.
//!
//! A [`tokenizers::Tokenizer`] can have any part of the library, so a program with it contains the
//! code of all parts. The type here has BERT's parts only. It makes a program half a megabyte
//! smaller.

use super::wordpiece::WordPiece;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;
use tokenizers::normalizers::{
    BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Strip, StripAccents,
};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    Encoding, NormalizedString, Normalizer, PostProcessor, PreTokenizedString, PreTokenizer,
    TokenizerImpl, decoders,
};

/// A tokenizer of a bundle.
pub(super) type Bert =
    TokenizerImpl<WordPiece, Normalizers, PreTokenizers, Processor, decoders::wordpiece::WordPiece>;

/// The name of a part that is a sequence of others.
pub(super) const SEQUENCE: &str = "Sequence";

type Result<T> = std::result::Result<T, serde_json::Error>;

/// Parts of one kind: name and reader of each part.
pub(super) type Kinds<T> = [(&'static str, fn(Value) -> Result<Box<T>>)];

pub(super) type AnyNormalizer = dyn Normalizer + Send + Sync;
pub(super) type AnyPreTokenizer = dyn PreTokenizer + Send + Sync;
pub(super) type AnyProcessor = dyn PostProcessor + Send + Sync;

fn read<T: DeserializeOwned>(json: Value) -> Result<Box<T>> {
    serde_json::from_value(json).map(Box::new)
}

/// Supported normalizers, alone or in a sequence.
pub(super) const NORMALIZERS: &Kinds<AnyNormalizer> = &[
    ("BertNormalizer", |json| Ok(read::<BertNormalizer>(json)?)),
    ("Lowercase", |json| Ok(read::<Lowercase>(json)?)),
    ("NFC", |json| Ok(read::<NFC>(json)?)),
    ("NFD", |json| Ok(read::<NFD>(json)?)),
    ("NFKC", |json| Ok(read::<NFKC>(json)?)),
    ("NFKD", |json| Ok(read::<NFKD>(json)?)),
    ("Strip", |json| Ok(read::<Strip>(json)?)),
    ("StripAccents", |json| Ok(read::<StripAccents>(json)?)),
];

/// Supported pre-tokenizers, alone or in a sequence.
pub(super) const PRE_TOKENIZERS: &Kinds<AnyPreTokenizer> = &[
    ("BertPreTokenizer", |json| Ok(read::<BertPreTokenizer>(json)?)),
    ("Digits", |json| Ok(read::<Digits>(json)?)),
    ("Punctuation", |json| Ok(read::<Punctuation>(json)?)),
    ("Whitespace", |json| Ok(read::<Whitespace>(json)?)),
    ("WhitespaceSplit", |json| Ok(read::<WhitespaceSplit>(json)?)),
];

/// Supported post-processors.
pub(super) const PROCESSORS: &Kinds<AnyProcessor> = &[
    ("BertProcessing", |json| Ok(read::<BertProcessing>(json)?)),
    ("TemplateProcessing", |json| Ok(read::<TemplateProcessing>(json)?)),
];

/// Reads a part, or all parts of a sequence, which are in its field `inner`.
fn read_all<T: ?Sized>(
    mut json: Value,
    kinds: &Kinds<T>,
    inner: &str,
    parts: &mut Vec<Box<T>>,
) -> Result<()> {
    let name = json["type"].as_str().unwrap_or_default();
    if name == SEQUENCE && !inner.is_empty() {
        let Value::Array(inside) = json[inner].take() else {
            return Err(Error::custom(format!("a `Sequence` lacks its list `{inner}`")));
        };
        return inside.into_iter().try_for_each(|json| read_all(json, kinds, inner, parts));
    }
    let Some((_, read)) = kinds.iter().find(|(kind, _)| *kind == name) else {
        return Err(Error::custom(format!("part `{name}` is not supported in a bundle")));
    };
    parts.push(read(json)?);
    Ok(())
}

/// Normalizers, applied in order.
pub(super) struct Normalizers(Vec<Box<AnyNormalizer>>);

/// Pre-tokenizers, applied in order.
pub(super) struct PreTokenizers(Vec<Box<AnyPreTokenizer>>);

/// A post-processor.
pub(super) struct Processor(Box<AnyProcessor>);

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        self.0.iter().try_for_each(|part| part.normalize(text))
    }
}

impl PreTokenizer for PreTokenizers {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        self.0.iter().try_for_each(|part| part.pre_tokenize(text))
    }
}

impl PostProcessor for Processor {
    fn added_tokens(&self, is_pair: bool) -> usize {
        self.0.added_tokens(is_pair)
    }

    fn process_encodings(
        &self,
        encodings: Vec<Encoding>,
        add_special_tokens: bool,
    ) -> tokenizers::Result<Vec<Encoding>> {
        self.0.process_encodings(encodings, add_special_tokens)
    }
}

impl<'de> Deserialize<'de> for Normalizers {
    fn deserialize<D: Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        let mut parts = Vec::new();
        read_all(Value::deserialize(json)?, NORMALIZERS, "normalizers", &mut parts)
            .map_err(D::Error::custom)?;
        Ok(Normalizers(parts))
    }
}

impl<'de> Deserialize<'de> for PreTokenizers {
    fn deserialize<D: Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        let mut parts = Vec::new();
        read_all(Value::deserialize(json)?, PRE_TOKENIZERS, "pretokenizers", &mut parts)
            .map_err(D::Error::custom)?;
        Ok(PreTokenizers(parts))
    }
}

impl<'de> Deserialize<'de> for Processor {
    fn deserialize<D: Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        let mut parts = Vec::new();
        read_all(Value::deserialize(json)?, PROCESSORS, "", &mut parts)
            .map_err(D::Error::custom)?;
        Ok(Processor(parts.remove(0)))
    }
}

impl fmt::Debug for Normalizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} normalizers", self.0.len())
    }
}

impl fmt::Debug for PreTokenizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pre-tokenizers", self.0.len())
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a post-processor")
    }
}
