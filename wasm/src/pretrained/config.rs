//! `config.json`: labels, task and sizes of a text classifier.

use super::read_file;
use crate::Error;
use crate::task::check_labels;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The only task that is supported: one label for each text, by softmax.
const SINGLE_LABEL: &str = "single_label_classification";

/// Families whose first token has the position `pad_token_id + 1` (`modeling_*.py` of
/// transformers). Their longest text is shorter by the same number.
const POSITIONS_AFTER_PADDING: [&str; 12] = [
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
];

/// Default `pad_token_id` of [`POSITIONS_AFTER_PADDING`].
const PADDING: usize = 1;

/// The largest size that is read.
const LARGEST: usize = i32::MAX as usize;

/// The largest `num_labels` for which default names are made.
const MOST_LABELS: usize = 1 << 20;

/// Settings of a text classifier, as transformers reads them from `config.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The labels, in the order of the outputs: two or more, with unique names.
    pub labels: Vec<String>,
    /// Number of tokens in the vocabulary.
    pub vocabulary: Option<usize>,
    /// Number of tokens that have positions, special tokens included.
    pub max_tokens: Option<usize>,
}

impl Config {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::File`] if [`from_json`](Self::from_json)
    /// fails.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_json(&read_file(path)?).map_err(|problem| Error::file(path, problem))
    }

    /// Reads the bytes of `config.json`.
    ///
    /// A setting that is `null` counts as absent. If `id2label` is absent, labels have the default
    /// names of transformers, `LABEL_0`, `LABEL_1`, … up to `num_labels` (2 by default). `label2id`
    /// is not read.
    ///
    /// # Errors
    /// A message that names the setting. Causes: another task than one label for each text; labels
    /// with gaps in their numbers or equal names; a contradiction to `num_labels`; an invalid size.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(json).map_err(|e| e.to_string())?;
        fields.retain(|_, value| !value.is_null());
        let config = Config {
            labels: labels(&fields)?,
            vocabulary: size(&fields, "vocab_size", LARGEST)?,
            max_tokens: max_tokens(&fields)?,
        };
        Ok(config)
    }
}

fn labels(fields: &Map<String, Value>) -> Result<Vec<String>, String> {
    if let Some(task) = fields.get("problem_type").filter(|task| *task != SINGLE_LABEL) {
        return Err(format!(
            "problem_type is {}; only `{SINGLE_LABEL}` is supported, one label for each text",
            quoted(task)
        ));
    }
    let number = size(fields, "num_labels", MOST_LABELS)?;
    let labels: Vec<String> = match fields.get("id2label") {
        None => (0..number.unwrap_or(2)).map(|i| format!("LABEL_{i}")).collect(),
        Some(Value::Object(named)) => names(named)?,
        Some(other) => {
            return Err(format!(
                "id2label is {}; expected an object that names the labels \"0\", \"1\", …",
                quoted(other)
            ));
        }
    };
    if let Some(number) = number.filter(|n| *n != labels.len()) {
        return Err(format!(
            "num_labels is {number}, and id2label names {} labels; remove num_labels, or name \
             every label",
            labels.len()
        ));
    }
    if labels.len() == 1 {
        return Err("1 label, which means regression in transformers; expected 2 labels or \
             more"
            .into());
    }
    check_labels(&labels)
        .map_err(|problem| format!("{problem}; give each a name of its own in id2label"))?;
    Ok(labels)
}

/// Names by number, from `id2label`.
fn names(id2label: &Map<String, Value>) -> Result<Vec<String>, String> {
    if id2label.is_empty() {
        return Err("id2label is empty; expected 2 labels or more".into());
    }
    let mut named = BTreeMap::new();
    for (key, value) in id2label {
        // Python's `int` accepts leading spaces and zeros.
        let number: i64 = key.trim().parse().map_err(|_| {
            format!("id2label has the key `{key}`; expected the numbers 0, 1, 2, …")
        })?;
        let name = match value {
            Value::String(name) => name.clone(),
            Value::Number(name) => name.to_string(),
            // Python's spelling, which transformers has in its answers.
            Value::Bool(true) => "True".into(),
            Value::Bool(false) => "False".into(),
            other => {
                return Err(format!(
                    "id2label names label {number} {}; expected a string, a number or a boolean",
                    quoted(other)
                ));
            }
        };
        if named.insert(number, name).is_some() {
            return Err(format!("id2label names label {number} twice"));
        }
    }
    if named.keys().copied().ne(0..named.len() as i64) {
        let mut found: Vec<String> = named.keys().take(8).map(i64::to_string).collect();
        if named.len() > found.len() {
            found.push("…".into());
        }
        return Err(format!(
            "id2label has the keys {}; expected 0 to {} without a gap",
            found.join(", "),
            named.len() - 1
        ));
    }
    Ok(named.into_values().collect())
}

/// Number of tokens that have positions, from `max_position_embeddings`.
fn max_tokens(fields: &Map<String, Value>) -> Result<Option<usize>, String> {
    const NAME: &str = "max_position_embeddings";
    let Some(positions) = size(fields, NAME, LARGEST)? else { return Ok(None) };
    let family = fields.get("model_type").and_then(Value::as_str).unwrap_or_default();
    if !POSITIONS_AFTER_PADDING.contains(&family) {
        return Ok(Some(positions));
    }
    // MPNet's code has a constant.
    let padding = match fields.get("pad_token_id").filter(|_| family != "mpnet") {
        None => PADDING,
        Some(id) => usize::try_from(id.as_u64().unwrap_or(u64::MAX)).unwrap_or(usize::MAX),
    };
    match positions.checked_sub(padding.saturating_add(1)) {
        Some(tokens) if tokens > 0 => Ok(Some(tokens)),
        _ => Err(format!(
            "{NAME} is {positions}, and the positions of a {family} begin after pad_token_id, {}; \
             expected more positions",
            fields.get("pad_token_id").map_or(PADDING.to_string(), Value::to_string)
        )),
    }
}

/// Reads a whole number of at least 1.
fn size(fields: &Map<String, Value>, name: &str, largest: usize) -> Result<Option<usize>, String> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(n) if (1..=largest).contains(&n) => Ok(Some(n)),
        _ => {
            Err(format!("{name} is {}; expected a whole number from 1 to {largest}", quoted(value)))
        }
    }
}

/// Formats a value for a message: strings as `text`, lists and objects by their kind.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(config: Value) -> Result<Config, String> {
        Config::from_json(config.to_string().as_bytes())
    }

    fn labels_of(config: Value) -> Vec<String> {
        read(config).unwrap().labels
    }

    fn max_tokens_of(config: Value) -> Option<usize> {
        read(config).unwrap().max_tokens
    }

    #[track_caller]
    fn refused(config: Value, parts: &[&str]) {
        let shown = config.to_string();
        let error = read(config).expect_err(&shown);
        for part in parts {
            assert!(error.contains(part), "{shown}: {error} (not {part})");
        }
    }

    #[test]
    fn labels_without_names_get_those_of_transformers() {
        assert_eq!(labels_of(json!({})), ["LABEL_0", "LABEL_1"]);
        assert_eq!(labels_of(json!({"num_labels": 3})), ["LABEL_0", "LABEL_1", "LABEL_2"]);
        let nulls = json!({"id2label": null, "num_labels": null, "problem_type": null});
        assert_eq!(labels_of(nulls), ["LABEL_0", "LABEL_1"]);
        // `id2label` alone decides.
        let config = json!({"label2id": {"a": 0, "b": 1, "c": 2}});
        assert_eq!(labels_of(config), ["LABEL_0", "LABEL_1"]);
        let config = json!({"id2label": {"0": "x", "1": "y"}, "label2id": {"x": 1, "y": 0}});
        assert_eq!(labels_of(config), ["x", "y"]);
    }

    #[test]
    fn names_may_be_strings_numbers_and_booleans() {
        assert_eq!(labels_of(json!({"id2label": {"0": 0, "1": 1, "2": -2}})), ["0", "1", "-2"]);
        assert_eq!(labels_of(json!({"id2label": {"0": 1.5, "1": "b"}})), ["1.5", "b"]);
        assert_eq!(labels_of(json!({"id2label": {"0": false, "1": true}})), ["False", "True"]);
        let many: Map<_, _> = (0..12).map(|i| (i.to_string(), json!(format!("n{i}")))).collect();
        assert_eq!(labels_of(json!({"id2label": many}))[9..], ["n9", "n10", "n11"]);
        refused(json!({"id2label": {"0": "a", "1": null}}), &["label 1 null", "a string"]);
        refused(json!({"id2label": {"0": "a", "1": ["b"]}}), &["label 1 a list"]);
    }

    #[test]
    fn labels_are_numbered_from_0_without_a_gap() {
        refused(json!({"id2label": {"1": "a", "2": "b"}}), &["keys 1, 2;", "expected 0 to 1"]);
        refused(json!({"id2label": {"0": "a", "2": "b"}}), &["keys 0, 2;", "expected 0 to 1"]);
        refused(json!({"id2label": {"-1": "a", "0": "b"}}), &["keys -1, 0;"]);
        refused(json!({"id2label": {"0": "a", "b": "b"}}), &["key `b`", "0, 1, 2"]);
        refused(json!({"id2label": {"0": "a", "00": "b", "1": "c"}}), &["label 0 twice"]);
        refused(json!({"id2label": {}}), &["id2label is empty"]);
        refused(json!({"id2label": ["a", "b"]}), &["id2label is a list"]);
        let many: Map<_, _> = (5..99).map(|i| (i.to_string(), json!(format!("n{i}")))).collect();
        refused(json!({"id2label": many}), &["keys 5, 6, 7, 8, 9, 10, 11, 12, …;", "0 to 93"]);
    }

    #[test]
    fn a_number_of_labels_that_contradicts_their_names_is_refused() {
        let names = json!({"0": "a", "1": "b"});
        assert_eq!(labels_of(json!({"id2label": names, "num_labels": 2})), ["a", "b"]);
        refused(json!({"id2label": names, "num_labels": 3}), &["num_labels is 3", "names 2"]);
        refused(json!({"num_labels": 0}), &["num_labels is 0", "from 1"]);
        refused(json!({"num_labels": 1u64 << 40}), &["num_labels is 1099511627776"]);
    }

    #[test]
    fn two_labels_of_one_name_are_refused() {
        let names = json!({"0": "other", "1": "spam", "2": "other"});
        refused(json!({"id2label": names}), &["labels 0 and 2", "`other`", "in id2label"]);
        refused(json!({"id2label": {"0": 1, "1": "1"}}), &["labels 0 and 1", "`1`"]);
        refused(json!({"id2label": {"0": "a", "1": " "}}), &["label 1", "empty name"]);
    }

    #[test]
    fn tasks_other_than_one_label_a_text_are_refused_by_name() {
        let names = json!({"0": "a", "1": "b"});
        for task in ["regression", "multi_label_classification", "elsewhere"] {
            let config = json!({"id2label": names, "problem_type": task});
            refused(config, &[&format!("`{task}`"), "`single_label_classification`"]);
        }
        let config = json!({"id2label": names, "problem_type": SINGLE_LABEL});
        assert_eq!(labels_of(config), ["a", "b"]);
        for config in [json!({"num_labels": 1}), json!({"id2label": {"0": "score"}})] {
            refused(config, &["1 label", "regression"]);
        }
    }

    #[test]
    fn positions_of_a_roberta_begin_after_its_padding() {
        let config = |family: &str| json!({"model_type": family, "max_position_embeddings": 514});
        for family in ["roberta", "xlm-roberta", "camembert", "longformer", "mpnet"] {
            assert_eq!(max_tokens_of(config(family)), Some(512), "{family}");
        }
        for family in ["bert", "distilbert", "electra", "nystromformer", "elsewhere"] {
            assert_eq!(max_tokens_of(config(family)), Some(514), "{family}");
        }
        let with_padding = |family: &str, id: Value| {
            let mut config = config(family);
            config["pad_token_id"] = id;
            config
        };
        assert_eq!(max_tokens_of(with_padding("roberta", json!(3))), Some(510));
        assert_eq!(max_tokens_of(with_padding("roberta", json!(null))), Some(512));
        assert_eq!(max_tokens_of(with_padding("mpnet", json!(3))), Some(512));
        assert_eq!(max_tokens_of(with_padding("bert", json!(600))), Some(514));
        for id in [json!(513), json!(u64::MAX), json!(-1)] {
            refused(with_padding("roberta", id.clone()), &["is 514", &id.to_string()]);
        }
    }

    #[test]
    fn sizes_are_whole_numbers_of_at_least_1() {
        for name in ["vocab_size", "max_position_embeddings"] {
            for wrong in [json!(0), json!(-1), json!(1e30), json!(2.5), json!("512"), json!([])] {
                refused(json!({name: wrong}), &[name, "expected a whole number from 1"]);
            }
        }
        let config = json!({"vocab_size": null, "max_position_embeddings": null});
        assert_eq!((read(config.clone()).unwrap().vocabulary, max_tokens_of(config)), (None, None));
        let config = json!({"vocab_size": 30, "max_position_embeddings": 16});
        assert_eq!(
            (read(config.clone()).unwrap().vocabulary, max_tokens_of(config)),
            (Some(30), Some(16))
        );
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for json in ["", "[]", "null", "{", "version https://git-lfs.github.com/spec/v1\n"] {
            assert!(Config::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
