//! The names of Hugging Face's tensors.

use crate::checkpoint::ModelType;

/// What stands before the names of the encoder in a classifier's checkpoint.
pub fn prefix(model: ModelType) -> &'static str {
    match model {
        ModelType::Bert => "bert.",
        ModelType::DistilBert => "distilbert.",
    }
}

/// The modules of encoder layer `index`, each with a `.weight` and a `.bias`, without the prefix.
pub fn layer(model: ModelType, index: usize) -> Layer {
    let names = match model {
        ModelType::Bert => [
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        ],
        ModelType::DistilBert => [
            "attention.q_lin",
            "attention.k_lin",
            "attention.v_lin",
            "attention.out_lin",
            "sa_layer_norm",
            "ffn.lin1",
            "ffn.lin2",
            "output_layer_norm",
        ],
    };
    let stem = layer_stem(model, index);
    let [query, key, value, attention_output, attention_norm, intermediate, output, output_norm] =
        names.map(|name| format!("{stem}{name}"));
    Layer { query, key, value, attention_output, attention_norm, intermediate, output, output_norm }
}

/// What the names of the modules of encoder layer `index` begin with, without the prefix.
pub fn layer_stem(model: ModelType, index: usize) -> String {
    match model {
        ModelType::Bert => format!("encoder.layer.{index}."),
        ModelType::DistilBert => format!("transformer.layer.{index}."),
    }
}

/// See [`layer`].
#[allow(missing_docs)]
pub struct Layer {
    pub query: String,
    pub key: String,
    pub value: String,
    pub attention_output: String,
    pub attention_norm: String,
    pub intermediate: String,
    pub output: String,
    pub output_norm: String,
}

/// The dense layer and the classifier of the head that transformers' own classifiers have, and
/// the prefix of the dense layer.
pub fn own_head(model: ModelType) -> (&'static str, &'static str) {
    match model {
        ModelType::Bert => ("bert.pooler.dense", "classifier"),
        ModelType::DistilBert => ("pre_classifier", "classifier"),
    }
}
