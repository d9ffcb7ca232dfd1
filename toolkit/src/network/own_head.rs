//! The last exit under the names that transformers reads.
//!
//! transformers does not support exits. A checkpoint with `exits.json` therefore gets a copy of its
//! last exit as the head of transformers' own classifier, if both compute the same. BERT's head is
//! a dense layer of the hidden size and tanh on the first row. Otherwise `config.json` names the
//! encoder class, so no classifier is promised. This program reads the exits and ignores the copy.

use crate::checkpoint::{Exits, Pooling};
use candle_core::Tensor;
use edge_export::families::{self, Family};
use edge_runtime::graph::Activation;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Returns true if a tensor is part of the head of transformers' own classifiers.
pub(crate) fn is_part(name: &str) -> bool {
    let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
    families::ALL.iter().any(|family| family.is_own_head(module))
}

/// Makes `architectures` in `config.json` and the head of transformers' own classifier consistent
/// with the exits.
pub(crate) fn agree(
    tensors: &mut HashMap<String, Tensor>,
    config: &mut Value,
    exits: Option<&Exits>,
) {
    let Value::Object(fields) = config else { return };
    // No class of transformers has layers of different widths.
    let pruned = fields.contains_key("layer_widths");
    if pruned {
        fields.remove("architectures");
    }
    let Some(exits) = exits else { return };
    tensors.retain(|name, _| !is_part(name));
    if pruned {
        return;
    }
    let Ok(family) = families::find(fields.get("model_type").and_then(Value::as_str)) else {
        return;
    };
    let class = match copy_last(tensors, family, fields.get(family.keys.hidden), exits) {
        true => family.classifier_class,
        false => family.encoder_class,
    };
    fields.insert("architectures".into(), json!([class]));
}

/// Copies the last exit to the names of the family's own head, if it has the shape of one.
fn copy_last(
    tensors: &mut HashMap<String, Tensor>,
    family: &Family,
    hidden: Option<&Value>,
    exits: &Exits,
) -> bool {
    let hidden = hidden.and_then(Value::as_u64) == Some(exits.hidden as u64);
    let named = format!("{}embeddings.word_embeddings.weight", family.prefix);
    let same = family.head.activation == Activation::Tanh && exits.pooling == Pooling::Cls;
    if !hidden || !same || !tensors.contains_key(&named) {
        return false;
    }
    let last = exits.layers.len().saturating_sub(1);
    for (part, own) in [("dense", family.head.dense), ("classifier", family.head.classifier)] {
        for value in ["weight", "bias"] {
            let Some(tensor) = tensors.get(&format!("exits.{last}.{part}.{value}")).cloned() else {
                return false;
            };
            tensors.insert(format!("{own}.{value}"), tensor);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn tensors() -> HashMap<String, Tensor> {
        let names = [
            "bert.embeddings.word_embeddings.weight",
            "exits.0.dense.weight",
            "exits.0.dense.bias",
            "exits.0.classifier.weight",
            "exits.0.classifier.bias",
            "exits.1.dense.weight",
            "exits.1.dense.bias",
            "exits.1.classifier.weight",
            "exits.1.classifier.bias",
            // Tensors of an older head.
            "bert.pooler.dense.weight",
            "classifier.bias",
            "pre_classifier.weight",
        ];
        let tensor = |i: usize| Tensor::new(&[i as f32], &Device::Cpu).unwrap();
        names.iter().enumerate().map(|(i, name)| (name.to_string(), tensor(i))).collect()
    }

    fn agreed(config: Value, pooling: Pooling, hidden: usize) -> (HashMap<String, Tensor>, Value) {
        let exits =
            Exits { pooling, hidden, activation: "tanh".into(), layers: vec![1, 2], policy: None };
        let (mut tensors, mut config) = (tensors(), config);
        agree(&mut tensors, &mut config, Some(&exits));
        (tensors, config)
    }

    #[test]
    fn an_exit_of_the_shape_of_berts_head_is_copied() {
        let bert = json!({"model_type": "bert", "hidden_size": 8});
        let (tensors, config) = agreed(bert, Pooling::Cls, 8);
        assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
        let value = |name: &str| tensors[name].to_vec1::<f32>().unwrap();
        for value_of in ["weight", "bias"] {
            for (own, part) in [("bert.pooler.dense", "dense"), ("classifier", "classifier")] {
                let exit = value(&format!("exits.1.{part}.{value_of}"));
                assert_eq!(value(&format!("{own}.{value_of}")), exit);
            }
        }
        assert!(!tensors.contains_key("pre_classifier.weight"));
    }

    #[test]
    fn an_exit_of_another_shape_is_not_promised() {
        let bert = || json!({"model_type": "bert", "hidden_size": 8});
        let distilbert = json!({"model_type": "distilbert", "dim": 8});
        let mut pruned = bert();
        pruned["layer_widths"] = json!([{"heads": 1, "intermediate": 8}]);
        for (config, pooling, hidden, class) in [
            (bert(), Pooling::Mean, 8, json!(["BertModel"])),
            (bert(), Pooling::Cls, 4, json!(["BertModel"])),
            (distilbert, Pooling::Cls, 8, json!(["DistilBertModel"])),
            (pruned, Pooling::Cls, 8, Value::Null),
        ] {
            let (tensors, config) = agreed(config, pooling, hidden);
            assert_eq!(config["architectures"], class);
            assert!(!tensors.keys().any(|name| is_part(name)), "{:?}", tensors.keys());
        }
    }

    #[test]
    fn a_classifier_without_exits_stays() {
        let mut config =
            json!({"model_type": "bert", "architectures": ["BertForSequenceClassification"]});
        let (before, mut after) = (config.clone(), tensors());
        agree(&mut after, &mut config, None);
        assert_eq!(config, before);
        assert_eq!(after.len(), tensors().len());
    }
}
