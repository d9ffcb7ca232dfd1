//! The whole network as one graph of standard operators, with every exit as an output.
//!
//! The graph has the forms that ONNX Runtime and TensorRT fuse: a single product for queries, keys
//! and values, and their forms of GELU and mask. Layer norms, the softmax of the attention and
//! the exits are always floats.

use super::functions::{float, int, string};
use super::graph::{Float, Graph};
use super::weights::{self, Embeddings, HeadWeights, LayerWeights, Linear};
use crate::Error;
use crate::checkpoint::{Checkpoint, Config, Pooling};
use crate::quantize::{self, EMBEDDING_GROUP, EmbeddingBits, Grid, Int8, Site, int8, rounding};
use edge_runtime::graph::{ATTENTION_MASK, INPUT_IDS, LOGITS, Norm};
use edge_runtime::onnx::data_type;

/// Arithmetic of the products in the encoder layers.
pub(super) enum Products<'a> {
    /// Floats of the graph.
    Floats(Float),
    /// Int8 products; the ranges of the activations are measured as the model runs. Embeddings are
    /// int8 too, or 4 bits.
    Dynamic(Int8),
    /// Int8 products, with a scale for the input of every linear layer. Embeddings are floats.
    Static(Int8, &'a dyn Fn(Site) -> f32),
}

/// Whole-model file.
pub(super) struct Whole {
    pub file: Vec<u8>,
    /// Outputs, each with the number of encoder layers before it.
    pub exits: Vec<(String, usize)>,
}

/// Writes a checkpoint as one file. `progress` receives the number of completed layers.
pub(super) fn whole(
    checkpoint: &Checkpoint,
    products: Products<'_>,
    mut progress: impl FnMut(usize),
) -> Result<Whole, Error> {
    let config = &checkpoint.config;
    let float = match products {
        Products::Floats(float) => float,
        _ => Float::F32,
    };
    let mut writer = Writer { g: Graph::new(float), products, config, mask: String::new() };
    writer.mask = writer.attention_mask();
    let mut exits = Vec::new();
    let mut hidden = writer.embeddings(&weights::embeddings(checkpoint)?);
    for layers in 0..=config.encoder.layers {
        progress(layers);
        if let Some(layer) = layers.checked_sub(1) {
            hidden = writer.layer(&weights::layer(checkpoint, layer)?, layer, &hidden);
        }
        if let Some(head) = weights::head(checkpoint, layers)? {
            let name = match layers == config.encoder.layers {
                true => LOGITS.into(),
                false => format!("{LOGITS}_{layers}"),
            };
            writer.exit(&head, &hidden, layers, &name);
            exits.push((name, layers));
        }
    }
    let file = writer.g.finish(config.family.model_type, &[INPUT_IDS, ATTENTION_MASK])?;
    Ok(Whole { file, exits })
}

struct Writer<'a> {
    g: Graph,
    products: Products<'a>,
    config: &'a Config,
    /// Mask that is added to the attention scores, `[batch, 1, 1, sequence]`.
    mask: String,
}

impl Writer<'_> {
    /// Mask of the attention: the lowest number for padding, 0 for tokens.
    fn attention_mask(&mut self) -> String {
        let g = &mut self.g;
        g.at("mask");
        let wide = g.unsqueeze(ATTENTION_MASK, &[1, 2]);
        let wide = g.cast(&wide, g.float.data_type());
        let one = g.number(1.0);
        let padding = g.op("Sub", &[&one, &wide]);
        let lowest = g.number(g.float.lowest());
        g.op("Mul", &[&padding, &lowest])
    }

    fn embeddings(&mut self, e: &Embeddings) -> String {
        let g = &mut self.g;
        let width = self.config.encoder.hidden;
        let (vocabulary, places) = (e.words.len() / width, e.positions.len() / width);
        g.at("embeddings");
        let (words, positions) = match self.products {
            Products::Dynamic(int8) => {
                let words = match int8.embeddings {
                    EmbeddingBits::Eight => words_of_bytes(g, &e.words, [vocabulary, width]),
                    EmbeddingBits::Four => words_of_halves(g, &e.words, [vocabulary, width]),
                };
                let q = int8::per_row(&e.positions, width);
                let table = g.bytes("positions", data_type::INT8, &[places, width], q.values);
                let scale = g.floats("positions.scale", &[places, 1], &q.scales);
                let bytes = g.first_rows(&table, INPUT_IDS);
                let bytes = g.cast(&bytes, data_type::FLOAT);
                let scale = g.first_rows(&scale, INPUT_IDS);
                (words, g.op("Mul", &[&bytes, &scale]))
            }
            _ => {
                let table = g.floats("words", &[vocabulary, width], &e.words);
                let words = g.op("Gather", &[&table, INPUT_IDS]);
                let table = g.floats("positions", &[places, width], &e.positions);
                (words, g.first_rows(&table, INPUT_IDS))
            }
        };
        let sum = g.op("Add", &[&words, &positions]);
        norm(g, "norm", &e.norm, &sum)
    }

    fn layer(&mut self, layer: &LayerWeights, index: usize, hidden: &str) -> String {
        let part = |name: &str| format!("layers.{index}.{name}");
        self.g.at(&part("attention"));
        let qkv = self.linear("qkv", &layer.qkv, Site::Qkv(index), hidden);
        let context = self.attention(&qkv, layer.heads);
        let site = Site::AttentionOutput(index);
        let attended = self.linear("output", &layer.attention_output, site, &context);
        let sum = self.g.op("Add", &[&attended, hidden]);
        let middle = norm(&mut self.g, "norm", &layer.attention_norm, &sum);

        self.g.at(&part("feed_forward"));
        let site = Site::Intermediate(index);
        let wide = self.linear("intermediate", &layer.intermediate, site, &middle);
        let wide = self.g.activation(self.config.encoder.activation, &wide);
        let fed = self.linear("output", &layer.output, Site::Output(index), &wide);
        let sum = self.g.op("Add", &[&fed, &middle]);
        norm(&mut self.g, "norm", &layer.output_norm, &sum)
    }

    /// Attention: concatenated queries, keys and values give the concatenated heads. The queries
    /// are scaled before the product, so that the product stays in the range of 16 bits.
    fn attention(&mut self, qkv: &str, heads: usize) -> String {
        let g = &mut self.g;
        let size = self.config.encoder.head_size();
        let width = (heads * size) as i64;
        let [q, k, v] = {
            let sizes = g.integers(&[width; 3]);
            g.op_many("Split", &[qkv, &sizes], vec![int("axis", -1)])
        };
        let mut by_head = |x: &str, order: [i64; 4]| {
            let split = g.reshape(x, &[0, 0, heads as i64, size as i64]);
            g.transpose(&split, &order)
        };
        let q = by_head(&q, [0, 2, 1, 3]);
        let k = by_head(&k, [0, 2, 3, 1]);
        let v = by_head(&v, [0, 2, 1, 3]);
        let scale = g.number((size as f32).sqrt().recip());
        let q = g.op("Mul", &[&q, &scale]);
        let scores = g.op("MatMul", &[&q, &k]);
        let scores = g.op("Add", &[&scores, &self.mask]);
        let shares = g.op_with("Softmax", &[&scores], vec![int("axis", -1)]);
        let context = g.op("MatMul", &[&shares, &v]);
        let context = g.transpose(&context, &[0, 2, 1, 3]);
        g.reshape(&context, &[0, 0, width])
    }

    fn linear(&mut self, name: &str, l: &Linear, site: Site, x: &str) -> String {
        let product = match self.products {
            Products::Floats(_) => return float_linear(&mut self.g, name, l, x),
            Products::Dynamic(int8) => {
                dynamic_product(&mut self.g, name, l, int8.linear(Some(site)), x)
            }
            Products::Static(int8, scale) => {
                let grid = int8.linear(Some(site));
                static_product(&mut self.g, name, l, grid, scale(site), x)
            }
        };
        let bias = self.g.floats(&format!("{name}.bias"), &[l.bias.len()], &l.bias);
        self.g.op("Add", &[&product, &bias])
    }

    /// Adds an exit in 32-bit floats: it is tiny, and its result is compared with thresholds.
    fn exit(&mut self, head: &HeadWeights, hidden: &str, layers: usize, output: &str) {
        let g = &mut self.g;
        g.at(&format!("exit.{layers}"));
        let around = std::mem::replace(&mut g.float, Float::F32);
        let hidden = match around {
            Float::F32 => hidden.into(),
            Float::F16 => g.cast(hidden, data_type::FLOAT),
        };
        let pooled = match head.pooling {
            Pooling::Cls => {
                let first = g.integer(0);
                g.op_with("Gather", &[&hidden, &first], vec![int("axis", 1)])
            }
            Pooling::Mean => {
                let mask = g.unsqueeze(ATTENTION_MASK, &[2]);
                let mask = g.cast(&mask, data_type::FLOAT);
                let kept = g.op("Mul", &[&hidden, &mask]);
                let rows = g.integers(&[1]);
                let mut sum =
                    |x: &str| g.op_with("ReduceSum", &[x, &rows], vec![int("keepdims", 0)]);
                let (sum, count) = (sum(&kept), sum(&mask));
                g.op("Div", &[&sum, &count])
            }
        };
        let dense = float_linear(g, "dense", &head.dense, &pooled);
        let dense = g.activation(head.activation, &dense);
        float_linear(g, "classifier", &head.classifier, &dense);
        g.output_of_last(output, head.classifier.bias.len());
        g.float = around;
    }
}

/// Computes x W + bias.
fn float_linear(g: &mut Graph, name: &str, l: &Linear, x: &str) -> String {
    let weight = g.floats(&format!("{name}.weight"), &shape(l), &l.weight);
    let product = g.op("MatMul", &[x, &weight]);
    let bias = g.floats(&format!("{name}.bias"), &[l.bias.len()], &l.bias);
    g.op("Add", &[&product, &bias])
}

/// Computes x W in the form that ONNX Runtime runs as one `DynamicQuantizeMatMul`, with one range
/// for all of x.
fn dynamic_product(g: &mut Graph, name: &str, l: &Linear, grid: Grid, x: &str) -> String {
    let outputs = l.bias.len();
    let q = quantize::linear(&l.weight, outputs, grid);
    let weight = g.bytes(&format!("{name}.weight"), data_type::INT8, &shape(l), q.values);
    let weight_scale = g.floats(&format!("{name}.scale"), &[outputs], &q.scales);
    let [x, x_scale, x_zero] = g.op_many("DynamicQuantizeLinear", &[x], vec![]);
    let zero = g.byte(data_type::INT8, 0);
    let sums = g.op("MatMulInteger", &[&x, &weight, &x_zero, &zero]);
    let sums = g.cast(&sums, data_type::FLOAT);
    let scale = g.op("Mul", &[&x_scale, &weight_scale]);
    g.op("Mul", &[&sums, &scale])
}

/// Computes x W of dequantized operands, for TensorRT: symmetric, with a weight scale per output
/// and one scale for x.
fn static_product(
    g: &mut Graph,
    name: &str,
    l: &Linear,
    grid: Grid,
    scale: f32,
    x: &str,
) -> String {
    let outputs = l.bias.len();
    let x_scale = g.floats(&format!("{name}.input.scale"), &[], &[scale]);
    let zero = g.byte(data_type::INT8, 0);
    let x = g.op("QuantizeLinear", &[x, &x_scale, &zero]);
    let x = g.op("DequantizeLinear", &[&x, &x_scale, &zero]);
    let q = quantize::linear(&l.weight, outputs, grid);
    let weight = g.bytes(&format!("{name}.weight"), data_type::INT8, &shape(l), q.values);
    let scale = g.floats(&format!("{name}.scale"), &[outputs], &q.scales);
    let zeros = g.bytes(&format!("{name}.zero"), data_type::INT8, &[outputs], vec![0; outputs]);
    let weight = g.op_with("DequantizeLinear", &[&weight, &scale, &zeros], vec![int("axis", 1)]);
    g.op("MatMul", &[&x, &weight])
}

/// Word embeddings in signed bytes with a scale per row.
fn words_of_bytes(g: &mut Graph, words: &[f32], shape: [usize; 2]) -> String {
    let q = int8::per_row(words, shape[1]);
    let table = g.bytes("words", data_type::INT8, &shape, q.values);
    let scale = g.floats("words.scale", &[shape[0], 1], &q.scales);
    let bytes = g.op("Gather", &[&table, INPUT_IDS]);
    let bytes = g.cast(&bytes, data_type::FLOAT);
    let scale = g.op("Gather", &[&scale, INPUT_IDS]);
    g.op("Mul", &[&bytes, &scale])
}

/// Word embeddings in nibbles around 8: the low nibbles, then the high ones, with a scale per
/// group.
fn words_of_halves(g: &mut Graph, words: &[f32], [rows, width]: [usize; 2]) -> String {
    let group = rounding::group(width, EMBEDDING_GROUP);
    let groups = width / group;
    let q = int8::halves(words, width, group);
    let table = g.bytes("words", data_type::UINT8, &[rows, width / 2], q.values);
    let scale = g.floats("words.scale", &[rows, groups, 1], &q.scales);
    let bytes = g.op("Gather", &[&table, INPUT_IDS]);
    let four = g.byte(data_type::UINT8, 4);
    let mut shift =
        |x: &str, way| g.op_with("BitShift", &[x, &four], vec![string("direction", way)]);
    let high = shift(&bytes, "RIGHT");
    let low = shift(&bytes, "LEFT");
    let low = shift(&low, "RIGHT");
    let halves = g.op_with("Concat", &[&low, &high], vec![int("axis", -1)]);
    let halves = g.cast(&halves, data_type::FLOAT);
    let eight = g.number(8.0);
    let halves = g.op("Sub", &[&halves, &eight]);
    let halves = g.reshape(&halves, &[0, 0, groups as i64, group as i64]);
    let scale = g.op("Gather", &[&scale, INPUT_IDS]);
    let words = g.op("Mul", &[&halves, &scale]);
    g.reshape(&words, &[0, 0, width as i64])
}

fn norm(g: &mut Graph, name: &str, norm: &Norm, x: &str) -> String {
    let width = [norm.gamma.len()];
    let gamma = g.floats(&format!("{name}.gamma"), &width, &norm.gamma);
    let beta = g.floats(&format!("{name}.beta"), &width, &norm.beta);
    let epsilon = float("epsilon", norm.epsilon);
    g.op_with("LayerNormalization", &[x, &gamma, &beta], vec![int("axis", -1), epsilon])
}

/// Shape of the weight, `[inputs, outputs]`.
fn shape(l: &Linear) -> [usize; 2] {
    [l.weight.len() / l.bias.len(), l.bias.len()]
}
