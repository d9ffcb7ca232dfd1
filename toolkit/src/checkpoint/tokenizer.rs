//! `tokenizer.json`, or one made from `vocab.txt` as `BertTokenizerFast` makes it.

use super::read_file;
use crate::Error;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

pub(super) fn read(folder: &Path) -> Result<Vec<u8>, Error> {
    let json = folder.join("tokenizer.json");
    if json.exists() {
        return read_file(&json);
    }
    let vocabulary = folder.join("vocab.txt");
    if !vocabulary.exists() {
        return Err(Error::checkpoint(
            json,
            "missing, and vocab.txt is too; a checkpoint has one of them",
        ));
    }
    let config = folder.join("tokenizer_config.json");
    let options: Options = if config.exists() {
        serde_json::from_slice(&read_file(&config)?)
            .map_err(|e| Error::checkpoint(config, e.to_string()))?
    } else {
        Options::default()
    };
    let text = String::from_utf8(read_file(&vocabulary)?)
        .map_err(|e| Error::checkpoint(&vocabulary, format!("not UTF-8: {e}")))?;
    let tokenizer = from_vocabulary(&text, &options)
        .map_err(|problem| Error::checkpoint(&vocabulary, problem))?;
    Ok(serde_json::to_vec(&tokenizer).expect("plain JSON"))
}

/// What `tokenizer_config.json` says of the text's normalization.
#[derive(Deserialize)]
#[serde(default)]
struct Options {
    do_lower_case: bool,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { do_lower_case: true, strip_accents: None, tokenize_chinese_chars: true }
    }
}

fn from_vocabulary(text: &str, options: &Options) -> Result<Value, String> {
    let mut vocabulary = Map::new();
    for (id, token) in text.lines().enumerate() {
        vocabulary.insert(token.trim_end().into(), id.into());
    }
    let mut special = Vec::new();
    for token in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
        match vocabulary.get(token) {
            Some(id) => special.push(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })),
            None if token == "[PAD]" || token == "[MASK]" => {}
            None => return Err(format!("the token {token} is missing")),
        }
    }
    let (cls, sep) = (&vocabulary["[CLS]"], &vocabulary["[SEP]"]);
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": options.tokenize_chinese_chars,
            "strip_accents": options.strip_accents,
            "lowercase": options.do_lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", sep],
            "cls": ["[CLS]", cls],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_without_its_special_tokens_is_refused() {
        let error = from_vocabulary("[UNK]\n[CLS]\nhello", &Options::default()).unwrap_err();
        assert!(error.contains("[SEP]"));
    }

    #[test]
    fn lines_number_the_tokens() {
        let t = from_vocabulary("[UNK]\n[CLS]\n[SEP]\nhello\n##s\n", &Options::default()).unwrap();
        assert_eq!(t["model"]["vocab"]["##s"], 4);
        let tokenizer: tokenizers::Tokenizer = t.to_string().parse().unwrap();
        let encoding = tokenizer.encode("Hellos [SEP]", true).unwrap();
        assert_eq!(encoding.get_ids(), [1, 3, 4, 2, 2]);
    }
}
