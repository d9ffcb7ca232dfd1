//! Shape of an encoder, without a family: the sizes, and the parts of a layer.

use edge_runtime::graph::Activation;
use serde::{Deserialize, Serialize};

/// Shape of an encoder, with one set of names for all families.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Number of encoder layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub hidden: usize,
    /// Number of attention heads; the width of a head is `hidden / heads`.
    pub heads: usize,
    /// Width inside the feed-forward network.
    pub intermediate: usize,
    /// Widths of each layer after pruning; empty if all layers are whole.
    pub pruned: Vec<Widths>,
    /// Activation of the feed-forward network.
    pub activation: Activation,
    /// Number of word pieces.
    pub vocabulary: usize,
    /// Number of positions.
    pub max_tokens: usize,
    /// Number of token types; 0 for a family without them.
    pub token_types: usize,
    /// Epsilon of the layer norms.
    pub epsilon: f32,
}

/// Widths of a layer that pruning changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Widths {
    /// Number of attention heads.
    pub heads: usize,
    /// Width inside the feed-forward network.
    pub intermediate: usize,
}

impl EncoderConfig {
    /// Widths of layer `index`, counted from 0.
    pub fn widths(&self, index: usize) -> Widths {
        let whole = Widths { heads: self.heads, intermediate: self.intermediate };
        self.pruned.get(index).copied().unwrap_or(whole)
    }

    /// Width of an attention head.
    pub fn head_size(&self) -> usize {
        self.hidden / self.heads
    }

    /// Checks that the sizes agree.
    ///
    /// # Errors
    /// A message with the sizes that contradict each other.
    pub fn check(&self) -> Result<(), String> {
        let &EncoderConfig { layers, hidden, heads, intermediate, .. } = self;
        if heads == 0 || hidden % heads != 0 {
            return Err(format!("{heads} heads do not divide a hidden size of {hidden}"));
        }
        if !self.pruned.is_empty() && self.pruned.len() != layers {
            let entries = self.pruned.len();
            return Err(format!("layer_widths has {entries} entries for {layers} layers"));
        }
        let fits = |w: &Widths| {
            (1..=heads).contains(&w.heads) && (1..=intermediate).contains(&w.intermediate)
        };
        if let Some(layer) = self.pruned.iter().position(|w| !fits(w)) {
            let Widths { heads: h, intermediate: i } = self.pruned[layer];
            return Err(format!(
                "layer_widths gives layer {layer} {h} heads and a width of {i}; expected 1 to \
                 {heads} and 1 to {intermediate}"
            ));
        }
        Ok(())
    }
}

/// Module of an encoder layer, with a weight and a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerPart {
    /// Linear layer of the queries.
    Query,
    /// Linear layer of the keys.
    Key,
    /// Linear layer of the values.
    Value,
    /// Linear layer after the attention, applied to the heads side by side.
    AttentionOutput,
    /// Layer norm after the attention.
    AttentionNorm,
    /// First linear layer of the feed-forward network.
    Intermediate,
    /// Second linear layer of the feed-forward network.
    Output,
    /// Layer norm after the feed-forward network.
    OutputNorm,
}

impl LayerPart {
    /// All parts, in the order of [`Family::modules`](crate::families::Family::modules).
    pub const ALL: [LayerPart; 8] = [
        LayerPart::Query,
        LayerPart::Key,
        LayerPart::Value,
        LayerPart::AttentionOutput,
        LayerPart::AttentionNorm,
        LayerPart::Intermediate,
        LayerPart::Output,
        LayerPart::OutputNorm,
    ];

    /// Shape of its weight in layer `index`: `[outputs, inputs]`, or `[hidden]` for a norm. The bias has
    /// the first of these sizes.
    pub fn shape(self, config: &EncoderConfig, index: usize) -> Vec<usize> {
        let Widths { heads, intermediate } = config.widths(index);
        let (hidden, attended) = (config.hidden, heads * config.head_size());
        match self {
            LayerPart::Query | LayerPart::Key | LayerPart::Value => vec![attended, hidden],
            LayerPart::AttentionOutput => vec![hidden, attended],
            LayerPart::Intermediate => vec![intermediate, hidden],
            LayerPart::Output => vec![hidden, intermediate],
            LayerPart::AttentionNorm | LayerPart::OutputNorm => vec![hidden],
        }
    }
}
