//! Tokenizer files: `tokenizer.json`, or `vocab.txt`, with the settings beside them.
//!
//! [`read`] returns the `tokenizer.json` that behaves as `AutoTokenizer.from_pretrained` of
//! transformers 5.23 does. A setting that cannot be followed is an error that names the setting. A
//! setting that gives different tokens in transformers 4 and 5 is an error too.
//!
//! | class of the tokenizer | with `vocab.txt` only | with `tokenizer.json` |
//! |---|---|---|
//! | BERT's: `BertTokenizer`, `DistilBertTokenizer`, `ElectraTokenizer`, … | made from it | normalizer from the settings; other parts must be those that BERT has |
//! | `PreTrainedTokenizerFast`, or a class that transformers lacks | refused | as it is |
//! | another one, as `RobertaTokenizer` or `MPNetTokenizer` | refused | as it is; settings that contradict it are refused |
//! | written in Python only, as `BertJapaneseTokenizer` | refused | refused |
//!
//! The class is `tokenizer_class` of `tokenizer_config.json` or `config.json`, else the one of
//! `model_type`. A `tokenizer.json` without a settings file beside it is used as it is:
//! transformers would lower-case its texts where the class is BERT's, even if the file keeps case.
//!
//! | setting | |
//! |---|---|
//! | `added_tokens_decoder` | added in the order of the ids, behind the vocabulary; `added_tokens.json` and `special_tokens_map.json` are not read |
//! | `added_tokens.json` | added, by the same rule |
//! | `additional_special_tokens`, `extra_special_tokens`, other `…_token` | added, as strings or objects, from `tokenizer_config.json` and `special_tokens_map.json` |
//! | `unk_token`, `cls_token`, `sep_token`, `pad_token`, `mask_token`, `bos_token`, `eos_token` | followed; the first three must be in the vocabulary |
//! | `do_lower_case`, `strip_accents`, `tokenize_chinese_chars` | followed for BERT's classes, also beside `tokenizer.json`; absent ones have BERT's defaults |
//! | `split_special_tokens: true`, `truncation_side: left` | refused |
//! | `auto_map`, `init_inputs`, `fast_tokenizer_files` | refused, unless they are empty |
//! | `add_prefix_space` | refused where it contradicts `tokenizer.json` |
//! | `do_basic_tokenize`, `never_split`, `wordpieces_prefix`, `clean_up_tokenization_spaces`, `padding_side` | without effect, as in transformers |
//! | `model_max_length`, and `truncation` of `tokenizer.json` | without effect: a text is cut where the model's positions end |
//!
//! transformers cuts a text only where its caller asks for `truncation=True`. To cut earlier here,
//! lower `max_position_embeddings` together with the table of positions.

mod added;
mod bert;
mod class;
mod settings;
#[cfg(test)]
mod tests;

use super::read_file;
use crate::Error;
use added::Tokens;
use class::Class;
use serde_json::Value;
use settings::{Settings, TOKENIZER, VOCABULARY};
use std::path::Path;

/// Names of the files that change the tokenizer beside them.
pub const SETTINGS: [&str; 3] = [settings::CONFIG, settings::SPECIAL, settings::ADDED];

/// Reads a folder's tokenizer, as the bytes of a `tokenizer.json` that follows the settings files.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read, [`Error::File`] if it has a setting that cannot be
/// followed.
pub fn read(folder: &Path) -> Result<Vec<u8>, Error> {
    let settings = Settings::read(folder)?;
    settings.check()?;
    let (json, vocabulary) = (folder.join(TOKENIZER), folder.join(VOCABULARY));
    let class = Class::of(&settings);
    if json.exists() {
        class.check(&settings)?;
        let bytes = read_file(&json)?;
        return from_json(&bytes, &class, &settings).map(|changed| changed.unwrap_or(bytes));
    }
    if !vocabulary.exists() {
        let problem = "missing, and vocab.txt is too; expected one of them";
        return Err(Error::file(json, problem));
    }
    class.check(&settings)?;
    if !class.is_bert() {
        let problem = format!(
            "{class} cannot be made from {VOCABULARY}; expected {}, or a {TOKENIZER}",
            class::BERT.join(", ")
        );
        return Err(Error::file(settings.class_path(), problem));
    }
    let text = String::from_utf8(read_file(&vocabulary)?)
        .map_err(|e| Error::file(&vocabulary, format!("not UTF-8: {e}")))?;
    let tokenizer = bert::from_vocabulary(&text, &settings)?;
    Ok(to_bytes(&tokenizer))
}

/// Applies settings to a `tokenizer.json`; `None` if they change nothing.
fn from_json(bytes: &[u8], class: &Class, settings: &Settings) -> Result<Option<Vec<u8>>, Error> {
    let wrong = |problem: String| Error::file(settings.path(TOKENIZER), problem);
    let mut tokenizer: Value = match serde_json::from_slice(bytes) {
        Ok(tokenizer) => tokenizer,
        Err(error) if settings.has_files() => return Err(wrong(error.to_string())),
        Err(_) => return Ok(None),
    };
    if settings.truncation_side().is_none() && tokenizer["truncation"]["direction"] == "Left" {
        return Err(wrong("`truncation.direction` is Left; texts are cut on the right".into()));
    }
    class.check_model(&tokenizer["model"]).map_err(wrong)?;
    if !settings.has_files() {
        return Ok(None);
    }
    let before = tokenizer.clone();
    let own = added::of_tokenizer(&tokenizer).map_err(wrong)?;
    let names = if class.is_bert() {
        bert::adapt(&mut tokenizer, settings)?;
        bert::DEFAULTS
    } else {
        class.check_contradictions(&tokenizer, settings)?;
        &[]
    };
    let tokens = Tokens::of(settings, own, names, class.is_bert())?;
    let numbered = tokens.number(&tokenizer["model"], settings, TOKENIZER)?;
    if class.is_bert() {
        bert::check_processor(&tokenizer, &numbered, settings)?;
    }
    added::write(&mut tokenizer, &numbered);
    Ok((tokenizer != before).then(|| to_bytes(&tokenizer)))
}

fn to_bytes(tokenizer: &Value) -> Vec<u8> {
    serde_json::to_vec(tokenizer).expect("plain JSON")
}
