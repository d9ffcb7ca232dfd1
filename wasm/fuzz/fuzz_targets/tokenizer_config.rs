//! Fuzz target of the settings files beside a tokenizer: any input is followed or refused.
//!
//! The first byte chooses the form of the tokenizer, and the file to which the rest is written.

#![no_main]

use edge_runtime::pretrained::tokenizer;
use edge_runtime::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

const FILES: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ngood\nfilm\n##s\n@user\n";

const TOKENIZER: &str = r###"{"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 1, "content": "[UNK]", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3,
            "[MASK]": 4, "a": 5, "good": 6, "film": 7, "##s": 8, "@user": 9}}}"###;

/// Folders with a tokenizer, one for each form.
static FOLDERS: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("edge-fuzz-{}", std::process::id()));
    [("vocab.txt", VOCABULARY), ("tokenizer.json", TOKENIZER)].map(|(name, content)| {
        let folder = root.join(name.replace('.', "-"));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        std::fs::write(folder.join(name), content).expect("it can be written to");
        folder
    })
});

fuzz_target!(|input: &[u8]| {
    let [how, rest @ ..] = input else { return };
    let folder = &FOLDERS[usize::from(how & 1)];
    let path = folder.join(FILES[usize::from(how >> 1) % FILES.len()]);
    std::fs::write(&path, rest).expect("it can be written to");
    let read = tokenizer::read(folder);
    std::fs::remove_file(&path).expect("it was written");
    match read {
        Ok(json) => {
            let tokenizer = Tokenizer::from_json(&json, 16).expect("what is read can be used");
            drop(tokenizer.encode("a good films @user [url]"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
