//! Whole network: embeddings, encoder layers, exit heads.

use super::attach::attach;
use super::layers::{Block, Linear, Norm};
use super::parameter::{Parameter, Values};
use super::{Batch, Mode, composed, kernels, quantized};
use crate::checkpoint::{Config, Pooling};
use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use edge_runtime::graph::Activation;
use edge_runtime::kernels::isa::Isa;
use edge_runtime::kernels::pool::{first_pool, mean_pool};
use std::sync::Arc;

/// Parameters of the embeddings.
#[derive(Clone)]
pub struct Embeddings {
    /// Word embeddings, `[vocabulary, hidden]`.
    pub words: Arc<Parameter>,
    /// Position embeddings, `[max_tokens, hidden]`.
    pub positions: Arc<Parameter>,
    /// Token type embeddings, `[token_types, hidden]`, BERT only. Single texts have type 0.
    pub types: Option<Arc<Parameter>>,
    /// Layer norm of the sum.
    pub norm: Norm,
}

/// An exit head.
#[derive(Clone)]
pub struct ExitHead {
    /// Number of encoder layers before the head.
    pub layers: usize,
    /// Reduction of the rows of a sentence to one row.
    pub pooling: Pooling,
    /// Dense layer, `[dense, hidden]`.
    pub dense: Linear,
    /// Activation of the dense layer.
    pub activation: Activation,
    /// Classifier, `[labels, dense]`.
    pub classifier: Linear,
}

/// A BERT or DistilBERT with exit heads.
pub struct Network {
    /// Shape of the network.
    pub config: Config,
    /// True if the only head is that of transformers' own classifiers; otherwise the heads are
    /// listed in `exits.json`.
    pub own_head: bool,
    /// Embeddings.
    pub embeddings: Embeddings,
    /// Encoder layers.
    pub blocks: Vec<Block>,
    /// Exit heads, in the order of their layers.
    pub heads: Vec<ExitHead>,
    /// Device of the parameters.
    pub device: Device,
    /// Input of the embeddings, which have no other tensor input; candle needs one to call their
    /// backward pass.
    anchor: Var,
}

/// Results of a forward pass.
pub struct Output {
    /// Logits of every exit, `[sentences, labels]`.
    pub logits: Vec<Tensor>,
    /// Hidden states after the embeddings and after every layer, `[rows, hidden]`.
    pub hidden: Vec<Tensor>,
    /// Attention probabilities of every layer, `[sentences, heads, tokens, tokens]`; empty unless
    /// requested.
    pub attention: Vec<Tensor>,
}

/// Number of dropout places from the first one of a layer to that of the next layer.
const SITES: u64 = 4;

impl Network {
    pub(super) fn new(
        (config, own_head): (Config, bool),
        embeddings: Embeddings,
        blocks: Vec<Block>,
        heads: Vec<ExitHead>,
        device: Device,
    ) -> Result<Self> {
        let anchor = Var::zeros(1, candle_core::DType::F32, &device)?;
        Ok(Network { config, own_head, embeddings, blocks, heads, device, anchor })
    }

    /// All parameters, in a fixed order.
    pub fn parameters(&self) -> Vec<Arc<Parameter>> {
        let e = &self.embeddings;
        let mut all = vec![e.words.clone(), e.positions.clone()];
        all.extend(e.types.clone());
        let norm = |n: &Norm| [n.gamma.clone(), n.beta.clone()];
        let linear = |l: &Linear| [l.weight.clone(), l.bias.clone()];
        all.extend(norm(&e.norm));
        for b in &self.blocks {
            for l in [&b.query, &b.key, &b.value, &b.attention_output] {
                all.extend(linear(l));
            }
            all.extend(norm(&b.attention_norm));
            all.extend(linear(&b.intermediate));
            all.extend(linear(&b.output));
            all.extend(norm(&b.output_norm));
        }
        for h in &self.heads {
            all.extend(linear(&h.dense));
            all.extend(linear(&h.classifier));
        }
        all
    }

    /// Runs the forward pass. With `mode.training`, candle's backward pass over the result gives
    /// every parameter its gradient; call [`absorb`](Self::absorb) afterwards.
    ///
    /// # Errors
    /// Errors of candle.
    ///
    /// # Panics
    /// If the batch contains an id outside of the vocabulary or a sentence that is too long.
    pub fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Output> {
        let mut out = Output { logits: Vec::new(), hidden: Vec::new(), attention: Vec::new() };
        let mut hidden = self.embed(batch, mode)?;
        for layers in 0..=self.blocks.len() {
            let site = layers as u64 * SITES;
            if layers > 0 {
                let (next, attention) =
                    self.blocks[layers - 1].forward(&hidden, batch, mode, site)?;
                hidden = next;
                out.attention.extend(attention);
            }
            for head in self.heads.iter().filter(|h| h.layers == layers) {
                out.logits.push(head.forward(&hidden, batch, mode, site + 3)?);
            }
            out.hidden.push(hidden.clone());
        }
        if mode.training.is_none() {
            for t in out.logits.iter_mut().chain(&mut out.hidden).chain(&mut out.attention) {
                *t = t.detach();
            }
        }
        Ok(out)
    }

    /// Takes the gradients that candle's backward pass computed for parameters of composed layers.
    ///
    /// # Errors
    /// Errors of candle.
    pub fn absorb(&self, gradients: &mut GradStore) -> Result<()> {
        self.parameters().iter().try_for_each(|p| p.absorb(gradients))
    }

    pub(super) fn embed(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let positions = batch.positions();
        assert!(
            batch.longest() <= self.config.encoder.max_tokens,
            "{} tokens; the network has {} positions",
            batch.longest(),
            self.config.encoder.max_tokens
        );
        if mode.fused {
            self.embed_fused(batch, positions, mode)
        } else {
            self.embed_composed(batch, positions, mode)
        }
    }

    fn embed_composed(&self, batch: &Batch, positions: Vec<u32>, mode: &Mode) -> Result<Tensor> {
        let e = &self.embeddings;
        let ids = Tensor::new(&*batch.ids, &self.device)?;
        let positions = Tensor::new(positions, &self.device)?;
        let mut words = e.words.var().index_select(&ids, 0)?;
        let mut places = e.positions.var().index_select(&positions, 0)?;
        if let Some(types) = &e.types {
            places = places.broadcast_add(&types.var().narrow(0, 0, 1)?)?;
        }
        if let Some(int8) = mode.quantized {
            words = composed::words(&words, int8.embeddings)?;
            places = composed::rounded(&places, 127)?;
        }
        let sum = (words + places)?;
        composed::dropout(&composed::norm(&sum, &e.norm)?, mode, 0)
    }

    fn embed_fused(&self, batch: &Batch, positions: Vec<u32>, mode: &Mode) -> Result<Tensor> {
        let e = self.embeddings.clone();
        let width = self.config.encoder.hidden;
        let (words, places) = (e.words.read()?, e.positions.read()?);
        let kind = e.types.as_ref().map(|t| t.read()).transpose()?;
        let row =
            |table: &[f32], id: u32| -> Vec<f32> { table[id as usize * width..][..width].to_vec() };
        let mut sum = Vec::with_capacity(batch.rows() * width);
        let mut place = Vec::with_capacity(batch.rows() * width);
        for (id, position) in batch.ids.iter().zip(&positions) {
            sum.extend(row(&words, *id));
            place.extend(row(&places, *position));
            let last = sum.len() - width;
            if let Some(kind) = &kind {
                kernels::add(&mut place[last..], &kind[..width]);
            }
            if let Some(int8) = mode.quantized {
                quantized::word(&mut sum[last..], int8.embeddings);
                quantized::byte_row(&mut place[last..]);
            }
        }
        let quiet = Mode { training: None, ..*mode };
        let (mut out, saved) = e.norm.forward(sum, &place, &quiet, 0)?;
        mode.drop(&mut out, 0);
        drop((words, places, kind));
        let rows = batch.rows();
        let anchor = if mode.training.is_some() {
            self.anchor.as_tensor().clone()
        } else {
            self.anchor.as_detached_tensor()
        };
        let (ids, mode) = (batch.ids.clone(), *mode);
        attach("embeddings", &anchor, out, (rows, width), move |gradient| {
            let mut d_out = Values::of(gradient)?.to_vec();
            mode.drop(&mut d_out, 0);
            let d_sum = e.norm.backward(d_out, &saved)?;
            e.words.add_rows(&ids, &d_sum)?;
            e.positions.add_rows(&positions, &d_sum)?;
            if let Some(types) = &e.types {
                types.add_rows(&[0], &kernels::column_sums(&d_sum, width))?;
            }
            Ok(None)
        })
    }
}

impl ExitHead {
    fn forward(&self, hidden: &Tensor, batch: &Batch, mode: &Mode, site: u64) -> Result<Tensor> {
        let pooled = pool(hidden, batch, self.pooling, mode)?;
        let dense = self.dense(&pooled, mode)?;
        // The exporter keeps the classifier in floats.
        let mode32 = Mode { precision: candle_core::DType::F32, quantized: None, ..*mode };
        self.classifier.forward(&composed::dropout(&dense, mode, site)?, &mode32)
    }

    /// Dense layer with its activation.
    pub(super) fn dense(&self, pooled: &Tensor, mode: &Mode) -> Result<Tensor> {
        let mode = Mode { precision: candle_core::DType::F32, ..*mode };
        composed::activate(&self.dense.forward(pooled, &mode)?, self.activation)
    }
}

/// Reduces each sentence to one row, `[sentences, hidden]`.
pub(super) fn pool(
    hidden: &Tensor,
    batch: &Batch,
    pooling: Pooling,
    mode: &Mode,
) -> Result<Tensor> {
    let rows = batch.rows();
    // Weight of row `row` of a sentence.
    let share = move |span: &[usize], row: usize| match pooling {
        Pooling::Mean => 1.0 / (span[1] - span[0]) as f32,
        Pooling::Cls => f32::from(row == span[0]),
    };
    if !mode.fused {
        let mut matrix = vec![0.0; batch.sentences() * rows];
        for (s, span) in batch.starts.windows(2).enumerate() {
            (span[0]..span[1]).for_each(|row| matrix[s * rows + row] = share(span, row));
        }
        return Tensor::from_vec(matrix, (batch.sentences(), rows), hidden.device())?
            .matmul(hidden);
    }
    let width = hidden.dim(1)?;
    let values = Values::of(hidden)?;
    let mut out = vec![0.0; batch.sentences() * width];
    match pooling {
        Pooling::Mean => mean_pool(Isa::detect(), &values, &batch.starts, width, &mut out),
        Pooling::Cls => first_pool(&values, &batch.starts, width, &mut out),
    }
    drop(values);
    let starts = batch.starts.clone();
    attach("pooling", hidden, out, (batch.sentences(), width), move |gradient| {
        let gradient = Values::of(gradient)?;
        let mut d_hidden = Vec::with_capacity(rows * width);
        for (g, span) in gradient.chunks_exact(width).zip(starts.windows(2)) {
            for row in span[0]..span[1] {
                let share = share(span, row);
                d_hidden.extend(g.iter().map(|g| share * g));
            }
        }
        Tensor::from_vec(d_hidden, (rows, width), &Device::Cpu).map(Some)
    })
}
