//! DistilBERT (Sanh et al. 2019, "DistilBERT, a distilled version of BERT").

use super::{Family, Keys, OwnHead};
use edge_runtime::graph::Activation;

/// DistilBERT.
pub static DISTILBERT: Family = Family {
    model_type: "distilbert",
    encoder_class: "DistilBertModel",
    classifier_class: "DistilBertForSequenceClassification",
    keys: Keys {
        layers: "n_layers",
        hidden: "dim",
        heads: "n_heads",
        intermediate: "hidden_dim",
        activation: "activation",
        epsilon: None,
        aliases: &[
            ("num_hidden_layers", "n_layers"),
            ("hidden_size", "dim"),
            ("num_attention_heads", "n_heads"),
        ],
    },
    constants: &[("sinusoidal_pos_embds", false)],
    token_types: 0,
    prefix: "distilbert.",
    layers: "transformer.layer",
    modules: [
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "sa_layer_norm",
        "ffn.lin1",
        "ffn.lin2",
        "output_layer_norm",
    ],
    head: OwnHead {
        dense: "pre_classifier",
        activation: Activation::Relu,
        classifier: "classifier",
    },
};
