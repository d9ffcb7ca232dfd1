//! `BertTokenizer` of transformers, from `vocab.txt` or from the vocabulary of `tokenizer.json`.

use super::added::{self, Numbered, Tokens};
use super::settings::{Settings, TOKENIZER, VOCABULARY};
use crate::Error;
use serde_json::{Map, Value, json};

/// Default special tokens.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// Prefix of a piece that continues a word.
const PREFIX: &str = "##";

/// Length of the longest word that is split into pieces, in characters.
const LONGEST_WORD: u64 = 100;

/// Builds the tokenizer of a `vocab.txt`, one token a line. If lines are equal, the last one is
/// used.
pub(super) fn from_vocabulary(text: &str, settings: &Settings) -> Result<Value, Error> {
    let vocabulary: Map<String, Value> = (0u64..)
        .zip(text.lines())
        .map(|(id, token)| (token.trim_end().into(), id.into()))
        .collect();
    let tokens = Tokens::of(settings, Vec::new(), DEFAULTS, true)?;
    let unknown = tokens.name("unk_token").to_owned();
    let missing = |token: &str| {
        Error::file(settings.path(VOCABULARY), format!("the token {token} is missing"))
    };
    for name in ["unk_token", "cls_token", "sep_token"] {
        let token = tokens.name(name);
        let added = name != "unk_token" && tokens.has_id(token);
        if !vocabulary.contains_key(token) && !added {
            return Err(missing(token));
        }
    }
    let model = json!({
        "type": "WordPiece",
        "unk_token": unknown,
        "continuing_subword_prefix": PREFIX,
        "max_input_chars_per_word": LONGEST_WORD,
        "vocab": vocabulary,
    });
    let tokens = tokens.number(&model, settings, VOCABULARY)?;
    let place = |name| {
        let (token, id) = tokens.name(name);
        id.map(|id| json!([token, id])).ok_or_else(|| missing(token))
    };
    let mut tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": normalizer(settings)?,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": place("sep_token")?,
            "cls": place("cls_token")?,
        },
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": true},
        "model": model,
    });
    added::write(&mut tokenizer, &tokens);
    Ok(tokenizer)
}

/// The normalizer that the settings describe.
fn normalizer(settings: &Settings) -> Result<Value, Error> {
    let accents = match settings.get("strip_accents") {
        Some(Value::Null) => None,
        _ => settings.flag("strip_accents")?,
    };
    Ok(json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
        "strip_accents": accents,
        "lowercase": settings.flag("do_lower_case")?.unwrap_or(true),
    }))
}

/// Applies the settings to a `tokenizer.json`. Its parts must equal those of the class:
/// transformers 5 builds the parts itself, transformers 4 keeps the parts of the file.
pub(super) fn adapt(tokenizer: &mut Value, settings: &Settings) -> Result<(), Error> {
    let own = &tokenizer["normalizer"];
    let model = &tokenizer["model"];
    let unknown = match settings.named("unk_token") {
        Some((value, _)) => value["content"].as_str().or(value.as_str()).unwrap_or_default(),
        None => "[UNK]",
    };
    for (part, found, expected) in [
        ("normalizer.type", &own["type"], json!("BertNormalizer")),
        ("normalizer.clean_text", &own["clean_text"], json!(true)),
        ("pre_tokenizer.type", &tokenizer["pre_tokenizer"]["type"], json!("BertPreTokenizer")),
        ("model.unk_token", &model["unk_token"], json!(unknown)),
        ("model.continuing_subword_prefix", &model["continuing_subword_prefix"], json!(PREFIX)),
        ("model.max_input_chars_per_word", &model["max_input_chars_per_word"], json!(LONGEST_WORD)),
    ] {
        if *found != expected {
            return Err(differs(settings, &format!("`{part}` is {found}"), &expected.to_string()));
        }
    }
    tokenizer["normalizer"] = normalizer(settings)?;
    Ok(())
}

/// Checks that the post-processor gives `[CLS]`, the text, `[SEP]`, by the names of the settings.
pub(super) fn check_processor(
    tokenizer: &Value,
    tokens: &Numbered,
    settings: &Settings,
) -> Result<(), Error> {
    let processor = &tokenizer["post_processor"];
    let [cls, sep] = ["cls_token", "sep_token"].map(|name| tokens.name(name));
    let same = match processor["type"].as_str() {
        Some("BertProcessing") => [("cls", cls), ("sep", sep)].iter().all(|(part, (token, id))| {
            processor[part][0] == *token && id.is_some_and(|id| processor[part][1] == id)
        }),
        Some("TemplateProcessing") => {
            let single = &processor["single"];
            let is_special = |at: usize, (token, id): (&str, Option<u64>)| {
                let name = &single[at]["SpecialToken"]["id"];
                let ids = &processor["special_tokens"][token]["ids"];
                name == token && id.is_some_and(|id| *ids == json!([id]))
            };
            single.as_array().is_some_and(|parts| parts.len() == 3)
                && is_special(0, cls)
                && single[1]["Sequence"]["id"] == "A"
                && is_special(2, sep)
        }
        _ => false,
    };
    if same {
        return Ok(());
    }
    let expected = format!("{}, the text, {}", cls.0, sep.0);
    Err(differs(settings, "`post_processor` adds other tokens", &expected))
}

fn differs(settings: &Settings, found: &str, expected: &str) -> Error {
    let problem = format!(
        "{found}; expected {expected}, as in BERT's tokenizer class. `\"tokenizer_class\": \
         \"PreTrainedTokenizerFast\"` in tokenizer_config.json uses this file as it is"
    );
    Error::file(settings.path(TOKENIZER), problem)
}
