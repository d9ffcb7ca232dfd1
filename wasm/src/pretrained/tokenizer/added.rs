//! Added tokens of a tokenizer, and their ids.

use super::settings::{self, Settings, TOKENIZER};
use crate::Error;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Names of special tokens, in the order in which transformers adds them.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A token that is found in a text before the text is split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

impl Added {
    fn plain(content: &str, special: bool) -> Self {
        let (single_word, lstrip, rstrip) = (false, false, false);
        Added {
            content: content.into(),
            single_word,
            lstrip,
            rstrip,
            normalized: !special,
            special,
        }
    }

    /// Reads a token of a settings file: a string or an object.
    fn read(value: &Value, special: bool) -> Result<Self, String> {
        let wrong = || format!("expected a token as a string or an object, found {value}");
        match value {
            Value::String(content) => Ok(Added::plain(content, special)),
            Value::Object(fields) => {
                let content = fields.get("content").and_then(Value::as_str).ok_or_else(wrong)?;
                let flag = |name: &str, absent: bool| match fields.get(name) {
                    None | Some(Value::Null) => Ok(absent),
                    Some(Value::Bool(flag)) => Ok(*flag),
                    Some(other) => Err(format!(
                        "`{name}` of the token `{content}`: expected true or false, found {other}"
                    )),
                };
                let special = special || flag("special", false)?;
                Ok(Added {
                    content: content.into(),
                    single_word: flag("single_word", false)?,
                    lstrip: flag("lstrip", false)?,
                    rstrip: flag("rstrip", false)?,
                    normalized: flag("normalized", !special)?,
                    special,
                })
            }
            _ => Err(wrong()),
        }
    }
}

/// The added tokens of a `tokenizer.json`, with their ids.
pub(super) fn of_tokenizer(tokenizer: &Value) -> Result<Vec<(u64, Added)>, String> {
    let tokens = tokenizer["added_tokens"].as_array();
    tokens
        .into_iter()
        .flatten()
        .map(|token| {
            let id = token["id"].as_u64().ok_or("`added_tokens` has a token without an id")?;
            Ok((id, Added::read(token, false)?))
        })
        .collect()
}

/// Special tokens of the settings, and of the class where no file names them.
struct Special {
    /// Tokens with a name, as `cls_token`.
    named: Vec<Added>,
    /// Tokens of a list.
    unnamed: Vec<Added>,
    /// Contents in a file, by a name of all models or in a list.
    stated: Vec<String>,
    /// Contents of the class's defaults that are in no file.
    implied: Vec<String>,
    /// Contents by name, for names with a default in the class.
    by_name: HashMap<&'static str, String>,
}

impl Special {
    fn read(settings: &Settings, defaults: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut special = Special {
            named: Vec::new(),
            unnamed: Vec::new(),
            stated: Vec::new(),
            implied: Vec::new(),
            by_name: HashMap::new(),
        };
        let further = settings.further_names();
        let further = further.iter().filter(|name| !NAMES.contains(name));
        for name in NAMES.iter().chain(further) {
            let default = defaults.iter().find(|(known, _)| known == name);
            let token = match (settings.named(name), default) {
                (None, None) => continue,
                (None, Some((_, token))) => {
                    special.implied.push((*token).into());
                    Added::plain(token, true)
                }
                (Some((Value::Null, file)), Some(_)) if needs(name) => {
                    let problem = format!("`{name}`: expected a token, found null");
                    return Err(Error::file(settings.path(file), problem));
                }
                (Some((Value::Null, _)), _) => continue,
                (Some((value, file)), _) => {
                    let token = read(settings, (file, name), value, true)?;
                    if NAMES.contains(name) {
                        special.stated.push(token.content.clone());
                    }
                    token
                }
            };
            if let Some((known, _)) = default {
                special.by_name.insert(known, token.content.clone());
            }
            special.named.push(token);
        }
        for (value, file, name) in settings.unnamed()? {
            let token = read(settings, (file, name), &value, true)?;
            // transformers 5 reads `added_tokens.json` before these.
            if (file, name) != (settings::SPECIAL, settings::ADDITIONAL) {
                special.stated.push(token.content.clone());
            }
            special.unnamed.push(token);
        }
        Ok(special)
    }
}

/// Returns true if every text needs a special token.
fn needs(name: &str) -> bool {
    matches!(name, "unk_token" | "sep_token" | "cls_token")
}

fn read(
    settings: &Settings,
    (file, name): (&str, &str),
    value: &Value,
    special: bool,
) -> Result<Added, Error> {
    Added::read(value, special)
        .map_err(|problem| Error::file(settings.path(file), format!("`{name}`: {problem}")))
}

/// Tokens in the order in which they are added.
pub(super) struct Tokens {
    list: Vec<Added>,
    /// Contents of the tokens with an id in a file.
    stated: HashSet<String>,
    implied: Vec<String>,
    by_name: HashMap<&'static str, String>,
}

impl Tokens {
    /// Collects all added tokens: the tokens of `tokenizer.json` (`own`), of the settings, and the
    /// special tokens of the class.
    ///
    /// A class that builds its tokenizer itself (`anew`) uses `own` only if the settings lack
    /// `added_tokens_decoder`.
    pub fn of(
        settings: &Settings,
        own: Vec<(u64, Added)>,
        defaults: &[(&'static str, &str)],
        anew: bool,
    ) -> Result<Self, Error> {
        let special = Special::read(settings, defaults)?;
        let decoder = settings.get("added_tokens_decoder").is_some();
        let mut stated = HashSet::new();
        let mut numbered = BTreeMap::new();
        for (id, value, file) in settings.numbered()? {
            let token = read(settings, (file, "added_tokens_decoder"), &value, false)?;
            let is_special = !decoder && special.stated.contains(&token.content);
            stated.insert(token.content.clone());
            numbered
                .insert(id, if is_special { Added::plain(&token.content, true) } else { token });
        }
        if anew && decoder {
            check_decoder(settings, &own, numbered.values().chain(&special.named))?;
        }
        let kept = if anew { &[] } else { own.as_slice() };
        let mut list: Vec<Added> = kept.iter().map(|(_, token)| token.clone()).collect();
        if !decoder {
            for (id, token) in own {
                stated.insert(token.content.clone());
                numbered.insert(id, token);
            }
        }
        for mut token in
            numbered.into_values().filter(|token| !list.contains(token)).collect::<Vec<_>>()
        {
            token.special |= special.named.iter().any(|other| other.content == token.content);
            match list.iter_mut().find(|other| other.content == token.content) {
                Some(other) => *other = token,
                None => list.push(token),
            }
        }
        for token in special.named.into_iter().chain(special.unnamed) {
            if list.iter().all(|other| other.content != token.content) {
                list.push(token);
            }
        }
        list.retain(|token| !token.content.is_empty());
        Ok(Tokens { list, stated, implied: special.implied, by_name: special.by_name })
    }

    /// Returns true if a file has an id for a token.
    pub fn has_id(&self, token: &str) -> bool {
        self.stated.contains(token)
    }

    /// The special token of a name. The class must have a default for the name.
    pub fn name(&self, name: &str) -> &str {
        &self.by_name[name]
    }

    /// Numbers the tokens: a token has its id in the vocabulary, or the next id after the
    /// vocabulary.
    ///
    /// The ids in files give the order only, as in transformers. If a vocabulary repeats a piece,
    /// the first added token has the number of different pieces as its id.
    ///
    /// A default special token that is absent from all files and from the vocabulary is left out,
    /// if the model lacks an embedding for it.
    pub fn number(self, model: &Value, settings: &Settings, file: &str) -> Result<Numbered, Error> {
        let problem = "its model has no `vocab`";
        let (pieces, size) =
            pieces(model).ok_or_else(|| Error::file(settings.path(file), problem))?;
        let implied = |token: &String| self.implied.contains(token) && !self.stated.contains(token);
        let embeddings = settings.embeddings().unwrap_or(u64::MAX);
        let mut next = size as u64;
        let mut tokens = Vec::new();
        for token in self.list {
            let id = match pieces.get(token.content.as_str()) {
                Some(id) => *id,
                None if implied(&token.content) && next >= embeddings => continue,
                None => {
                    next += 1;
                    next - 1
                }
            };
            tokens.push((id, token));
        }
        tokens.sort_by_key(|(id, _)| *id);
        Ok(Numbered { tokens, by_name: self.by_name })
    }
}

/// Pieces of a vocabulary with their ids, and its size. The vocabulary of byte pairs and word
/// pieces is a map, that of Unigram is a list of pieces with scores.
fn pieces(model: &Value) -> Option<(HashMap<&str, u64>, usize)> {
    let pieces: HashMap<&str, u64> = match &model["vocab"] {
        Value::Object(pieces) => {
            pieces.iter().filter_map(|(piece, id)| Some((piece.as_str(), id.as_u64()?))).collect()
        }
        Value::Array(list) => {
            let pieces = (0..).zip(list).filter_map(|(id, piece)| Some((piece[0].as_str()?, id)));
            return Some((pieces.collect(), list.len()));
        }
        _ => return None,
    };
    let size = pieces.len();
    Some((pieces, size))
}

/// Refuses an `added_tokens_decoder` that lacks a token of `tokenizer.json`: transformers 4 adds
/// that token, transformers 5 leaves it out.
fn check_decoder<'a>(
    settings: &Settings,
    own: &[(u64, Added)],
    others: impl Iterator<Item = &'a Added>,
) -> Result<(), Error> {
    let others: Vec<&str> = others.map(|token| token.content.as_str()).collect();
    match own.iter().find(|(_, token)| !others.contains(&token.content.as_str())) {
        None => Ok(()),
        Some((_, token)) => Err(settings.error(format!(
            "`added_tokens_decoder` lacks `{}`, which {TOKENIZER} has; expected both to agree",
            token.content
        ))),
    }
}

/// Added tokens with their ids, in the order of the ids.
pub(super) struct Numbered {
    tokens: Vec<(u64, Added)>,
    by_name: HashMap<&'static str, String>,
}

impl Numbered {
    /// The special token of a name, with its id.
    pub fn name(&self, name: &str) -> (&str, Option<u64>) {
        let content = self.by_name[name].as_str();
        let id = self.tokens.iter().find(|(_, token)| token.content == content);
        (content, id.map(|(id, _)| *id))
    }
}

/// Writes added tokens into a `tokenizer.json`. If the tokens are unchanged, their order stays.
pub(super) fn write(tokenizer: &mut Value, tokens: &Numbered) {
    let mut own = of_tokenizer(tokenizer).unwrap_or_default();
    own.sort_by_key(|(id, _)| *id);
    if own == tokens.tokens {
        return;
    }
    tokenizer["added_tokens"] = tokens
        .tokens
        .iter()
        .map(|(id, token)| {
            json!({
                "id": id, "content": token.content, "single_word": token.single_word,
                "lstrip": token.lstrip, "rstrip": token.rstrip, "normalized": token.normalized,
                "special": token.special,
            })
        })
        .collect();
}
