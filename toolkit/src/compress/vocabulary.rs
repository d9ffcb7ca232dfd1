//! Removal of word pieces that a model does not need.
//!
//! BERT's vocabulary has about a thousand unused entries and pieces of many scripts. A model for
//! one language pays for them in embeddings: a third of MiniLM is its vocabulary.

use crate::Error;
use crate::checkpoint::{Checkpoint, TOKENIZER_CONFIG, tokenizer_config};
use crate::files::{Output, copy_files};
use crate::network::{own_head, read_tensors, write_tensors};
use candle_core::{DType, Device, Tensor};
use edge_export::text_file::read_file;
use edge_runtime::pretrained::tokenizer::SETTINGS;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use tokenizers::{NormalizedString, Normalizer};

/// Numbers of word pieces before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Number of word pieces before.
    pub before: usize,
    /// Number of word pieces that were kept.
    pub kept: usize,
}

/// Writes `checkpoint` to `output` with fewer word pieces. It drops pieces that are marked as
/// unused. It also drops pieces with a character that is neither ASCII nor in `texts`. Words with
/// other characters become `[UNK]`. Every other text gets the same pieces and the same answers.
///
/// With `seen`, a piece of several characters is also dropped if it occurs fewer times in `texts`.
/// A word whose pieces are all kept still gets the same ones. Any other word is split into smaller
/// pieces, down to single characters.
///
/// # Errors
/// [`Error::Checkpoint`] if the tokenizer is not WordPiece, [`Error::Output`] if `output` may not
/// be written, [`Error::Io`].
pub fn shrink<T: AsRef<str>>(
    checkpoint: &Path,
    texts: &[T],
    seen: Option<usize>,
    output: impl Into<Output>,
) -> Result<Dropped, Error> {
    let output = output.into();
    output.check(&[checkpoint])?;
    let opened = Checkpoint::open(checkpoint)?;
    let path = checkpoint.join("tokenizer.json");
    let wrong = |problem: String| Error::checkpoint(&path, problem);
    let bytes = opened.tokenizer()?;
    let mut tokenizer: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    let characters = characters(&bytes, texts).map_err(wrong)?;
    let frequent = seen.map(|seen| frequent(&bytes, texts, seen)).transpose().map_err(wrong)?;
    let kept = renumber(&mut tokenizer, &characters, frequent.as_ref()).map_err(wrong)?;
    let dropped = Dropped { before: opened.config.encoder.vocabulary, kept: kept.len() };

    let io = |path: &Path| {
        let path = path.to_owned();
        move |e| Error::io(path, e)
    };
    output.replace(|folder| {
        // The new tokenizer.json contains the settings.
        let changed = ["model.safetensors", "tokenizer.json", "vocab.txt", "config.json"];
        copy_files(checkpoint, folder, &[changed.as_slice(), &SETTINGS].concat())?;
        let write = |name: &str, json: &Value, pretty: bool| {
            let text = if pretty {
                serde_json::to_string_pretty(json)
            } else {
                serde_json::to_string(json)
            };
            std::fs::write(folder.join(name), text.expect("plain JSON"))
                .map_err(io(&folder.join(name)))
        };
        write("tokenizer.json", &tokenizer, false)?;
        write(TOKENIZER_CONFIG, &tokenizer_config(&tokenizer), true)?;
        let config = checkpoint.join("config.json");
        let mut json: Value = serde_json::from_slice(&read_file(&config)?)
            .map_err(|e| Error::checkpoint(&config, e.to_string()))?;
        json["vocab_size"] = kept.len().into();
        json["pad_token_id"] = id_of(&tokenizer, "[PAD]").unwrap_or(0).into();
        let mut tensors = select_rows(&opened, &kept)?;
        own_head::agree(&mut tensors, &mut json, opened.exits.as_ref());
        write("config.json", &json, true)?;
        write_tensors(&tensors, &folder.join("model.safetensors"))
    })?;
    Ok(dropped)
}

/// Characters of the texts after the tokenizer's normalizer.
fn characters<T: AsRef<str>>(tokenizer: &[u8], texts: &[T]) -> Result<HashSet<char>, String> {
    let tokenizer = tokenizers::Tokenizer::from_bytes(tokenizer).map_err(|e| e.to_string())?;
    let mut characters = HashSet::new();
    for text in texts {
        let mut text = NormalizedString::from(text.as_ref());
        if let Some(normalizer) = tokenizer.get_normalizer() {
            normalizer.normalize(&mut text).map_err(|e| e.to_string())?;
        }
        characters.extend(text.get().chars());
    }
    Ok(characters)
}

/// Ids of the pieces that occur at least `seen` times in the texts.
fn frequent<T: AsRef<str>>(
    tokenizer: &[u8],
    texts: &[T],
    seen: usize,
) -> Result<HashSet<u64>, String> {
    let tokenizer = tokenizers::Tokenizer::from_bytes(tokenizer).map_err(|e| e.to_string())?;
    let mut counts = HashMap::new();
    for text in texts {
        let encoding = tokenizer.encode_fast(text.as_ref(), false).map_err(|e| e.to_string())?;
        for id in encoding.get_ids() {
            *counts.entry(u64::from(*id)).or_insert(0) += 1;
        }
    }
    Ok(counts.into_iter().filter(|(_, count)| *count >= seen).map(|(id, _)| id).collect())
}

fn id_of(tokenizer: &Value, token: &str) -> Option<u64> {
    tokenizer["model"]["vocab"].get(token)?.as_u64()
}

/// Drops pieces of the vocabulary and renumbers the others in their order. Returns their old ids.
fn renumber(
    tokenizer: &mut Value,
    characters: &HashSet<char>,
    frequent: Option<&HashSet<u64>>,
) -> Result<Vec<u32>, String> {
    if tokenizer["model"]["type"] != "WordPiece" {
        return Err(format!("its model is {}; expected WordPiece", tokenizer["model"]["type"]));
    }
    let special: HashSet<String> = tokenizer["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|t| Some(t["content"].as_str()?.to_owned()))
        .collect();
    let vocabulary = tokenizer["model"]["vocab"].as_object().ok_or("its model has no `vocab`")?;
    let number = |id: &Value| id.as_u64().ok_or("an id is not a number");
    let mut old: Vec<(u64, String)> = vocabulary
        .iter()
        .map(|(piece, id)| Ok((number(id)?, piece.clone())))
        .collect::<Result<_, &str>>()?;
    old.sort();
    // Added tokens without a piece in the vocabulary follow it.
    let mut added: Vec<(u64, String)> = tokenizer["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|token| Some((token["content"].as_str()?, &token["id"])))
        .filter(|(content, _)| !vocabulary.contains_key(*content))
        .map(|(content, id)| Ok((number(id)?, content.into())))
        .collect::<Result<_, &str>>()?;
    added.sort();
    old.extend(added.iter().cloned());
    let prefix = tokenizer["model"]["continuing_subword_prefix"].as_str().unwrap_or("##");
    let keep = |id: &u64, piece: &str| {
        let letters = piece.strip_prefix(prefix).unwrap_or(piece);
        let frequent = frequent.is_none_or(|f| letters.chars().count() == 1 || f.contains(id));
        let unused = piece.starts_with("[unused") && piece.ends_with(']');
        let known = |c: char| c.is_ascii() || characters.contains(&c);
        special.contains(piece)
            || piece == "[UNK]"
            || (frequent && !unused && piece.chars().all(known))
    };
    let kept: Vec<_> = old.into_iter().filter(|(id, piece)| keep(id, piece)).collect();
    let new: HashMap<u64, usize> = kept.iter().enumerate().map(|(n, (id, _))| (*id, n)).collect();
    let renamed = |id: &Value| -> Result<Value, String> {
        let id = id.as_u64().ok_or("an id is not a number")?;
        Ok((*new.get(&id).ok_or(format!("the special token {id} is not in the vocabulary"))?)
            .into())
    };
    let places: HashMap<&str, usize> =
        kept.iter().enumerate().map(|(n, (_, piece))| (piece.as_str(), n)).collect();
    for token in tokenizer["added_tokens"].as_array_mut().into_iter().flatten() {
        let place = token["content"].as_str().and_then(|content| places.get(content));
        token["id"] = (*place.ok_or("an added token has no `content`")?).into();
    }
    // `BertProcessing` has `["[SEP]", 102]`, `TemplateProcessing` lists of ids.
    let processor = &mut tokenizer["post_processor"];
    for part in ["sep", "cls"] {
        if let Some(id) = processor.get_mut(part).and_then(|p| p.get_mut(1)) {
            *id = renamed(id)?;
        }
    }
    for token in processor
        .get_mut("special_tokens")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        for id in token["ids"].as_array_mut().into_iter().flatten() {
            *id = renamed(id)?;
        }
    }
    let pieces = kept.len() - added.len();
    let vocabulary = kept[..pieces].iter().enumerate();
    let vocabulary = vocabulary.map(|(n, (_, piece))| (piece.clone(), Value::from(n)));
    tokenizer["model"]["vocab"] = Value::Object(vocabulary.collect());
    Ok(kept.into_iter().map(|(id, _)| id as u32).collect())
}

/// Tensors of the checkpoint, with only the kept rows of the word embeddings.
fn select_rows(checkpoint: &Checkpoint, kept: &[u32]) -> Result<HashMap<String, Tensor>, Error> {
    let mut tensors = read_tensors(checkpoint)?;
    let rows = Tensor::new(kept, &Device::Cpu)?;
    for (name, tensor) in &mut tensors {
        if name.ends_with("word_embeddings.weight") {
            if tensor.dtype() == DType::U8 {
                let problem = format!("`{name}` is quantized; expected floats");
                return Err(Error::checkpoint(checkpoint.weights_path(), problem));
            }
            *tensor = tensor.index_select(&rows, 0)?;
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pieces_are_numbered_anew() {
        let mut tokenizer = json!({
            "added_tokens": [{"id": 3, "content": "[CLS]"}, {"id": 4, "content": "[SEP]"}],
            "post_processor": {
                "type": "TemplateProcessing",
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [3]}, "[SEP]": {"id": "[SEP]", "ids": [4]}},
            },
            "model": {
                "type": "WordPiece",
                "vocab": {"[PAD]": 0, "[unused0]": 1, "[UNK]": 2, "[CLS]": 3, "[SEP]": 4, "ж": 5, "a": 6, "é": 7},
            },
        });
        let kept = renumber(&mut tokenizer, &HashSet::from(['é']), None).unwrap();
        assert_eq!(kept, [0, 2, 3, 4, 6, 7]);
        assert_eq!(tokenizer["model"]["vocab"]["é"], 5);
        assert_eq!(tokenizer["added_tokens"][1]["id"], 3);
        assert_eq!(tokenizer["post_processor"]["special_tokens"]["[CLS]"]["ids"], json!([2]));
        let mut more = tokenizer.clone();
        let user = json!({"id": 6, "content": "@user"});
        more["added_tokens"].as_array_mut().unwrap().push(user);
        let kept = renumber(&mut more, &HashSet::new(), None).unwrap();
        assert_eq!(kept, [0, 1, 2, 3, 4, 6]);
        assert_eq!(more["added_tokens"][2]["id"], 5);
        assert_eq!(more["model"]["vocab"].as_object().unwrap().len(), 5);
        tokenizer["model"]["type"] = "BPE".into();
        assert!(renumber(&mut tokenizer, &HashSet::new(), None).unwrap_err().contains("WordPiece"));
    }
}
