//! Token ids equal those of Hugging Face `tokenizers` in Python.

use anyhow::Result;
use edge_runtime::tokenizer::Tokenizer;
use edge_tests::project;
use serde::Deserialize;
use std::io::{BufRead, BufReader};

/// Length to which the goldens were cut.
const MAX_TOKENS: usize = 512;

#[derive(Deserialize)]
struct Golden {
    text: String,
    ids: Vec<u32>,
}

fn goldens() -> Result<Vec<Golden>> {
    let file = std::fs::File::open(project("tests/goldens/tokenizer.jsonl"))?;
    BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

fn tokenizer(max_tokens: usize) -> Result<Tokenizer> {
    let json = std::fs::read(project("models/sst2-minilm/tokenizer.json"))?;
    Ok(Tokenizer::from_json(&json, max_tokens)?)
}

#[test]
fn ids_equal_those_of_python() -> Result<()> {
    let (goldens, tokenizer) = (goldens()?, tokenizer(MAX_TOKENS)?);
    assert!(goldens.len() >= 2000, "{} strings", goldens.len());
    for Golden { text, ids } in &goldens {
        assert_eq!(&tokenizer.encode(text)?.ids, ids, "{text:?}");
    }
    Ok(())
}

#[test]
fn long_texts_are_cut_and_say_so() -> Result<()> {
    let (goldens, tokenizer, longer) = (goldens()?, tokenizer(MAX_TOKENS)?, tokenizer(1 << 20)?);
    let mut cut = 0;
    for Golden { text, ids } in &goldens {
        assert!(ids.len() <= MAX_TOKENS);
        let whole = longer.encode(text)?;
        let encoded = tokenizer.encode(text)?;
        assert!(!whole.truncated);
        assert_eq!(encoded.truncated, whole.ids.len() > MAX_TOKENS, "{text:?}");
        if encoded.truncated {
            cut += 1;
            assert_eq!(encoded.ids.len(), MAX_TOKENS);
            assert_eq!(encoded.ids[..MAX_TOKENS - 1], whole.ids[..MAX_TOKENS - 1]);
            assert_eq!(encoded.ids.last(), whole.ids.last(), "[SEP] stays at the end");
        }
    }
    assert!(cut > 0, "the goldens hold a text that is too long");
    Ok(())
}

#[test]
fn the_least_length_leaves_one_word_piece() -> Result<()> {
    let encoded = tokenizer(3)?.encode("a charming little film")?;
    // [CLS] a [SEP]
    assert_eq!((encoded.ids, encoded.truncated), (vec![2, 43, 3], true));
    Ok(())
}

/// Refuses a tokenizer that adds too many tokens: `tokenizers` would subtract below zero.
#[test]
fn a_tokenizer_that_adds_more_than_the_model_takes_is_refused() {
    let error = tokenizer(1).unwrap_err().to_string();
    assert!(error.contains("adds 2 tokens") && error.contains("takes 1"), "{error}");
}

#[test]
fn a_bundle_s_tokenizer_gives_the_ids_of_the_whole_library_s() -> Result<()> {
    let shipped = std::fs::read(project("models/sst2-minilm/tokenizer.json"))?;
    let mut all = vec![shipped.clone()];
    for (part, value) in [
        (
            "normalizer",
            r#"{"type": "Sequence", "normalizers": [{"type": "NFKD"},
            {"type": "Sequence", "normalizers": [{"type": "StripAccents"}, {"type": "Lowercase"}]},
            {"type": "Strip", "strip_left": true, "strip_right": false}]}"#,
        ),
        (
            "normalizer",
            r#"{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "NFD"},
            {"type": "NFKC"}]}"#,
        ),
        ("normalizer", "null"),
        (
            "pre_tokenizer",
            r#"{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
            {"type": "Punctuation"}, {"type": "Digits", "individual_digits": true}]}"#,
        ),
        ("pre_tokenizer", r#"{"type": "Whitespace"}"#),
        ("pre_tokenizer", "null"),
        (
            "post_processor",
            r#"{"type": "BertProcessing", "sep": ["[SEP]", 102],
            "cls": ["[CLS]", 101]}"#,
        ),
    ] {
        let mut json: serde_json::Value = serde_json::from_slice(&shipped)?;
        json[part] = serde_json::from_str(value)?;
        all.push(serde_json::to_vec(&json)?);
    }
    let mut different = 0;
    let first = Tokenizer::from_bundle(&shipped, 64)?;
    for json in all {
        let (bundled, whole) =
            (Tokenizer::from_bundle(&json, 64)?, Tokenizer::from_json(&json, 64)?);
        for Golden { text, .. } in goldens()? {
            let encoded = bundled.encode(&text)?;
            assert_eq!(encoded, whole.encode(&text)?, "{text:?}");
            different += usize::from(encoded != first.encode(&text)?);
        }
    }
    assert!(different > 1000, "the parts make a difference: {different}");
    Ok(())
}
