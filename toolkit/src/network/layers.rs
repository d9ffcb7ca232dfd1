//! Parameters of the layers: linear, layer norm, encoder layer.

use super::parameter::Parameter;
use crate::quantize::Site;
use edge_runtime::graph::Activation;
use std::sync::Arc;

/// Parameters of a linear layer.
#[derive(Clone)]
pub struct Linear {
    /// Weights, `[outputs, inputs]`.
    pub weight: Arc<Parameter>,
    /// `[outputs]`.
    pub bias: Arc<Parameter>,
    /// Linear layer of the network; `None` for one outside of it. Queries, keys and values have the
    /// same site.
    pub site: Option<Site>,
}

/// Parameters of a layer norm.
#[derive(Clone)]
pub struct Norm {
    /// `[hidden]`.
    pub gamma: Arc<Parameter>,
    /// `[hidden]`.
    pub beta: Arc<Parameter>,
    /// Constant that is added to the variance.
    pub epsilon: f32,
}

/// Parameters of an encoder layer.
#[derive(Clone)]
pub struct Block {
    /// Queries, `[heads · head size, hidden]`, the shape of keys and values too.
    pub query: Linear,
    /// See [`query`](Self::query).
    pub key: Linear,
    /// See [`query`](Self::query).
    pub value: Linear,
    /// Linear layer after the concatenated heads, `[hidden, heads · head size]`.
    pub attention_output: Linear,
    /// Layer norm after the attention.
    pub attention_norm: Norm,
    /// Second linear layer of the feed-forward network, `[intermediate, hidden]`.
    pub intermediate: Linear,
    /// First linear layer of the feed-forward network, `[hidden, intermediate]`.
    pub output: Linear,
    /// Layer norm after the feed-forward network.
    pub output_norm: Norm,
    /// Number of attention heads.
    pub heads: usize,
    /// Activation between the two linear layers of the feed-forward network.
    pub activation: Activation,
}

impl Linear {
    /// Width of an output row.
    pub fn outputs(&self) -> usize {
        self.bias.var().elem_count()
    }
}
