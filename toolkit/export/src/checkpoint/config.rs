//! `config.json`.

use crate::Error;
use crate::encoder::EncoderConfig;
use crate::families::{self, Family};
use crate::quantize::{Bits, Int8, Precision, Quantize};
use crate::text_file::read_file;
use edge_runtime::Task;
use edge_runtime::pretrained::config::Config as Classifier;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Settings of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family, which has the names of keys and modules.
    pub family: &'static Family,
    /// Shape of the encoder.
    pub encoder: EncoderConfig,
    /// The task, which gives the logits their meaning.
    pub task: Task,
    /// Rounding for which the checkpoint was trained, `quantization` in `config.json`.
    pub quantize: Option<Quantize>,
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        Self::from_json(&read_file(path)?).map_err(|problem| Error::checkpoint(path, problem))
    }

    fn from_json(json: &[u8]) -> Result<Self, String> {
        let fields: Map<String, Value> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let family = families::find(fields.get("model_type").and_then(Value::as_str))?;
        let Classifier { labels, .. } = Classifier::from_json(json)?;
        let encoder = family.read(&fields)?;
        encoder.check()?;
        let quantize = fields.get("quantization").filter(|value| !value.is_null());
        let quantize: Option<Quantize> = quantize
            .map(|value| serde_json::from_value(value.clone()))
            .transpose()
            .map_err(|e| format!("quantization: {e}"))?;
        quantize.map(Quantize::int8).transpose()?;
        Ok(Config { family, encoder, task: Task::SingleLabel { labels }, quantize })
    }

    /// Precision of the int8 export: the one that the checkpoint was trained for, or the usual one.
    pub fn int8(&self) -> Precision {
        match self.quantize.map(Quantize::int8) {
            Some(Ok(int8)) => Precision::Int8(int8),
            _ => Precision::INT8,
        }
    }

    /// Precision of the int8 export where some of it is asked for.
    ///
    /// # Errors
    /// A message with the number of bits, if it is not supported.
    pub fn int8_with(&self, bits: Bits) -> Result<Int8, String> {
        self.quantize.unwrap_or_default().with(bits)?.int8()
    }

    /// Turns to another family of the same shape. Token types are added or dropped where only one of the
    /// families has them.
    pub fn set_family(&mut self, family: &'static Family) {
        let types = &mut self.encoder.token_types;
        *types = match family.token_types {
            0 => 0,
            usual if *types == 0 => usual,
            _ => *types,
        };
        self.family = family;
    }

    /// Contents of `config.json`, which transformers' own classes read too.
    pub fn to_json(&self) -> Value {
        let labels = || self.task.labels().iter().enumerate();
        let mut fields = Map::new();
        self.family.write(&self.encoder, &mut fields);
        if let Some(quantize) = self.quantize {
            fields.insert("quantization".into(), json!(quantize));
        }
        fields.insert("pad_token_id".into(), 0.into());
        fields.insert(
            "id2label".into(),
            labels().map(|(i, l)| (i.to_string(), Value::from(l.as_str()))).collect(),
        );
        fields.insert(
            "label2id".into(),
            labels().map(|(i, l)| (l.clone(), Value::from(i))).collect(),
        );
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_runtime::graph::Activation;

    fn config(json: &str) -> Result<Config, String> {
        Config::from_json(json.as_bytes())
    }

    const SMALL: &str = r#""hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 10, "max_position_embeddings": 16"#;
    const SMALL_DISTILBERT: &str = r#""dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16,
        "vocab_size": 10, "max_position_embeddings": 16"#;

    #[test]
    fn settings_that_are_absent_are_those_of_transformers() {
        let distilbert = format!(r#"{{"model_type": "distilbert", {SMALL_DISTILBERT}}}"#);
        let c = config(&distilbert).unwrap();
        assert_eq!(c.task.labels(), ["LABEL_0", "LABEL_1"]);
        assert_eq!((c.encoder.hidden, c.encoder.activation), (8, Activation::Gelu));
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (extra, message) in [
            (r#""model_type": "roberta""#, "`roberta`"),
            (r#""model_type": "bert", "position_embedding_type": "relative_key""#, "relative_key"),
            (r#""model_type": "bert", "problem_type": "regression""#, "regression"),
            (r#""model_type": "bert", "hidden_act": "silu""#, "`silu`"),
            (r#""model_type": "bert", "num_attention_heads": 3"#, "3 heads do not divide"),
            (r#""model_type": "bert", "num_hidden_layers": 0"#, "num_hidden_layers is 0"),
            (r#""model_type": "bert", "type_vocab_size": "two""#, "type_vocab_size is \"two\""),
            (r#""model_type": "bert", "id2label": {"0": "x"}"#, "1 label"),
            (r#""model_type": "bert", "id2label": {"0": "x", "2": "y"}"#, "id2label"),
            (r#""model_type": "bert", "layer_widths": [{"heads": 1, "intermediate": 17}]"#, "17"),
            (
                r#""model_type": "bert", "layer_widths": [{"heads": 0, "intermediate": 4}]"#,
                "0 heads",
            ),
        ] {
            // The last of two keys counts.
            let error = config(&format!("{{{SMALL}, {extra}}}")).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
