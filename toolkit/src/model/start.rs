//! Making a network: from a checkpoint, from some of its layers, or from nothing.

use super::block::{Block, Linear, Norm};
use super::network::{Embeddings, Head, Network};
use super::parameter::Parameter;
use crate::Error;
use crate::checkpoint::{Checkpoint, Config, ModelType, Pooling, Widths, names, network};
use crate::quantize::Site;
use crate::rng::Rng;
use candle_core::Device;
use edge_runtime::graph::Activation;
use std::sync::Arc;

/// The deviation of new weights, as BERT has it.
const DEVIATION: f32 = 0.02;

/// Which heads a network has.
#[derive(Clone, Debug, PartialEq)]
pub enum Heads {
    /// The one that transformers' own classifiers have, after the last layer.
    Own,
    /// Exit heads of ours after these numbers of layers, and the width of their dense layers.
    Exits(Vec<usize>, Pooling, usize),
}

/// What to make.
pub struct Start<'a> {
    /// Where the values come from.
    pub from: &'a Checkpoint,
    /// The shape of the network. Where its widths are those of `from`, layer i is layer
    /// `layers[i]` of `from`; where they differ, every value is new.
    pub config: Config,
    /// The layers of `from`, counted from 0.
    pub layers: Vec<usize>,
    /// Its heads; those that `from` has after the same layers are taken over if they fit.
    pub heads: Heads,
    /// Fixes the new values.
    pub seed: u64,
    /// Where the parameters go.
    pub device: Device,
}

/// Makes a network.
///
/// # Errors
/// [`Error::Tensor`] if a tensor is missing, [`Error::Checkpoint`] if the two do not go together.
pub fn start(start: &Start) -> Result<Network, Error> {
    let (from, config) = (&start.from.config, &start.config);
    let width = |c: &Config| (c.hidden, c.intermediate, c.heads, c.vocabulary, c.max_tokens);
    let copied = width(from) == width(config);
    if copied && from.model_type == ModelType::DistilBert && config.model_type == ModelType::Bert {
        return Err(start.wrong("is a DistilBERT; a BERT cannot start from it"));
    }
    if let Some(missing) = start.layers.iter().find(|l| **l >= from.layers) {
        let n = from.layers;
        return Err(
            start.wrong(format!("has {n} layers, 0 to {}; there is no layer {missing}", n - 1))
        );
    }
    if start.layers.len() != config.layers {
        return Err(start.wrong(format!(
            "{} of its layers were chosen for a network of {}",
            start.layers.len(),
            config.layers
        )));
    }
    if let Heads::Exits(layers, ..) = &start.heads
        && (layers.last() != Some(&config.layers) || !layers.is_sorted_by(|a, b| a < b))
    {
        return Err(start.wrong(format!(
            "would get exits after the layers {layers:?}; they must ascend and end with {}, the last",
            config.layers
        )));
    }
    let maker = Maker { start, copied };
    let embeddings = maker.embeddings()?;
    let blocks = (0..config.layers).map(|i| maker.block(i)).collect::<Result<Vec<_>, _>>()?;
    let heads = match &start.heads {
        Heads::Own => vec![maker.own_head()?],
        Heads::Exits(layers, pooling, width) => layers
            .iter()
            .enumerate()
            .map(|(i, l)| maker.head(i, *l, *pooling, *width))
            .collect::<Result<_, _>>()?,
    };
    let own = start.heads == Heads::Own;
    Network::new((config.clone(), own), embeddings, blocks, heads, start.device.clone())
        .map_err(Error::Compute)
}

impl Start<'_> {
    fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::checkpoint(self.from.weights_path(), problem)
    }
}

struct Maker<'a> {
    start: &'a Start<'a>,
    copied: bool,
}

impl Maker<'_> {
    fn parameter(
        &self,
        name: String,
        values: Vec<f32>,
        shape: &[usize],
    ) -> Result<Arc<Parameter>, Error> {
        Parameter::new(name, values, shape, &self.start.device).map_err(Error::Compute)
    }

    /// New values, fixed by the seed and the name.
    fn normal(&self, name: &str, n: usize) -> Vec<f32> {
        let name =
            name.bytes().map(u64::from).fold(0u64, |h, b| h.wrapping_mul(257).wrapping_add(b));
        let mut rng = Rng::new(&[self.start.seed, name]);
        (0..n).map(|_| DEVIATION * rng.normal()).collect()
    }

    /// The name in this network of a module of the encoder.
    fn name(&self, module: &str) -> String {
        format!("{}{module}", names::prefix(self.start.config.model_type))
    }

    fn stored(&self, module: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let from = self.start.from;
        Ok(from.tensor(&format!("{}{module}", network::prefix(from)), shape)?)
    }

    /// A linear layer called `name`, from the encoder's module `stored`.
    fn linear(
        &self,
        name: String,
        stored: &str,
        [outputs, inputs]: [usize; 2],
        site: Site,
    ) -> Result<Linear, Error> {
        let weight = format!("{name}.weight");
        let (values, bias) = if self.copied {
            let bias = self.stored(&format!("{stored}.bias"), &[outputs])?;
            (self.stored(&format!("{stored}.weight"), &[outputs, inputs])?, bias)
        } else {
            (self.normal(&weight, outputs * inputs), vec![0.0; outputs])
        };
        Ok(Linear {
            weight: self.parameter(weight, values, &[outputs, inputs])?,
            bias: self.parameter(format!("{name}.bias"), bias, &[outputs])?,
            site: Some(site),
        })
    }

    fn norm(&self, name: String, stored: &str) -> Result<Norm, Error> {
        let hidden = self.start.config.hidden;
        let (gamma, beta) = if self.copied {
            let gamma = self.stored(&format!("{stored}.weight"), &[hidden])?;
            (gamma, self.stored(&format!("{stored}.bias"), &[hidden])?)
        } else {
            (vec![1.0; hidden], vec![0.0; hidden])
        };
        Ok(Norm {
            gamma: self.parameter(format!("{name}.weight"), gamma, &[hidden])?,
            beta: self.parameter(format!("{name}.bias"), beta, &[hidden])?,
            epsilon: self.start.config.epsilon,
        })
    }

    fn embeddings(&self) -> Result<Embeddings, Error> {
        let Config { hidden, vocabulary, max_tokens, token_types, model_type, .. } =
            self.start.config;
        let from = &self.start.from.config;
        let table = |module: &str, rows: usize| -> Result<Vec<f32>, Error> {
            let module = format!("embeddings.{module}_embeddings.weight");
            if self.copied {
                self.stored(&module, &[rows, hidden])
            } else {
                Ok(self.normal(&module, rows * hidden))
            }
        };
        let words = table("word", vocabulary)?;
        let mut positions = table("position", max_tokens)?;
        let mut types = match (from.model_type, self.copied) {
            (ModelType::Bert, true) => Some(table("token_type", from.token_types)?),
            (_, false) if model_type == ModelType::Bert => Some(table("token_type", token_types)?),
            _ => None,
        };
        if let (Some(kind), ModelType::DistilBert) = (&types, model_type) {
            // DistilBERT has no token types: type 0, that of every single text, is added in.
            for row in positions.chunks_exact_mut(hidden) {
                row.iter_mut().zip(kind).for_each(|(p, t)| *p += t);
            }
            types = None;
        }
        let name = |module: &str| self.name(&format!("embeddings.{module}_embeddings.weight"));
        let types = types
            .map(|values| {
                let rows = values.len() / hidden;
                self.parameter(name("token_type"), values, &[rows, hidden])
            })
            .transpose()?;
        Ok(Embeddings {
            words: self.parameter(name("word"), words, &[vocabulary, hidden])?,
            positions: self.parameter(name("position"), positions, &[max_tokens, hidden])?,
            types,
            norm: self.norm(self.name("embeddings.LayerNorm"), "embeddings.LayerNorm")?,
        })
    }

    fn block(&self, index: usize) -> Result<Block, Error> {
        let config = &self.start.config;
        let Config { hidden, activation, model_type, .. } = *config;
        let Widths { heads, intermediate } = config.widths(index);
        let attended = heads * config.head_size();
        let new = names::layer(model_type, index);
        let old = names::layer(self.start.from.config.model_type, self.start.layers[index]);
        let by_head = |new: &str, old: &str| {
            self.linear(self.name(new), old, [attended, hidden], Site::Qkv(index))
        };
        Ok(Block {
            query: by_head(&new.query, &old.query)?,
            key: by_head(&new.key, &old.key)?,
            value: by_head(&new.value, &old.value)?,
            attention_output: self.linear(
                self.name(&new.attention_output),
                &old.attention_output,
                [hidden, attended],
                Site::AttentionOutput(index),
            )?,
            attention_norm: self.norm(self.name(&new.attention_norm), &old.attention_norm)?,
            intermediate: self.linear(
                self.name(&new.intermediate),
                &old.intermediate,
                [intermediate, hidden],
                Site::Intermediate(index),
            )?,
            output: self.linear(
                self.name(&new.output),
                &old.output,
                [hidden, intermediate],
                Site::Output(index),
            )?,
            output_norm: self.norm(self.name(&new.output_norm), &old.output_norm)?,
            heads,
            activation,
        })
    }

    /// A layer of a head: the stored one where there is one that fits, else a new one. A head for
    /// other labels keeps its dense layer.
    fn head_linear(
        &self,
        name: &str,
        stored: Option<String>,
        [outputs, inputs]: [usize; 2],
        site: Site,
    ) -> Result<Linear, Error> {
        let from = self.start.from;
        let read = |part: &str, shape: &[usize]| {
            let name = format!("{}.{part}", stored.as_ref()?);
            (self.copied && from.has(&name)).then(|| from.tensor(&name, shape).ok()).flatten()
        };
        let same_labels = outputs != self.start.config.labels.len()
            || self.start.config.labels == from.config.labels;
        let (weight, bias) = (read("weight", &[outputs, inputs]), read("bias", &[outputs]));
        let (weight, bias) = match (weight, bias) {
            (Some(weight), Some(bias)) if same_labels || !name.ends_with("classifier") => {
                (weight, bias)
            }
            _ => (self.normal(name, outputs * inputs), vec![0.0; outputs]),
        };
        Ok(Linear {
            weight: self.parameter(format!("{name}.weight"), weight, &[outputs, inputs])?,
            bias: self.parameter(format!("{name}.bias"), bias, &[outputs])?,
            site: Some(site),
        })
    }

    fn own_head(&self) -> Result<Head, Error> {
        let Config { hidden, model_type, layers, ref labels, .. } = self.start.config;
        let (dense, classifier) = names::own_head(model_type);
        let from = self.start.from;
        let (old_dense, old_classifier) = names::own_head(from.config.model_type);
        // A bare encoder has its pooler without the prefix.
        let old_dense = if from.has(&format!("{old_dense}.weight")) {
            old_dense
        } else {
            old_dense.trim_start_matches(names::prefix(from.config.model_type))
        };
        let same = from.config.model_type == model_type;
        let old = |name: &str| same.then(|| name.to_owned());
        Ok(Head {
            layers,
            pooling: Pooling::Cls,
            dense: self.head_linear(dense, old(old_dense), [hidden, hidden], Site::Dense(0))?,
            activation: if model_type == ModelType::Bert {
                Activation::Tanh
            } else {
                Activation::Relu
            },
            classifier: self.head_linear(
                classifier,
                old(old_classifier),
                [labels.len(), hidden],
                Site::Classifier(0),
            )?,
        })
    }

    fn head(
        &self,
        index: usize,
        layers: usize,
        pooling: Pooling,
        width: usize,
    ) -> Result<Head, Error> {
        let Config { hidden, ref labels, .. } = self.start.config;
        // The head of `from` after the layer that this one stands on.
        let below = if layers == 0 { 0 } else { self.start.layers[layers - 1] + 1 };
        let stored = self.start.from.exits.as_ref().and_then(|exits| {
            let fits = exits.hidden == width && exits.pooling == pooling;
            exits.layers.iter().position(|l| fits && *l == below)
        });
        let linear = |part: &str, shape, site| {
            let stored = stored.map(|s| format!("exits.{s}.{part}"));
            self.head_linear(&format!("exits.{index}.{part}"), stored, shape, site)
        };
        Ok(Head {
            layers,
            pooling,
            dense: linear("dense", [width, hidden], Site::Dense(index))?,
            activation: Activation::Tanh,
            classifier: linear("classifier", [labels.len(), width], Site::Classifier(index))?,
        })
    }
}
