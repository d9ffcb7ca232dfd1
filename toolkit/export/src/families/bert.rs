//! BERT (Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers").

use super::{Family, Keys, OwnHead};
use edge_runtime::graph::Activation;

/// BERT.
pub static BERT: Family = Family {
    model_type: "bert",
    encoder_class: "BertModel",
    classifier_class: "BertForSequenceClassification",
    keys: Keys {
        layers: "num_hidden_layers",
        hidden: "hidden_size",
        heads: "num_attention_heads",
        intermediate: "intermediate_size",
        activation: "hidden_act",
        epsilon: Some("layer_norm_eps"),
        aliases: &[],
    },
    constants: &[],
    token_types: 2,
    prefix: "bert.",
    layers: "encoder.layer",
    modules: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ],
    head: OwnHead {
        dense: "bert.pooler.dense",
        activation: Activation::Tanh,
        classifier: "classifier",
    },
};
