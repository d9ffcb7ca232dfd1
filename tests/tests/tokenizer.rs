//! Token ids are those of Hugging Face `tokenizers` in Python.

use anyhow::Result;
use edge_runtime::tokenizer::Tokenizer;
use edge_tests::project;
use serde::Deserialize;
use std::io::{BufRead, BufReader};

/// What the goldens were cut to.
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

/// `tokenizers` would subtract the tokens that are added from those that there are.
#[test]
fn a_tokenizer_that_adds_more_than_the_model_takes_is_refused() {
    let error = tokenizer(1).unwrap_err().to_string();
    assert!(error.contains("adds 2 tokens") && error.contains("takes 1"), "{error}");
}
