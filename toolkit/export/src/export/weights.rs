//! Weights in the form of the graphs: linear layers `[inputs, outputs]`, queries, keys and values side by side.

use crate::Error;
use crate::checkpoint::{Checkpoint, Pooling, Stored};
use crate::encoder::LayerPart;
use edge_runtime::graph::{Activation, Norm};

/// A linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Weights, `[inputs, outputs]`, row major.
    pub weight: Vec<f32>,
    /// Biases, `[outputs]`.
    pub bias: Vec<f32>,
}

/// Word and position embeddings.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// Word embeddings, `[vocabulary, hidden]`.
    pub words: Vec<f32>,
    /// `[max_tokens, hidden]`. The embedding of token type 0, the only one of single texts, is added in.
    pub positions: Vec<f32>,
    /// Layer norm of the sum.
    pub norm: Norm,
}

/// One encoder layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Queries, keys and values side by side: `[hidden, 3 · heads · head size]`.
    pub qkv: Linear,
    /// Number of attention heads.
    pub heads: usize,
    /// Linear layer after the concatenated heads: `[heads · head size, hidden]`.
    pub attention_output: Linear,
    /// Layer norm after the attention.
    pub attention_norm: Norm,
    /// First linear layer of the feed-forward network, `[hidden, intermediate]`.
    pub intermediate: Linear,
    /// Second linear layer of the feed-forward network, `[intermediate, hidden]`.
    pub output: Linear,
    /// Layer norm after the feed-forward network.
    pub output_norm: Norm,
}

/// An exit head.
#[derive(Clone, Debug)]
pub struct HeadWeights {
    /// Index of the exit, counted from 0.
    pub exit: usize,
    /// Reduction of the rows of a text to one row.
    pub pooling: Pooling,
    /// Dense layer, `[hidden, dense]`.
    pub dense: Linear,
    /// Activation of the dense layer.
    pub activation: Activation,
    /// Classifier, `[dense, labels]`.
    pub classifier: Linear,
}

impl Linear {
    /// Turns stored weights, `[outputs, inputs]`, into the form of the graphs.
    fn of(stored: Stored) -> Self {
        let Stored { weight: stored, bias } = stored;
        let (outputs, inputs) = (bias.len(), stored.len() / bias.len());
        let mut weight = vec![0.0; stored.len()];
        for (o, row) in stored.chunks_exact(inputs).enumerate() {
            for (i, value) in row.iter().enumerate() {
                weight[i * outputs + o] = *value;
            }
        }
        Linear { weight, bias }
    }

    /// Concatenates the outputs of layers that have the same input.
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

fn norm(c: &Checkpoint, stored: Stored) -> Norm {
    Norm { gamma: stored.weight, beta: stored.bias, epsilon: c.config.encoder.epsilon }
}

/// Reads the embeddings.
///
/// # Errors
/// [`Error::Tensor`].
pub fn embeddings(c: &Checkpoint) -> Result<Embeddings, Error> {
    let stored = c.embeddings()?;
    let positions = stored.positions_of_single_texts();
    Ok(Embeddings { words: stored.words, positions, norm: norm(c, stored.norm) })
}

/// Reads encoder layer `index`, counted from 0.
///
/// # Errors
/// [`Error::Tensor`].
pub fn layer(c: &Checkpoint, index: usize) -> Result<LayerWeights, Error> {
    let linear = |part| c.layer_part(index, part).map(Linear::of);
    let norm = |part| c.layer_part(index, part).map(|stored| norm(c, stored));
    Ok(LayerWeights {
        qkv: Linear::side_by_side(&[
            linear(LayerPart::Query)?,
            linear(LayerPart::Key)?,
            linear(LayerPart::Value)?,
        ]),
        heads: c.config.encoder.widths(index).heads,
        attention_output: linear(LayerPart::AttentionOutput)?,
        attention_norm: norm(LayerPart::AttentionNorm)?,
        intermediate: linear(LayerPart::Intermediate)?,
        output: linear(LayerPart::Output)?,
        output_norm: norm(LayerPart::OutputNorm)?,
    })
}

/// Reads the exit head after `layers` encoder layers; `None` without a head there. A checkpoint
/// without exit heads has its own classification head as the one exit, after the last layer.
///
/// # Errors
/// [`Error::Tensor`].
pub fn head(c: &Checkpoint, layers: usize) -> Result<Option<HeadWeights>, Error> {
    let hidden = c.config.encoder.hidden;
    let labels = c.config.task.width();
    let linear =
        |name: &str, outputs, inputs| c.stored_module(name, &[outputs, inputs]).map(Linear::of);
    if let Some(exits) = &c.exits {
        let Some(i) = exits.layers.iter().position(|l| *l == layers) else {
            return Ok(None);
        };
        return Ok(Some(HeadWeights {
            exit: i,
            pooling: exits.pooling,
            dense: linear(&format!("exits.{i}.dense"), exits.hidden, hidden)?,
            activation: Activation::Tanh,
            classifier: linear(&format!("exits.{i}.classifier"), labels, exits.hidden)?,
        }));
    }
    if layers != c.config.encoder.layers {
        return Ok(None);
    }
    let own = &c.config.family.head;
    Ok(Some(HeadWeights {
        exit: 0,
        pooling: Pooling::Cls,
        dense: linear(c.own_dense(), hidden, hidden)?,
        activation: own.activation,
        classifier: linear(own.classifier, labels, hidden)?,
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
