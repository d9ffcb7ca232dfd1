//! `config.json` and `exits.json`.

use super::read_file;
use crate::Error;
use crate::quantize::{EmbeddingBits, Int8, Precision, Sites, WeightBits};
use edge_runtime::ExitPolicy;
use edge_runtime::graph::Activation;
use edge_runtime::pretrained::config::Config as Classifier;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// The architectures that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelType {
    /// BERT (Devlin et al. 2018).
    Bert,
    /// DistilBERT (Sanh et al. 2019).
    DistilBert,
}

impl ModelType {
    /// As in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            ModelType::Bert => "bert",
            ModelType::DistilBert => "distilbert",
        }
    }
}

/// The shape of a network, with one set of names for both architectures.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The architecture.
    pub model_type: ModelType,
    /// Number of encoder layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub hidden: usize,
    /// Number of attention heads; a head is `hidden / heads` wide.
    pub heads: usize,
    /// Width inside the feed-forward network.
    pub intermediate: usize,
    /// What is left of the heads and of that width in each layer, `layer_widths` in `config.json`;
    /// empty if all layers are whole.
    pub pruned: Vec<Widths>,
    /// The feed-forward network's activation.
    pub activation: Activation,
    /// Number of word pieces.
    pub vocabulary: usize,
    /// Number of positions.
    pub max_tokens: usize,
    /// Number of token types; BERT only.
    pub token_types: usize,
    /// Epsilon of the layer norms.
    pub epsilon: f32,
    /// The labels, in the order of the logits.
    pub labels: Vec<String>,
    /// What it was trained to be rounded to, `quantization` in `config.json`.
    pub quantize: Option<Quantize>,
}

/// What a layer has of what pruning takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Widths {
    /// Number of attention heads.
    pub heads: usize,
    /// Width inside the feed-forward network.
    pub intermediate: usize,
}

/// How finely a checkpoint is to be rounded when it is exported to int8: it was trained for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantize {
    /// Bits of the weights of the linear layers, as `edge-export --weight-bits` takes them.
    pub weight_bits: u8,
    /// Bits of the word embeddings, as `edge-export --embedding-bits` takes them.
    pub embedding_bits: u8,
    /// The linear layers whose weights have 4 bits in the file: `all`, or a list of names as
    /// `layers.0.qkv`; `edge-distill sensitivity` chooses them.
    #[serde(skip_serializing_if = "Sites::is_empty")]
    pub four_bits: Sites,
}

impl Default for Quantize {
    fn default() -> Self {
        Quantize { weight_bits: 7, embedding_bits: 8, four_bits: Sites::NONE }
    }
}

/// What is asked of an int8 export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// See [`Quantize::weight_bits`].
    pub weights: Option<u8>,
    /// See [`Quantize::embedding_bits`].
    pub embeddings: Option<u8>,
    /// Of the weights of all linear layers in the file: 4, or 8 for as many as are computed with.
    pub linear: Option<u8>,
}

impl Quantize {
    /// With what is asked for in place of its own.
    ///
    /// # Errors
    /// A message, if there are no such bits.
    pub fn with(self, bits: Bits) -> Result<Self, String> {
        Ok(Quantize {
            weight_bits: bits.weights.unwrap_or(self.weight_bits),
            embedding_bits: bits.embeddings.unwrap_or(self.embedding_bits),
            four_bits: match bits.linear {
                None => self.four_bits,
                Some(4) => Sites::ALL,
                Some(8) => Sites::NONE,
                Some(other) => return Err(format!("linear_bits is {other}; 4 and 8 are taken")),
            },
        })
    }

    /// As the network takes it.
    ///
    /// # Errors
    /// A message, if there are no such bits.
    pub fn int8(self) -> Result<Int8, String> {
        let bits =
            |name: &str, bits: u8, taken: &str| format!("{name} is {bits}; {taken} are taken");
        Ok(Int8 {
            weights: WeightBits::of(self.weight_bits)
                .ok_or_else(|| bits("weight_bits", self.weight_bits, "7 and 8"))?,
            embeddings: EmbeddingBits::of(self.embedding_bits)
                .ok_or_else(|| bits("embedding_bits", self.embedding_bits, "4 and 8"))?,
            four_bits: self.four_bits,
        })
    }
}

#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    position_embedding_type: Option<String>,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f32>,
    #[serde(alias = "dim")]
    hidden_size: Option<usize>,
    #[serde(alias = "n_layers")]
    num_hidden_layers: Option<usize>,
    #[serde(alias = "n_heads")]
    num_attention_heads: Option<usize>,
    #[serde(alias = "hidden_dim")]
    intermediate_size: Option<usize>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    #[serde(default)]
    layer_widths: Vec<Widths>,
    quantization: Option<Quantize>,
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        Self::from_json(&read_file(path)?).map_err(|problem| Error::checkpoint(path, problem))
    }

    fn from_json(json: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let model_type = match raw.model_type.as_deref() {
            Some("bert") => ModelType::Bert,
            Some("distilbert") => ModelType::DistilBert,
            other => {
                return Err(format!(
                    "model_type is {}; `bert` and `distilbert` are read",
                    other.map_or("missing".into(), |o| format!("`{o}`"))
                ));
            }
        };
        if let Some(kind) = raw.position_embedding_type.filter(|k| k != "absolute") {
            return Err(format!("position_embedding_type is `{kind}`; `absolute` is read"));
        }
        let Classifier { labels, vocabulary, max_tokens } = Classifier::from_json(json)?;
        let size = |name: &str, value: Option<usize>| match value {
            Some(n) if n > 0 => Ok(n),
            Some(_) => Err(format!("{name} is 0")),
            None => Err(format!("{name} is missing")),
        };
        let hidden = size("hidden_size (dim)", raw.hidden_size)?;
        let heads = size("num_attention_heads (n_heads)", raw.num_attention_heads)?;
        if hidden % heads != 0 {
            return Err(format!("{heads} heads do not divide a hidden size of {hidden}"));
        }
        let activation = match raw.hidden_act.as_deref().unwrap_or("gelu") {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => {
                return Err(format!(
                    "the activation is `{other}`; `gelu`, `gelu_new`, `gelu_pytorch_tanh` and \
                     `relu` are read"
                ));
            }
        };
        let layers = size("num_hidden_layers (n_layers)", raw.num_hidden_layers)?;
        let intermediate = size("intermediate_size (hidden_dim)", raw.intermediate_size)?;
        let pruned = raw.layer_widths;
        if !pruned.is_empty() && pruned.len() != layers {
            return Err(format!("layer_widths has {} entries for {layers} layers", pruned.len()));
        }
        let fits = |w: &Widths| {
            (1..=heads).contains(&w.heads) && (1..=intermediate).contains(&w.intermediate)
        };
        if let Some(layer) = pruned.iter().position(|w| !fits(w)) {
            let Widths { heads: h, intermediate: i } = pruned[layer];
            return Err(format!(
                "layer_widths leaves layer {layer} {h} heads and a width of {i}; it may have 1 to \
                 {heads} and 1 to {intermediate}"
            ));
        }
        Ok(Config {
            model_type,
            layers,
            hidden,
            heads,
            intermediate,
            pruned,
            activation,
            vocabulary: size("vocab_size", vocabulary)?,
            max_tokens: size("max_position_embeddings", max_tokens)?,
            token_types: raw.type_vocab_size.unwrap_or(2),
            epsilon: raw.layer_norm_eps.unwrap_or(1e-12),
            labels,
            quantize: raw.quantization.map(|q| q.int8().map(|_| q)).transpose()?,
        })
    }
}

impl Config {
    /// What layer `index`, counted from 0, has.
    pub fn widths(&self, index: usize) -> Widths {
        let whole = Widths { heads: self.heads, intermediate: self.intermediate };
        self.pruned.get(index).copied().unwrap_or(whole)
    }

    /// The precision of its int8 export: what it was made for, or the usual one.
    pub fn int8(&self) -> Precision {
        match self.quantize.map(Quantize::int8) {
            Some(Ok(int8)) => Precision::Int8(int8),
            _ => Precision::INT8,
        }
    }

    /// The same where some of it is asked for.
    ///
    /// # Errors
    /// A message, if there are no such bits.
    pub fn int8_with(&self, bits: Bits) -> Result<Int8, String> {
        self.quantize.unwrap_or_default().with(bits)?.int8()
    }

    /// The width of an attention head.
    pub fn head_size(&self) -> usize {
        self.hidden / self.heads
    }

    /// As `config.json` has it, for transformers' own classifiers too.
    pub fn to_json(&self) -> Value {
        let labels = || self.labels.iter().enumerate();
        let activation = match self.activation {
            Activation::GeluTanh => "gelu_new",
            Activation::Relu => "relu",
            _ => "gelu",
        };
        let mut json = match self.model_type {
            ModelType::Bert => json!({
                "architectures": ["BertForSequenceClassification"],
                "model_type": "bert",
                "hidden_size": self.hidden,
                "num_hidden_layers": self.layers,
                "num_attention_heads": self.heads,
                "intermediate_size": self.intermediate,
                "hidden_act": activation,
                "type_vocab_size": self.token_types,
                "layer_norm_eps": self.epsilon,
            }),
            ModelType::DistilBert => json!({
                "architectures": ["DistilBertForSequenceClassification"],
                "model_type": "distilbert",
                "dim": self.hidden,
                "n_layers": self.layers,
                "n_heads": self.heads,
                "hidden_dim": self.intermediate,
                "activation": activation,
                "sinusoidal_pos_embds": false,
            }),
        };
        let Value::Object(fields) = &mut json else { unreachable!("an object was just made") };
        if let Some(quantize) = self.quantize {
            fields.insert("quantization".into(), json!(quantize));
        }
        if !self.pruned.is_empty() {
            fields.insert("layer_widths".into(), json!(self.pruned));
        }
        fields.insert("vocab_size".into(), self.vocabulary.into());
        fields.insert("max_position_embeddings".into(), self.max_tokens.into());
        fields.insert("pad_token_id".into(), 0.into());
        fields.insert(
            "id2label".into(),
            labels().map(|(i, l)| (i.to_string(), Value::from(l.as_str()))).collect(),
        );
        fields.insert(
            "label2id".into(),
            labels().map(|(i, l)| (l.clone(), Value::from(i))).collect(),
        );
        json
    }
}

/// How the rows of a sentence become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of all rows.
    Mean,
    /// The first row.
    Cls,
}

/// `exits.json`: the exit heads of a checkpoint. The tensors of the head after `layers[i]` are
/// `exits.{i}.dense` and `exits.{i}.classifier`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Exits {
    /// How the rows of a sentence become one.
    pub pooling: Pooling,
    /// Width of the dense layer.
    pub hidden: usize,
    /// Its activation; `tanh`.
    pub activation: String,
    /// The layers after which there is a head: 0 is the embeddings; the last layer is the last.
    pub layers: Vec<usize>,
    /// The calibrated exit policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ExitPolicy>,
}

impl Exits {
    pub(super) fn read(path: &Path, config: &Config) -> Result<Self, Error> {
        let exits: Exits = serde_json::from_slice(&read_file(path)?)
            .map_err(|e| Error::checkpoint(path, e.to_string()))?;
        exits.check(config).map_err(|problem| Error::checkpoint(path, problem))?;
        Ok(exits)
    }

    fn check(&self, config: &Config) -> Result<(), String> {
        if self.activation != "tanh" {
            return Err(format!("the activation is `{}`; `tanh` is read", self.activation));
        }
        if self.layers.last() != Some(&config.layers) || !self.layers.is_sorted_by(|a, b| a < b) {
            return Err(format!(
                "layers is {:?}; it must ascend and end with the last layer, {}",
                self.layers, config.layers
            ));
        }
        if let Some(policy) = &self.policy {
            policy.check(self.layers.len()).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<Config, String> {
        Config::from_json(json.as_bytes())
    }

    const SMALL: &str = r#""dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16,
        "vocab_size": 10, "max_position_embeddings": 16"#;

    #[test]
    fn settings_that_are_absent_are_those_of_transformers() {
        let c = config(&format!(r#"{{"model_type": "distilbert", {SMALL}}}"#)).unwrap();
        assert_eq!(c.labels, ["LABEL_0", "LABEL_1"]);
        assert_eq!((c.hidden, c.activation), (8, Activation::Gelu));
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (extra, message) in [
            (r#""model_type": "roberta""#, "`roberta`"),
            (r#""model_type": "bert", "position_embedding_type": "relative_key""#, "relative_key"),
            (r#""model_type": "bert", "problem_type": "regression""#, "regression"),
            (r#""model_type": "bert", "hidden_act": "silu""#, "`silu`"),
            (r#""model_type": "bert", "id2label": {"0": "x"}"#, "1 label"),
            (r#""model_type": "bert", "id2label": {"0": "x", "2": "y"}"#, "id2label"),
            (r#""model_type": "bert", "layer_widths": [{"heads": 1, "intermediate": 17}]"#, "17"),
            (
                r#""model_type": "bert", "layer_widths": [{"heads": 0, "intermediate": 4}]"#,
                "0 heads",
            ),
        ] {
            let error = config(&format!("{{{extra}, {SMALL}}}")).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn exits_end_with_the_last_layer() {
        let c = config(&format!(r#"{{"model_type": "bert", {SMALL}}}"#)).unwrap();
        let exits = |layers: &str| -> Exits {
            serde_json::from_str(&format!(
                r#"{{"pooling": "mean", "hidden": 8, "activation": "tanh", "layers": {layers}}}"#
            ))
            .unwrap()
        };
        assert!(exits("[0, 1]").check(&c).is_ok());
        assert!(exits("[0]").check(&c).is_err());
        assert!(exits("[1, 1]").check(&c).is_err());
    }
}
