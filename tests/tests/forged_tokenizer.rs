//! Untrusted tokenizers, with valid digests. `tokenizers` panics on some files that parse.

use anyhow::Result;
use edge_runtime::tokenizer::Tokenizer;
use edge_runtime::{Classifier, Error, ExitPolicy};
use edge_tests::{Parts, bundle};
use edge_toolkit::quantize::Precision;
use serde_json::{Value, json};

fn parts() -> Result<Parts> {
    Parts::of(&bundle("bert-exits", Precision::Fp32)?)
}

/// Opens the bundle and classifies texts.
fn answer(parts: Parts) -> Result<(), Error> {
    let classifier = Classifier::from_bytes(parts.pack())?;
    classifier.classify(&["good film", ""], &ExitPolicy::Never)?;
    Ok(())
}

fn with_tokenizer(change: impl FnOnce(&mut Value)) -> Result<Parts> {
    let mut forged = parts()?;
    let mut json: Value = serde_json::from_slice(&forged.tokenizer)?;
    change(&mut json);
    forged.tokenizer = serde_json::to_vec(&json)?;
    Ok(forged)
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() -> Result<()> {
    let larger = with_tokenizer(|t| {
        t["model"]["vocab"]["good"] = json!(5_000_000);
    })?;
    let error = answer(larger).unwrap_err().to_string();
    assert!(
        error.contains("token id 5000000; the model has embeddings for ids below 1006"),
        "{error}"
    );

    let adding = with_tokenizer(|t| {
        let cls = json!({"SpecialToken": {"id": "[CLS]", "type_id": 0}});
        let mut single = vec![cls; 200];
        single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
        t["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": single,
            "pair": single,
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
        });
    })?;
    let error = answer(adding).unwrap_err().to_string();
    assert!(error.contains("adds 200 tokens to a text, the model takes 128"), "{error}");

    let bare = with_tokenizer(|t| t["post_processor"] = Value::Null)?;
    let error = answer(bare).unwrap_err().to_string();
    assert!(error.contains("no token for a text"), "{error}");
    Ok(())
}

#[test]
fn a_tokenizer_that_is_none_is_refused() -> Result<()> {
    let mut files = vec![
        vec![],
        b"not json".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"[".repeat(200_000),
        b"{\"model\":".repeat(100_000),
        br#"{"model": {"type": "WordPiece", "vocab": {"a": -1}}}"#.to_vec(),
        br#"{"model": {"type": "WordPiece", "vocab": {"a": 99999999999999999999}}}"#.to_vec(),
        br#"{"model": {"type": "Unheard"}}"#.to_vec(),
    ];
    let good = parts()?.tokenizer;
    files.extend((0..good.len()).step_by(997).map(|n| good[..n].to_vec()));
    for file in files {
        let mut forged = parts()?;
        let shown = String::from_utf8_lossy(&file[..file.len().min(60)]).into_owned();
        forged.tokenizer = file;
        let error = answer(forged).expect_err(&shown);
        assert!(matches!(error, Error::Tokenizer(_)), "{shown}: {error}");
        assert!(error.to_string().starts_with("tokenizer.json"), "{shown}: {error}");
    }
    Ok(())
}

/// Collects the pointers to all values of a JSON value, with one entry only of a large object.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    match value {
        Value::Object(map) => {
            let some = if map.len() > 100 { 1 } else { map.len() };
            for (key, value) in map.iter().take(some) {
                places(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                places(value, format!("{at}/{i}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn whatever_stands_in_a_tokenizer_is_an_error_or_runs() -> Result<()> {
    let good: Value = serde_json::from_slice(&parts()?.tokenizer)?;
    let odd = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("\u{0}\u{1f980}"),
        json!([]),
        json!({}),
        json!([["", 0]]),
    ];
    let part = |kind: &str, rest: Value| {
        let mut part = rest;
        part["type"] = kind.into();
        part
    };
    let mut changes: Vec<(String, Value)> = Vec::new();
    let mut found = Vec::new();
    places(&good, String::new(), &mut found);
    for place in found {
        changes.extend(odd.iter().map(|value| (place.clone(), value.clone())));
    }
    let pre = |kind: &str, rest| ("/pre_tokenizer".to_string(), part(kind, rest));
    let normalizer = |kind: &str, rest| ("/normalizer".to_string(), part(kind, rest));
    let model = |kind: &str, rest| ("/model".to_string(), part(kind, rest));
    changes.extend([
        pre("FixedLength", json!({"length": 0})),
        pre("FixedLength", json!({"length": u64::MAX})),
        pre("Sequence", json!({"pretokenizers": []})),
        pre("Split", json!({"pattern": {"Regex": "(a*)*$"}, "behavior": "Isolated", "invert": false})),
        pre("Split", json!({"pattern": {"Regex": ""}, "behavior": "Removed", "invert": true})),
        pre("Split", json!({"pattern": {"String": ""}, "behavior": "Isolated", "invert": false})),
        pre("Metaspace", json!({"replacement": " ", "prepend_scheme": "always", "split": true})),
        pre("ByteLevel", json!({"add_prefix_space": true, "trim_offsets": true})),
        normalizer("Precompiled", json!({"precompiled_charsmap": ""})),
        normalizer("Precompiled", json!({"precompiled_charsmap": "AAAA"})),
        normalizer("Precompiled", json!({"precompiled_charsmap": "BAAAAP////8="})),
        normalizer("Precompiled", json!({"precompiled_charsmap": "/////w=="})),
        normalizer("Precompiled", json!({"precompiled_charsmap": "AAQAAA=="})),
        normalizer("Replace", json!({"pattern": {"String": ""}, "content": "a"})),
        normalizer("Replace", json!({"pattern": {"Regex": "(x+x+)+y"}, "content": ""})),
        normalizer("Prepend", json!({"prepend": ""})),
        normalizer("Strip", json!({"strip_left": true, "strip_right": true})),
        model("Unigram", json!({"unk_id": 7, "vocab": []})),
        model("Unigram", json!({"unk_id": null, "vocab": [["a", 0.0]]})),
        model("Unigram", json!({"unk_id": 0, "vocab": [["a", null]]})),
        model("Unigram", json!({"unk_id": 0, "vocab": [["", 0.0]]})),
        model("WordLevel", json!({"unk_token": "x", "vocab": {}})),
        model("BPE", json!({"vocab": {}, "merges": [["a", "b"]]})),
        model("BPE", json!({"vocab": {"a": 0, "b": 1}, "merges": ["a b"]})),
        model("BPE", json!({"vocab": {"a": 0}, "merges": [], "byte_fallback": true})),
        model("WordPiece", json!({"unk_token": "?", "continuing_subword_prefix": "", "max_input_chars_per_word": u64::MAX, "vocab": {"": 0}})),
    ]);
    let piece = |kind: &str, id: &str| json!({kind: {"id": id, "type_id": 0}});
    for pieces in [json!([piece("Sequence", "B")]), json!([piece("Sequence", "C")]), json!([])] {
        changes.push(("/post_processor/single".into(), pieces.clone()));
        changes.push(("/post_processor/pair".into(), pieces));
    }
    for length in [0, 1, 600] {
        let truncation = json!({"max_length": length, "strategy": "LongestFirst", "stride": 500,
            "direction": "Left"});
        changes.push(("/truncation".into(), truncation));
    }
    let added = |content: &str| {
        json!({"id": 7, "content": content, "single_word": true, "lstrip": true, "rstrip": true,
            "normalized": true, "special": false})
    };
    changes.push(("/added_tokens".into(), json!([added("x"), added("x"), added("X"), added(" ")])));
    let mut refused = 0;
    let mut bad = Vec::new();
    for (place, value) in changes {
        let mut json = good.clone();
        *json.pointer_mut(&place).expect("a place of it") = value.clone();
        let json = serde_json::to_vec(&json)?;
        let outcome = std::panic::catch_unwind(|| match Tokenizer::from_bundle(&json, 16) {
            Ok(tokenizer) => {
                for text in ["good film", "", "\u{0}\u{e9}\u{4e2d}\u{1f980}  y", &"x".repeat(500)] {
                    let _ = tokenizer.encode(text);
                }
                false
            }
            Err(error) => {
                assert!(matches!(error, Error::Tokenizer(_)));
                true
            }
        });
        match outcome {
            Ok(r) => refused += usize::from(r),
            Err(_) => bad.push(format!("{place} = {value}")),
        }
    }
    assert!(refused > 100, "{refused}");
    assert!(bad.is_empty(), "{bad:#?}");
    Ok(())
}
