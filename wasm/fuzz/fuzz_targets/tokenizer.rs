//! Fuzz target of `tokenizer.json`: any input gives an error, or a tokenizer that keeps its limits.

#![no_main]

use edge_runtime::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

const MAX_TOKENS: usize = 16;
const VOCABULARY: usize = 4096;

const TEXTS: [&str; 6] = [
    "",
    "a good film",
    "Ünïcode 真的很好 \u{1f980}\u{200d}",
    "a\0b",
    " \n\t ",
    "[CLS] [SEP] <s> ##a @user [url]",
];

fuzz_target!(|input: &[u8]| {
    // `from_bundle` accepts fewer kinds; all of them run.
    for read in [Tokenizer::from_json, Tokenizer::from_bundle] {
        let Ok(tokenizer) = read(input, MAX_TOKENS) else { continue };
        let tokenizer = tokenizer.with_vocabulary(VOCABULARY);
        for text in TEXTS {
            let Ok(encoded) = tokenizer.encode(text) else { continue };
            assert!((1..=MAX_TOKENS).contains(&encoded.ids.len()), "{} tokens", encoded.ids.len());
            assert!(encoded.ids.iter().all(|id| (*id as usize) < VOCABULARY));
        }
    }
});
