//! The weights of a classifier, in one form for BERT and DistilBERT.

use super::names;
use super::{Checkpoint, Config, ModelType, Pooling, Widths};
use crate::Error;
use edge_runtime::graph::{Activation, Norm};

/// A linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[inputs, outputs]`, row major.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

/// Word and position embeddings.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// `[vocabulary, hidden]`.
    pub words: Vec<f32>,
    /// `[max_tokens, hidden]`. For BERT the embedding of token type 0 is added in: single texts
    /// have no other.
    pub positions: Vec<f32>,
    /// Applied to the sum.
    pub norm: Norm,
}

/// One encoder layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Queries, keys and values side by side: `[hidden, 3 · heads · head size]`.
    pub qkv: Linear,
    /// The number of attention heads.
    pub heads: usize,
    /// Applied to the heads side by side: `[heads · head size, hidden]`.
    pub attention_output: Linear,
    /// After the attention.
    pub attention_norm: Norm,
    /// `[hidden, intermediate]`.
    pub intermediate: Linear,
    /// `[intermediate, hidden]`.
    pub output: Linear,
    /// After the feed-forward network.
    pub output_norm: Norm,
}

/// An exit head.
#[derive(Clone, Debug)]
pub struct Head {
    /// Which of the exits it is, counted from 0.
    pub exit: usize,
    /// How the rows of a sentence become one.
    pub pooling: Pooling,
    /// `[hidden, dense]`.
    pub dense: Linear,
    /// Applied to the dense layer's result.
    pub activation: Activation,
    /// `[dense, labels]`.
    pub classifier: Linear,
}

impl Linear {
    /// Reads `{name}.weight`, `[outputs, inputs]` as PyTorch has it, and `{name}.bias`.
    fn read(c: &Checkpoint, name: &str, inputs: usize, outputs: usize) -> Result<Self, Error> {
        let stored = c.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let mut weight = vec![0.0; stored.len()];
        for (o, row) in stored.chunks_exact(inputs).enumerate() {
            for (i, value) in row.iter().enumerate() {
                weight[i * outputs + o] = *value;
            }
        }
        Ok(Linear { weight, bias: c.tensor(&format!("{name}.bias"), &[outputs])? })
    }

    /// Several layers with the same input as one, their outputs side by side.
    fn side_by_side(parts: &[Linear]) -> Self {
        let inputs = parts[0].weight.len() / parts[0].bias.len();
        let mut weight = Vec::with_capacity(parts.iter().map(|p| p.weight.len()).sum());
        for i in 0..inputs {
            for part in parts {
                let outputs = part.bias.len();
                weight.extend_from_slice(&part.weight[i * outputs..(i + 1) * outputs]);
            }
        }
        Linear { weight, bias: parts.iter().flat_map(|p| p.bias.iter().copied()).collect() }
    }
}

fn norm(c: &Checkpoint, name: &str) -> Result<Norm, Error> {
    let width = [c.config.hidden];
    Ok(Norm {
        gamma: c.tensor(&format!("{name}.weight"), &width)?,
        beta: c.tensor(&format!("{name}.bias"), &width)?,
        epsilon: c.config.epsilon,
    })
}

/// Checkpoints of a classifier put the encoder behind its name, those of a bare encoder do not.
pub fn prefix(c: &Checkpoint) -> &'static str {
    let prefix = names::prefix(c.config.model_type);
    if c.has(&format!("{prefix}embeddings.word_embeddings.weight")) { prefix } else { "" }
}

/// Reads the embeddings.
///
/// # Errors
/// [`Error::Tensor`].
pub fn embeddings(c: &Checkpoint) -> Result<Embeddings, Error> {
    let Config { hidden, vocabulary, max_tokens, token_types, .. } = c.config;
    let at = format!("{}embeddings", prefix(c));
    let words = c.tensor(&format!("{at}.word_embeddings.weight"), &[vocabulary, hidden])?;
    let mut positions =
        c.tensor(&format!("{at}.position_embeddings.weight"), &[max_tokens, hidden])?;
    if c.config.model_type == ModelType::Bert {
        let name = format!("{at}.token_type_embeddings.weight");
        let types = c.tensor(&name, &[token_types, hidden])?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(p, t)| *p += t);
        }
    }
    Ok(Embeddings { words, positions, norm: norm(c, &format!("{at}.LayerNorm"))? })
}

/// Reads encoder layer `index`, counted from 0.
///
/// # Errors
/// [`Error::Tensor`].
pub fn layer(c: &Checkpoint, index: usize) -> Result<Layer, Error> {
    let hidden = c.config.hidden;
    let Widths { heads, intermediate } = c.config.widths(index);
    let attended = heads * c.config.head_size();
    let names = names::layer(c.config.model_type, index);
    let at = |name: &str| format!("{}{name}", prefix(c));
    let by_head = |name: &str| Linear::read(c, &at(name), hidden, attended);
    Ok(Layer {
        qkv: Linear::side_by_side(&[
            by_head(&names.query)?,
            by_head(&names.key)?,
            by_head(&names.value)?,
        ]),
        heads,
        attention_output: Linear::read(c, &at(&names.attention_output), attended, hidden)?,
        attention_norm: norm(c, &at(&names.attention_norm))?,
        intermediate: Linear::read(c, &at(&names.intermediate), hidden, intermediate)?,
        output: Linear::read(c, &at(&names.output), intermediate, hidden)?,
        output_norm: norm(c, &at(&names.output_norm))?,
    })
}

/// Reads the exit head after `layers` encoder layers; `None` if there is none there. A checkpoint
/// without exit heads has its own classification head as the one exit, after the last layer.
///
/// # Errors
/// [`Error::Tensor`].
pub fn head(c: &Checkpoint, layers: usize) -> Result<Option<Head>, Error> {
    let hidden = c.config.hidden;
    let labels = c.config.labels.len();
    if let Some(exits) = &c.exits {
        let Some(i) = exits.layers.iter().position(|l| *l == layers) else {
            return Ok(None);
        };
        return Ok(Some(Head {
            exit: i,
            pooling: exits.pooling,
            dense: Linear::read(c, &format!("exits.{i}.dense"), hidden, exits.hidden)?,
            activation: Activation::Tanh,
            classifier: Linear::read(c, &format!("exits.{i}.classifier"), exits.hidden, labels)?,
        }));
    }
    if layers != c.config.layers {
        return Ok(None);
    }
    let (dense, activation) = match c.config.model_type {
        ModelType::Bert => (format!("{}pooler.dense", prefix(c)), Activation::Tanh),
        ModelType::DistilBert => ("pre_classifier".into(), Activation::Relu),
    };
    Ok(Some(Head {
        exit: 0,
        pooling: Pooling::Cls,
        dense: Linear::read(c, &dense, hidden, hidden)?,
        activation,
        classifier: Linear::read(c, "classifier", hidden, labels)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_side_by_side_keep_their_columns() {
        let a = Linear { weight: vec![1.0, 2.0], bias: vec![0.1] };
        let b = Linear { weight: vec![3.0, 4.0, 5.0, 6.0], bias: vec![0.2, 0.3] };
        let both = Linear::side_by_side(&[a, b]);
        assert_eq!(both.weight, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
        assert_eq!(both.bias, [0.1, 0.2, 0.3]);
    }
}
