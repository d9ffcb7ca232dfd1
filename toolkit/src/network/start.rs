//! Creation of a network: from a checkpoint, from some of its layers, or with new values.

use super::early_exit::{Embeddings, ExitHead, Network};
use super::layers::{Block, Linear, Norm};
use super::parameter::Parameter;
use crate::Error;
use crate::checkpoint::{Checkpoint, Config, Pooling, Stored, StoredEmbeddings};
use crate::quantize::Site;
use crate::rng::Rng;
use candle_core::Device;
use edge_export::encoder::{EncoderConfig, LayerPart};
use edge_runtime::graph::Activation;
use std::sync::Arc;

/// Standard deviation of new weights, as in BERT.
const DEVIATION: f32 = 0.02;

/// Heads of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Heads {
    /// Head of transformers' own classifiers, after the last layer.
    Own,
    /// Exit heads after these numbers of layers, and the width of their dense layers.
    Exits(Vec<usize>, Pooling, usize),
}

/// Description of a network to make.
pub struct Start<'a> {
    /// Checkpoint that the values come from.
    pub from: &'a Checkpoint,
    /// Shape of the network. If its widths are those of `from`, layer i is layer `layers[i]` of
    /// `from`; otherwise every value is new.
    pub config: Config,
    /// Layers of `from`, counted from 0.
    pub layers: Vec<usize>,
    /// Heads of the network; a head of `from` after the same layer is copied if it fits.
    pub heads: Heads,
    /// Seed of the new values.
    pub seed: u64,
    /// Device of the parameters.
    pub device: Device,
}

/// Creates a network.
///
/// # Errors
/// [`Error::Tensor`] if a tensor is missing, [`Error::Checkpoint`] if checkpoint and shape are
/// incompatible.
pub fn start(start: &Start) -> Result<Network, Error> {
    let (from, config) = (&start.from.config, &start.config);
    let width = |c: &Config| {
        let e = &c.encoder;
        (e.hidden, e.intermediate, e.heads, e.vocabulary, e.max_tokens)
    };
    let copied = width(from) == width(config);
    if copied && from.encoder.token_types == 0 && config.encoder.token_types > 0 {
        return Err(start.wrong(format!(
            "is a {:?}, which has no token types; a {:?} cannot start from it",
            from.family, config.family
        )));
    }
    if let Some(missing) = start.layers.iter().find(|l| **l >= from.encoder.layers) {
        let n = from.encoder.layers;
        return Err(
            start.wrong(format!("has {n} layers, 0 to {}; there is no layer {missing}", n - 1))
        );
    }
    if start.layers.len() != config.encoder.layers {
        return Err(start.wrong(format!(
            "{} of its layers were chosen for a network of {}",
            start.layers.len(),
            config.encoder.layers
        )));
    }
    if let Heads::Exits(layers, ..) = &start.heads
        && (layers.last() != Some(&config.encoder.layers) || !layers.is_sorted_by(|a, b| a < b))
    {
        return Err(start.wrong(format!(
            "would get exits after the layers {layers:?}; they must ascend and end with {}, the last",
            config.encoder.layers
        )));
    }
    let maker = Maker { start, copied };
    let embeddings = maker.embeddings()?;
    let blocks =
        (0..config.encoder.layers).map(|i| maker.block(i)).collect::<Result<Vec<_>, _>>()?;
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

    /// New values, determined by the seed and the name.
    fn normal(&self, name: &str, n: usize) -> Vec<f32> {
        let name =
            name.bytes().map(u64::from).fold(0u64, |h, b| h.wrapping_mul(257).wrapping_add(b));
        let mut rng = Rng::new(&[self.start.seed, name]);
        (0..n).map(|_| DEVIATION * rng.normal()).collect()
    }

    /// Name in this network of a module of the encoder.
    fn name(&self, module: &str) -> String {
        format!("{}{module}", self.start.config.family.prefix)
    }

    /// Weight and bias of a module: those of the checkpoint, or new ones.
    fn values(
        &self,
        name: &str,
        shape: &[usize],
        stored: impl FnOnce(&Checkpoint) -> Result<Stored, edge_export::Error>,
    ) -> Result<Stored, Error> {
        if self.copied {
            return Ok(stored(self.start.from)?);
        }
        let weight = match shape {
            [width] => vec![1.0; *width],
            _ => self.normal(&format!("{name}.weight"), shape.iter().product()),
        };
        Ok(Stored { weight, bias: vec![0.0; shape[0]] })
    }

    fn linear(
        &self,
        name: &str,
        values: Stored,
        shape: &[usize],
        site: Site,
    ) -> Result<Linear, Error> {
        Ok(Linear {
            weight: self.parameter(format!("{name}.weight"), values.weight, shape)?,
            bias: self.parameter(format!("{name}.bias"), values.bias, &shape[..1])?,
            site: Some(site),
        })
    }

    fn norm(&self, name: &str, values: Stored) -> Result<Norm, Error> {
        let shape = [values.bias.len()];
        Ok(Norm {
            gamma: self.parameter(format!("{name}.weight"), values.weight, &shape)?,
            beta: self.parameter(format!("{name}.bias"), values.bias, &shape)?,
            epsilon: self.start.config.encoder.epsilon,
        })
    }

    fn embeddings(&self) -> Result<Embeddings, Error> {
        let EncoderConfig { hidden, vocabulary, max_tokens, token_types, .. } =
            self.start.config.encoder;
        let stored = if self.copied {
            let mut stored = self.start.from.embeddings()?;
            if token_types == 0 {
                stored.positions = stored.positions_of_single_texts();
                stored.types = None;
            }
            stored
        } else {
            let table = |module: &str, rows: usize| {
                self.normal(&format!("embeddings.{module}_embeddings.weight"), rows * hidden)
            };
            StoredEmbeddings {
                words: table("word", vocabulary),
                positions: table("position", max_tokens),
                types: (token_types > 0).then(|| table("token_type", token_types)),
                norm: Stored { weight: vec![1.0; hidden], bias: vec![0.0; hidden] },
            }
        };
        let table = |module: &str, values: Vec<f32>| {
            let name = self.name(&format!("embeddings.{module}_embeddings.weight"));
            let rows = values.len() / hidden;
            self.parameter(name, values, &[rows, hidden])
        };
        Ok(Embeddings {
            words: table("word", stored.words)?,
            positions: table("position", stored.positions)?,
            types: stored.types.map(|values| table("token_type", values)).transpose()?,
            norm: self.norm(&self.name("embeddings.LayerNorm"), stored.norm)?,
        })
    }

    fn block(&self, index: usize) -> Result<Block, Error> {
        let Config { family, encoder, .. } = &self.start.config;
        let read = |part: LayerPart| -> Result<(String, Stored, Vec<usize>), Error> {
            let name = self.name(&family.module(index, part));
            let shape = part.shape(encoder, index);
            let layer = self.start.layers[index];
            let values = self.values(&name, &shape, |from| from.layer_part(layer, part))?;
            Ok((name, values, shape))
        };
        let linear = |part: LayerPart, site: Site| {
            let (name, values, shape) = read(part)?;
            self.linear(&name, values, &shape, site)
        };
        let norm = |part: LayerPart| {
            let (name, values, _) = read(part)?;
            self.norm(&name, values)
        };
        Ok(Block {
            query: linear(LayerPart::Query, Site::Qkv(index))?,
            key: linear(LayerPart::Key, Site::Qkv(index))?,
            value: linear(LayerPart::Value, Site::Qkv(index))?,
            attention_output: linear(LayerPart::AttentionOutput, Site::AttentionOutput(index))?,
            attention_norm: norm(LayerPart::AttentionNorm)?,
            intermediate: linear(LayerPart::Intermediate, Site::Intermediate(index))?,
            output: linear(LayerPart::Output, Site::Output(index))?,
            output_norm: norm(LayerPart::OutputNorm)?,
            heads: encoder.widths(index).heads,
            activation: encoder.activation,
        })
    }

    /// Linear layer of a head: the stored one if it exists and fits, else a new one. A head for
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
        let same_labels =
            outputs != self.start.config.task.width() || self.start.config.task == from.config.task;
        let (weight, bias) = (read("weight", &[outputs, inputs]), read("bias", &[outputs]));
        let (weight, bias) = match (weight, bias) {
            (Some(weight), Some(bias)) if same_labels || !name.ends_with("classifier") => {
                (weight, bias)
            }
            _ => (self.normal(name, outputs * inputs), vec![0.0; outputs]),
        };
        self.linear(name, Stored { weight, bias }, &[outputs, inputs], site)
    }

    fn own_head(&self) -> Result<ExitHead, Error> {
        let Config { family, encoder, task, .. } = &self.start.config;
        let EncoderConfig { hidden, layers, .. } = *encoder;
        let from = self.start.from;
        let same = from.config.family == *family;
        let old = |name: &str| same.then(|| name.to_owned());
        let own = &family.head;
        let dense = old(from.own_dense());
        let classifier = old(own.classifier);
        let outputs = task.width();
        Ok(ExitHead {
            layers,
            pooling: Pooling::Cls,
            dense: self.head_linear(own.dense, dense, [hidden, hidden], Site::Dense(0))?,
            activation: own.activation,
            classifier: self.head_linear(
                own.classifier,
                classifier,
                [outputs, hidden],
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
    ) -> Result<ExitHead, Error> {
        let Config { encoder, task, .. } = &self.start.config;
        let hidden = encoder.hidden;
        // Head of `from` after the layer that this head follows.
        let below = if layers == 0 { 0 } else { self.start.layers[layers - 1] + 1 };
        let stored = self.start.from.exits.as_ref().and_then(|exits| {
            let fits = exits.hidden == width && exits.pooling == pooling;
            exits.layers.iter().position(|l| fits && *l == below)
        });
        let linear = |part: &str, shape, site| {
            let stored = stored.map(|s| format!("exits.{s}.{part}"));
            self.head_linear(&format!("exits.{index}.{part}"), stored, shape, site)
        };
        Ok(ExitHead {
            layers,
            pooling,
            dense: linear("dense", [width, hidden], Site::Dense(index))?,
            activation: Activation::Tanh,
            classifier: linear("classifier", [task.width(), width], Site::Classifier(index))?,
        })
    }
}
