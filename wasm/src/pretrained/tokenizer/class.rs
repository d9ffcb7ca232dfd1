//! Tokenizer classes of transformers, by name.

use super::settings::{Settings, TOKENIZER};
use crate::Error;
use serde_json::Value;
use std::fmt;

/// Classes with the same tokenizer as `BertTokenizer`. (In transformers 5 most are other names of
/// it.)
pub(super) const BERT: [&str; 9] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "ConvBertTokenizer",
    "SqueezeBertTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "RetriBertTokenizer",
];

/// Values of `model_type` whose default tokenizer is BERT's.
const BERT_MODELS: [&str; 13] = [
    "bert",
    "convbert",
    "distilbert",
    "electra",
    "ernie",
    "layoutlm",
    "lxmert",
    "megatron-bert",
    "mobilebert",
    "nezha",
    "qdqbert",
    "retribert",
    "squeezebert",
];

/// Classes that use a `tokenizer.json` as it is.
const GENERIC: [&str; 3] = ["PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"];

/// Classes that exist in Python only, without a `tokenizer.json`.
const PYTHON: [&str; 18] = [
    "BertJapaneseTokenizer",
    "BertweetTokenizer",
    "BioGptTokenizer",
    "BlenderbotSmallTokenizer",
    "ByT5Tokenizer",
    "CTRLTokenizer",
    "CanineTokenizer",
    "CpmAntTokenizer",
    "EsmTokenizer",
    "FlaubertTokenizer",
    "FSMTTokenizer",
    "GPTNeoXJapaneseTokenizer",
    "PerceiverTokenizer",
    "PhobertTokenizer",
    "ProphetNetTokenizer",
    "RoCBertTokenizer",
    "TapasTokenizer",
    "XLMTokenizer",
];

/// Types of the model in the `tokenizer.json` of other classes.
const MODELS: [(&str, &str); 20] = [
    ("AlbertTokenizer", "Unigram"),
    ("BigBirdTokenizer", "Unigram"),
    ("CamembertTokenizer", "Unigram"),
    ("DebertaV2Tokenizer", "Unigram"),
    ("FNetTokenizer", "Unigram"),
    ("MBartTokenizer", "Unigram"),
    ("RemBertTokenizer", "Unigram"),
    ("T5Tokenizer", "Unigram"),
    ("XLMRobertaTokenizer", "Unigram"),
    ("XLNetTokenizer", "Unigram"),
    ("BartTokenizer", "BPE"),
    ("DebertaTokenizer", "BPE"),
    ("GPT2Tokenizer", "BPE"),
    ("LlamaTokenizer", "BPE"),
    ("LongformerTokenizer", "BPE"),
    ("RobertaTokenizer", "BPE"),
    ("FunnelTokenizer", "WordPiece"),
    ("MPNetTokenizer", "WordPiece"),
    ("RoFormerTokenizer", "WordPiece"),
    ("SplinterTokenizer", "WordPiece"),
];

/// Class of a tokenizer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Class named in a file, without `Fast` at its end.
    Named(String),
    /// Class that transformers chooses by `model_type`.
    OfModel(Option<String>),
}

impl Class {
    /// Class that the settings name, or else the one of the model.
    pub fn of(settings: &Settings) -> Self {
        match settings.class_name() {
            Some(name) => Class::Named(name.strip_suffix("Fast").unwrap_or(name).into()),
            None => Class::OfModel(settings.model_type().map(String::from)),
        }
    }

    /// Returns true if the class is `BertTokenizer` or has the same tokenizer.
    pub fn is_bert(&self) -> bool {
        match self {
            Class::Named(name) => BERT.contains(&name.as_str()),
            Class::OfModel(Some(model)) => BERT_MODELS.contains(&model.as_str()),
            Class::OfModel(None) => false,
        }
    }

    /// Refuses a class that exists in Python only.
    pub fn check(&self, settings: &Settings) -> Result<(), Error> {
        let Class::Named(name) = self else { return Ok(()) };
        if !PYTHON.contains(&name.as_str()) {
            return Ok(());
        }
        let problem = format!(
            "{self} runs in Python only; expected a class with a {TOKENIZER}, as {}",
            BERT[..3].join(", ")
        );
        Err(Error::file(settings.class_path(), problem))
    }

    /// Refuses a model of another type than the class reads.
    pub fn check_model(&self, model: &Value) -> Result<(), String> {
        let Class::Named(name) = self else { return Ok(()) };
        let expected = MODELS.iter().find(|(class, _)| class == name).map(|(_, model)| *model);
        let expected = if self.is_bert() { Some("WordPiece") } else { expected };
        match (expected, model["type"].as_str()) {
            (Some(expected), Some(found)) if expected != found => {
                Err(format!("its model is {found}; {self} reads {expected}"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses settings that differ from a `tokenizer.json` in a part that the class would change.
    pub fn check_contradictions(&self, file: &Value, settings: &Settings) -> Result<(), Error> {
        let generic = match self {
            Class::Named(name) => {
                GENERIC.contains(&name.as_str()) || MODELS.iter().all(|(class, _)| class != name)
            }
            Class::OfModel(_) => false,
        };
        if generic {
            return Ok(());
        }
        for (part, kind, setting, field) in [
            ("normalizer", "BertNormalizer", "do_lower_case", "lowercase"),
            ("normalizer", "BertNormalizer", "strip_accents", "strip_accents"),
            ("normalizer", "BertNormalizer", "tokenize_chinese_chars", "handle_chinese_chars"),
            ("pre_tokenizer", "ByteLevel", "add_prefix_space", "add_prefix_space"),
        ] {
            let (Some(asked), Some(found)) = (settings.get(setting), find(&file[part], kind))
            else {
                continue;
            };
            if *asked != found[field] {
                let problem = format!(
                    "`{setting}` is {asked}, {TOKENIZER} has {}; expected both to agree",
                    found[field]
                );
                return Err(settings.error(problem));
            }
        }
        Ok(())
    }
}

/// Finds a part of a kind: the part itself, or a part in a sequence.
fn find<'a>(part: &'a Value, kind: &str) -> Option<&'a Value> {
    if part["type"] == kind {
        return Some(part);
    }
    let parts = part.get("normalizers").or(part.get("pretokenizers"))?.as_array()?;
    parts.iter().find_map(|part| find(part, kind))
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Named(name) => write!(f, "`tokenizer_class` {name}"),
            Class::OfModel(Some(model)) => write!(f, "the tokenizer of `model_type` {model}"),
            Class::OfModel(None) => f.write_str("the tokenizer of a model without `model_type`"),
        }
    }
}
