//! Parameters of the layers: linear, layer norm, encoder layer.

use super::parameter::Parameter;
use crate::quantize::Site;
use edge_runtime::graph::Activation;
use std::sync::Arc;

/// A linear layer's parameters.
#[derive(Clone)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Arc<Parameter>,
    /// `[outputs]`.
    pub bias: Arc<Parameter>,
    /// Which of the network's it is; `None` for one outside of it. Queries, keys and values are one.
    pub site: Option<Site>,
}

/// A layer norm's parameters.
#[derive(Clone)]
pub struct Norm {
    /// `[hidden]`.
    pub gamma: Arc<Parameter>,
    /// `[hidden]`.
    pub beta: Arc<Parameter>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// An encoder layer's parameters.
#[derive(Clone)]
pub struct Block {
    /// `[heads · head size, hidden]`, as the next two.
    pub query: Linear,
    /// See [`query`](Self::query).
    pub key: Linear,
    /// See [`query`](Self::query).
    pub value: Linear,
    /// Applied to the heads side by side, `[hidden, heads · head size]`.
    pub attention_output: Linear,
    /// After the attention.
    pub attention_norm: Norm,
    /// `[intermediate, hidden]`.
    pub intermediate: Linear,
    /// `[hidden, intermediate]`.
    pub output: Linear,
    /// After the feed-forward network.
    pub output_norm: Norm,
    /// The number of attention heads.
    pub heads: usize,
    /// Between the two linear layers of the feed-forward network.
    pub activation: Activation,
}

impl Linear {
    /// Width of an output row.
    pub fn outputs(&self) -> usize {
        self.bias.var().elem_count()
    }
}
