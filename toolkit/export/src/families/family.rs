//! A family as a table, and reading and writing of `config.json` by it.

use crate::encoder::{EncoderConfig, LayerPart};
use edge_runtime::graph::Activation;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;

/// A family of encoders as transformers has it.
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// Class of the encoder alone.
    pub encoder_class: &'static str,
    /// Class of the encoder with a head for sequence classification.
    pub classifier_class: &'static str,
    /// Keys of the sizes in `config.json`.
    pub keys: Keys,
    /// Settings in `config.json` that never differ.
    pub constants: &'static [(&'static str, bool)],
    /// Number of token types where `config.json` has none; 0 for a family without token types.
    pub token_types: usize,
    /// Prefix of the encoder's names in a classifier's checkpoint.
    pub prefix: &'static str,
    /// Name of the list of encoder layers, without the prefix.
    pub layers: &'static str,
    /// Names of the modules of a layer, in the order of [`LayerPart::ALL`].
    pub modules: [&'static str; 8],
    /// Head of the class for sequence classification.
    pub head: OwnHead,
}

/// Keys of the sizes in `config.json`.
pub struct Keys {
    /// Number of encoder layers.
    pub layers: &'static str,
    /// Width of the hidden states.
    pub hidden: &'static str,
    /// Number of attention heads.
    pub heads: &'static str,
    /// Width inside the feed-forward network.
    pub intermediate: &'static str,
    /// Activation of the feed-forward network.
    pub activation: &'static str,
    /// Epsilon of the layer norms, for a family in which it can be set.
    pub epsilon: Option<&'static str>,
    /// Further names of the same sizes that transformers takes, each with its key above.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// Head of transformers' own class for sequence classification. It reads the first row of a text.
pub struct OwnHead {
    /// Dense layer, `[hidden, hidden]`.
    pub dense: &'static str,
    /// Activation after the dense layer.
    pub activation: Activation,
    /// Linear layer, `[labels, hidden]`.
    pub classifier: &'static str,
}

/// Activations by their names in transformers; the first name of an activation is written.
const ACTIVATIONS: [(&str, Activation); 4] = [
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
];

/// Epsilon of the layer norms where `config.json` has none.
const EPSILON: f32 = 1e-12;

impl Family {
    /// Reads the shape of an encoder from the fields of `config.json`.
    ///
    /// # Errors
    /// A message with the field that is missing, of another type or not supported.
    pub fn read(&self, fields: &Map<String, Value>) -> Result<EncoderConfig, String> {
        if let Some(kind) = fields.get("position_embedding_type").filter(|k| **k != "absolute") {
            let kind = kind.as_str().unwrap_or("not text");
            return Err(format!("position_embedding_type is `{kind}`; expected `absolute`"));
        }
        let field = |key: &str| {
            let alias = self.keys.aliases.iter().find(|(_, of)| *of == key);
            let named = |key: &str| fields.get(key).filter(|value| !value.is_null());
            named(key).or_else(|| named(alias?.0))
        };
        let number = |key: &str, value: &Value| {
            value.as_u64().ok_or(format!("{key} is {value}; a whole number is expected"))
        };
        let size = |key: &str| match field(key) {
            None => Err(format!("{key} is missing")),
            Some(value) => match number(key, value)? {
                0 => Err(format!("{key} is 0")),
                n => Ok(n as usize),
            },
        };
        let activation = field(self.keys.activation).map_or(Some("gelu"), Value::as_str);
        let activation = activation.unwrap_or_default();
        let known = ACTIVATIONS.iter().find(|(name, _)| *name == activation);
        let Some((_, activation)) = known else {
            let names = ACTIVATIONS.map(|(name, _)| format!("`{name}`"));
            let (last, others) = names.split_last().expect("there are activations");
            return Err(format!(
                "the activation is `{activation}`; {} and {last} are read",
                others.join(", ")
            ));
        };
        let epsilon = self.keys.epsilon.and_then(field);
        let epsilon = epsilon.map_or(Some(f64::from(EPSILON)), Value::as_f64);
        let token_types = match (self.token_types, field("type_vocab_size")) {
            (0, _) => 0,
            (usual, None) => usual,
            (_, Some(value)) => number("type_vocab_size", value)? as usize,
        };
        let pruned = fields.get("layer_widths").cloned().map(serde_json::from_value).transpose();
        Ok(EncoderConfig {
            layers: size(self.keys.layers)?,
            hidden: size(self.keys.hidden)?,
            heads: size(self.keys.heads)?,
            intermediate: size(self.keys.intermediate)?,
            pruned: pruned.map_err(|e| format!("layer_widths: {e}"))?.unwrap_or_default(),
            activation: *activation,
            vocabulary: size("vocab_size")?,
            max_tokens: size("max_position_embeddings")?,
            token_types,
            epsilon: epsilon.ok_or("the epsilon of the layer norms is no number")? as f32,
        })
    }

    /// Writes the shape of an encoder into the fields of `config.json`.
    pub fn write(&self, encoder: &EncoderConfig, fields: &mut Map<String, Value>) {
        let keys = &self.keys;
        let mut set = |key: &str, value: Value| _ = fields.insert(key.into(), value);
        set("architectures", vec![self.classifier_class].into());
        set("model_type", self.model_type.into());
        set(keys.hidden, encoder.hidden.into());
        set(keys.layers, encoder.layers.into());
        set(keys.heads, encoder.heads.into());
        set(keys.intermediate, encoder.intermediate.into());
        let named = ACTIVATIONS.iter().find(|(_, activation)| *activation == encoder.activation);
        set(keys.activation, named.map_or("gelu", |(name, _)| name).into());
        if let Some(key) = keys.epsilon {
            set(key, encoder.epsilon.into());
        }
        if self.token_types > 0 {
            set("type_vocab_size", encoder.token_types.into());
        }
        self.constants.iter().for_each(|(key, value)| set(key, (*value).into()));
        if !encoder.pruned.is_empty() {
            set("layer_widths", serde_json::json!(encoder.pruned));
        }
        set("vocab_size", encoder.vocabulary.into());
        set("max_position_embeddings", encoder.max_tokens.into());
    }

    /// Stem of the names of layer `index`, counted from 0, without the prefix: `encoder.layer.0.`.
    pub fn layer(&self, index: usize) -> String {
        format!("{}.{index}.", self.layers)
    }

    /// Name of a module of layer `index`, without the prefix.
    pub fn module(&self, index: usize, part: LayerPart) -> String {
        format!("{}{}", self.layer(index), self.modules[part as usize])
    }

    /// True for a module of the own head, also of a bare encoder, whose names have no prefix.
    pub fn is_own_head(&self, module: &str) -> bool {
        let dense = self.head.dense;
        [dense, dense.trim_start_matches(self.prefix), self.head.classifier].contains(&module)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.model_type == other.model_type
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type)
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.model_type.serialize(serializer)
    }
}
