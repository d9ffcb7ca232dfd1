//! Tokenizer of a checkpoint, as one file.

use crate::Error;
use edge_runtime::Error as Runtime;
use edge_runtime::pretrained::tokenizer;
use serde_json::{Value, json};
use std::path::Path;

/// Name of the settings file that is written beside a `tokenizer.json`.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

pub(super) fn read(folder: &Path) -> Result<Vec<u8>, Error> {
    tokenizer::read(folder).map_err(|error| match error {
        Runtime::Io { path, cause } => Error::Io { path, cause },
        Runtime::File { path, problem } => Error::Checkpoint { path, problem },
        other => Error::Tokenizer(other),
    })
}

/// Settings with which transformers uses the `tokenizer.json` of a BERT unchanged. Without them
/// transformers would lower-case every text.
pub fn tokenizer_config(tokenizer: &Value) -> Value {
    let mut settings = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
    let added = tokenizer["added_tokens"].as_array();
    for (name, token) in [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ] {
        if added.into_iter().flatten().any(|other| other["content"] == token) {
            settings[name] = token.into();
        }
    }
    settings
}
