//! Tokens of a tokenizer without an embedding.

use serde_json::Value;

/// Lists the tokens of a `tokenizer.json` whose ids are `embeddings` or more, by id.
///
/// Their cause is tokens that were added without `model.resize_token_embeddings(len(tokenizer))`.
pub(super) fn beyond(tokenizer: &[u8], embeddings: usize) -> serde_json::Result<Vec<String>> {
    let file: Value = serde_json::from_slice(tokenizer)?;
    let added = file["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|token| Some((token["id"].as_u64()?, token["content"].as_str()?)));
    let pieces = file["model"]["vocab"].as_object().into_iter().flatten();
    let pieces = pieces.filter_map(|(piece, id)| Some((id.as_u64()?, piece.as_str())));
    let mut tokens: Vec<_> =
        added.chain(pieces).filter(|(id, _)| *id >= embeddings as u64).collect();
    tokens.sort_unstable();
    tokens.dedup();
    Ok(tokens.into_iter().map(|(_, token)| token.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_beyond_the_embeddings_are_listed_by_id() {
        let tokenizer =
            br#"{"added_tokens": [{"id": 9, "content": "[url]"}, {"id": 0, "content": "[UNK]"},
            {"id": 7, "content": "b"}], "model": {"vocab": {"[UNK]": 0, "b": 7, "a": 6}}}"#;
        assert_eq!(beyond(tokenizer, 7).unwrap(), ["b", "[url]"]);
        assert!(beyond(tokenizer, 10).unwrap().is_empty());
    }
}
