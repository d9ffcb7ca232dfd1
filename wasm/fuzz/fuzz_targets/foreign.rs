//! Fuzz target of foreign ONNX files: any input gives an error, or answers.

#![no_main]

use edge_runtime::{Classifier, ExitPolicy};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

const CONFIG: &str = r#"{"model_type": "bert", "num_labels": 2, "vocab_size": 1006, "max_position_embeddings": 128}"#;

const TOKENIZER: &str = r###"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "decoder": null,
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3,
            "[MASK]": 4, "a": 5, "good": 6, "film": 7, "##s": 8, "##m": 9}}}"###;

/// Path of the model, in a folder with the other two files.
static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("edge-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    for (name, content) in [("config.json", CONFIG), ("tokenizer.json", TOKENIZER)] {
        std::fs::write(folder.join(name), content).expect("it can be written to");
    }
    folder.join("model.onnx")
});

fuzz_target!(|input: &[u8]| {
    std::fs::write(&*MODEL, input).expect("it can be written to");
    match Classifier::open_onnx(&*MODEL) {
        Ok(classifier) => {
            let texts = ["a good films", "", "film film film film film film film film film"];
            match classifier.classify(&texts, &ExitPolicy::Never) {
                Ok(predictions) => assert_eq!(predictions.len(), texts.len()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
