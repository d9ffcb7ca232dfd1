//! The settings files beside a vocabulary.

use crate::Error;
use crate::pretrained::read_file;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Name of the file that contains a whole tokenizer.
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// Name of the file that contains a vocabulary, one token a line.
pub(super) const VOCABULARY: &str = "vocab.txt";

pub(super) const CONFIG: &str = "tokenizer_config.json";
pub(super) const SPECIAL: &str = "special_tokens_map.json";
pub(super) const ADDED: &str = "added_tokens.json";
const MODEL: &str = "config.json";

/// Setting that lists special tokens, by its older and its newer name.
pub(super) const ADDITIONAL: &str = "additional_special_tokens";
const EXTRA: &str = "extra_special_tokens";

type Fields = Map<String, Value>;

/// Settings of a tokenizer, by file.
pub(super) struct Settings {
    folder: PathBuf,
    config: Option<Fields>,
    special: Option<Fields>,
    added: Option<Fields>,
    model: Fields,
}

impl Settings {
    /// Reads the settings files of a folder.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| -> Result<Option<Fields>, Error> {
            let path = folder.join(name);
            if !path.exists() {
                return Ok(None);
            }
            let bytes = read_file(&path)?;
            serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::file(path, e.to_string()))
        };
        let config = read(CONFIG)?;
        // transformers ignores the older files if the newer one has ids for the added tokens.
        let numbered = config.as_ref().is_some_and(|c| c.contains_key("added_tokens_decoder"));
        let older = |name| if numbered { Ok(None) } else { read(name) };
        Ok(Settings {
            folder: folder.into(),
            special: older(SPECIAL)?,
            added: older(ADDED)?,
            model: read(MODEL)?.unwrap_or_default(),
            config,
        })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Makes an error about `tokenizer_config.json`.
    pub fn error(&self, problem: impl Into<String>) -> Error {
        Error::file(self.path(CONFIG), problem)
    }

    /// Returns true if the folder has a settings file besides `config.json`.
    pub fn has_files(&self) -> bool {
        self.config.is_some() || self.special.is_some() || self.added.is_some()
    }

    /// A setting of `tokenizer_config.json`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.config.as_ref()?.get(name)
    }

    /// A setting that is true, false or absent.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => {
                Err(self.error(format!("`{name}`: expected true or false, found {other}")))
            }
        }
    }

    pub fn truncation_side(&self) -> Option<&Value> {
        self.get("truncation_side")
    }

    /// Number of embeddings of the model.
    pub fn embeddings(&self) -> Option<u64> {
        self.model.get("vocab_size")?.as_u64()
    }

    /// Class that a file names: `tokenizer_config.json`, or else `config.json`.
    pub fn class_name(&self) -> Option<&str> {
        let mut files = self.config.iter().chain([&self.model]);
        files.find_map(|fields| fields.get("tokenizer_class")?.as_str())
    }

    /// `model_type` of `config.json`.
    pub fn model_type(&self) -> Option<&str> {
        self.model.get("model_type")?.as_str()
    }

    /// The file that names the class.
    pub fn class_path(&self) -> PathBuf {
        let named = self.get("tokenizer_class").is_some_and(Value::is_string);
        self.path(if named { CONFIG } else { MODEL })
    }

    /// Refuses settings that a `tokenizer.json` cannot express, or that run code.
    pub fn check(&self) -> Result<(), Error> {
        if self.flag("split_special_tokens")? == Some(true) {
            return Err(self.error(
                "`split_special_tokens` is true; expected false: [SEP] in a text is one token",
            ));
        }
        if let Some(side) = self.truncation_side().filter(|side| *side != "right") {
            return Err(self.error(format!(
                "`truncation_side` is {side}; expected \"right\", the only side that is supported"
            )));
        }
        for (name, reason) in [
            ("auto_map", "a tokenizer's own code is not run"),
            ("init_inputs", "arguments without a name are not read"),
        ] {
            if let Some(value) = self.get(name).filter(|value| !is_empty(value)) {
                return Err(self.error(format!("`{name}` is {value}; expected none: {reason}")));
            }
        }
        let files = self.get("fast_tokenizer_files").and_then(Value::as_array);
        if let Some(other) = files.into_iter().flatten().find(|file| *file != "tokenizer.json") {
            return Err(self.error(format!(
                "`fast_tokenizer_files` has {other}; expected \"tokenizer.json\" alone"
            )));
        }
        Ok(())
    }

    /// Added tokens of `tokenizer_config.json` or `added_tokens.json`, each with its id and its
    /// file.
    pub fn numbered(&self) -> Result<Vec<(u64, Value, &'static str)>, Error> {
        let wrong = |file: &str, problem: String| Error::file(self.path(file), problem);
        let mut tokens = Vec::new();
        match self.get("added_tokens_decoder") {
            None => {}
            Some(Value::Object(decoder)) => {
                for (id, token) in decoder {
                    let id = id.parse().map_err(|_| {
                        wrong(
                            CONFIG,
                            format!("`added_tokens_decoder`: expected an id, found `{id}`"),
                        )
                    })?;
                    tokens.push((id, token.clone(), CONFIG));
                }
            }
            Some(other) => {
                let problem = format!("`added_tokens_decoder`: expected an object, found {other}");
                return Err(wrong(CONFIG, problem));
            }
        }
        for (token, id) in self.added.iter().flatten() {
            let id = id
                .as_u64()
                .ok_or_else(|| wrong(ADDED, format!("`{token}`: expected an id, found {id}")))?;
            tokens.push((id, Value::from(token.as_str()), ADDED));
        }
        Ok(tokens)
    }

    /// Special token by name, such as `cls_token`, with its file. The older file has precedence.
    pub fn named(&self, name: &str) -> Option<(&Value, &'static str)> {
        let older = self.special.as_ref().and_then(|fields| fields.get(name));
        older.map(|value| (value, SPECIAL)).or_else(|| Some((self.get(name)?, CONFIG)))
    }

    /// Names of further special tokens, which this model alone has.
    pub fn further_names(&self) -> Vec<&str> {
        let fields = self.special.iter().chain(&self.config).flatten();
        let mut names = Vec::new();
        for (name, value) in fields {
            let is_token = value.is_string() || value["content"].is_string();
            if name.ends_with("_token") && is_token && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Special tokens without a name, each with its file and its setting.
    pub fn unnamed(&self) -> Result<Vec<(Value, &'static str, &'static str)>, Error> {
        let tokens = |fields: &Option<Fields>, file, name| {
            let tokens: Vec<&Value> = match fields.as_ref().and_then(|fields| fields.get(name)) {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(tokens)) => tokens.iter().collect(),
                Some(Value::Object(tokens)) => tokens.values().collect(),
                Some(other) => {
                    let problem = format!("`{name}`: expected a list of tokens, found {other}");
                    return Err(Error::file(self.path(file), problem));
                }
            };
            Ok(tokens.into_iter().map(|token| (token.clone(), file, name)).collect::<Vec<_>>())
        };
        let mut first = tokens(&self.config, CONFIG, EXTRA)?;
        if first.is_empty() {
            first = tokens(&self.config, CONFIG, ADDITIONAL)?;
        }
        let older = tokens(&self.special, SPECIAL, ADDITIONAL)?;
        let asked = [EXTRA, ADDITIONAL].map(|name| self.get(name).is_some_and(|v| !v.is_null()));
        if asked == [false; 2] {
            first = older;
        } else if !older.is_empty() && !first.iter().map(|t| &t.0).eq(older.iter().map(|t| &t.0)) {
            let problem =
                format!("`{ADDITIONAL}` differs from that of {CONFIG}; expected both to agree");
            return Err(Error::file(self.path(SPECIAL), problem));
        }
        for token in tokens(&self.special, SPECIAL, EXTRA)? {
            if first.iter().all(|(other, ..)| *other != token.0) {
                first.push(token);
            }
        }
        Ok(first)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
