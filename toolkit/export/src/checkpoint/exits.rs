//! `exits.json`.

use crate::Error;
use crate::encoder::EncoderConfig;
use crate::text_file::read_file;
use edge_runtime::ExitPolicy;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Pooling: reduction of the rows of a text to one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of all rows.
    Mean,
    /// The first row.
    Cls,
}

/// Content of `exits.json`: the exit heads of a checkpoint. The tensors of the head after
/// `layers[i]` are `exits.{i}.dense` and `exits.{i}.classifier`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Exits {
    /// Pooling of the rows of a text.
    pub pooling: Pooling,
    /// Width of the dense layer.
    pub hidden: usize,
    /// Activation of the dense layer; `tanh`.
    pub activation: String,
    /// Layers with a head after them: 0 is the embeddings; the last value is the last layer.
    pub layers: Vec<usize>,
    /// Calibrated exit policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ExitPolicy>,
}

impl Exits {
    pub(super) fn read(path: &Path, encoder: &EncoderConfig) -> Result<Self, Error> {
        let exits: Exits = serde_json::from_slice(&read_file(path)?)
            .map_err(|e| Error::checkpoint(path, e.to_string()))?;
        exits.check(encoder).map_err(|problem| Error::checkpoint(path, problem))?;
        Ok(exits)
    }

    fn check(&self, encoder: &EncoderConfig) -> Result<(), String> {
        if self.activation != "tanh" {
            return Err(format!("the activation is `{}`; expected `tanh`", self.activation));
        }
        if self.layers.last() != Some(&encoder.layers) || !self.layers.is_sorted_by(|a, b| a < b) {
            return Err(format!(
                "layers is {:?}; it must ascend and end with the last layer, {}",
                self.layers, encoder.layers
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
    use crate::families::BERT;
    use serde_json::{Value, json};

    #[test]
    fn exits_end_with_the_last_layer() {
        let Value::Object(fields) = json!({
            "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "vocab_size": 10, "max_position_embeddings": 16,
        }) else {
            unreachable!("an object")
        };
        let encoder = BERT.read(&fields).unwrap();
        let exits = |layers: &str| -> Exits {
            serde_json::from_str(&format!(
                r#"{{"pooling": "mean", "hidden": 8, "activation": "tanh", "layers": {layers}}}"#
            ))
            .unwrap()
        };
        assert!(exits("[0, 1]").check(&encoder).is_ok());
        assert!(exits("[0]").check(&encoder).is_err());
        assert!(exits("[1, 1]").check(&encoder).is_err());
    }
}
