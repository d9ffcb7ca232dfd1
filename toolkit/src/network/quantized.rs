//! The runtime's int8 arithmetic in a network under training (Jacob et al. 2018, "Quantization and
//! Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"). Weights and rows
//! of activations are rounded in the forward pass. The backward pass treats rounding as the
//! identity (the straight-through estimator, Bengio et al. 2013).
//!
//! Integers are stored as floats. Their products are sums of integers, exact in any order below
//! 2²⁴, so they equal the integers of the runtime.

use super::Mode;
use super::kernels::BLOCK;
use super::kernels::matmul::{Matrix, product};
use super::parameter::Values;
use crate::quantize::rounding::{self, largest, nearest, scale};
use crate::quantize::{EMBEDDING_GROUP, EmbeddingBits, Grid, int4};
use edge_runtime::graph;
use edge_runtime::kernels::attention::{Scratch, self_attention};
use edge_runtime::kernels::isa::Isa;
use edge_runtime::kernels::norm;
use multiversion::multiversion;
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Deref;

/// Rows of integers with a scale per row: `value ≈ integer · scale`.
pub(super) struct QuantizedRows {
    pub integers: Vec<f32>,
    pub scales: Vec<f32>,
    width: usize,
}

impl QuantizedRows {
    /// Rounds activations, `[rows, width]`, like the runtime: to −127…127 by the largest value of
    /// the row.
    pub fn of_activations(x: &[f32], width: usize) -> Self {
        Self::of(x, width, activation_row)
    }

    /// Rounds weights, `[outputs, inputs]`, like the exporter.
    ///
    /// # Panics
    /// If `grid` is products and the number of inputs is odd.
    pub fn of_weights(weight: &[f32], inputs: usize, grid: Grid) -> Self {
        Self::of(weight, inputs, |row, integers| match grid {
            Grid::Integers(bits) => weight_row(row, integers, bits.largest()),
            Grid::Products(bits) => {
                let mut multipliers = vec![0; inputs / int4::group(inputs)];
                int4::round_row(row, bits, integers, &mut multipliers)
            }
        })
    }

    fn of(x: &[f32], width: usize, round: impl Fn(&[f32], &mut [f32]) -> f32 + Sync) -> Self {
        let mut integers = vec![0.0; x.len()];
        let rows = integers.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width));
        let scales = rows.map(|(integers, row)| round(row, integers)).collect();
        QuantizedRows { integers, scales, width }
    }

    /// Products of integers and scales.
    pub fn values(mut self) -> Vec<f32> {
        let rows = self.integers.par_chunks_exact_mut(self.width).zip(&self.scales);
        rows.for_each(|(row, scale)| row.iter_mut().for_each(|v| *v *= scale));
        self.integers
    }
}

/// Weight of the forward pass.
pub(super) enum Seen<'a> {
    Stored(Values<'a>),
    Rounded(Vec<f32>),
}

impl Deref for Seen<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Seen::Stored(values) => values,
            Seen::Rounded(values) => values,
        }
    }
}

/// Activations, `[rows, inputs]`, as the input of a linear layer: unchanged or rounded.
pub(super) fn rows_seen<'a>(x: &'a [f32], inputs: usize, mode: &Mode) -> Cow<'a, [f32]> {
    match mode.quantized {
        None => Cow::Borrowed(x),
        Some(_) => Cow::Owned(QuantizedRows::of_activations(x, inputs).values()),
    }
}

/// Rounds a row and returns its scale.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn activation_row(row: &[f32], integers: &mut [f32]) -> f32 {
    let largest = largest(row);
    let inverse = 127.0 / largest.max(1e-30);
    integers.iter_mut().zip(row).for_each(|(q, x)| *q = nearest(x * inverse));
    largest * (1.0 / 127.0)
}

/// Rounds a row to −`most`…`most` and returns its scale.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn weight_row(row: &[f32], integers: &mut [f32], most: i8) -> f32 {
    let scale = scale(largest(row), most);
    integers.iter_mut().zip(row).for_each(|(q, w)| *q = nearest(w / scale));
    scale
}

/// Computes `x · weightᵀ + bias` with the rounded rows of both: `x` is `[rows, inputs]`, `weight`
/// `[outputs, inputs]`. Each step is the same as in the runtime, and so are the results.
pub(super) fn linear(x: &[f32], weight: &[f32], bias: &[f32], grid: Grid) -> Vec<f32> {
    let inputs = weight.len() / bias.len();
    let x = QuantizedRows::of_activations(x, inputs);
    let weight = QuantizedRows::of_weights(weight, inputs, grid);
    let mut out =
        product(Matrix::new(&x.integers, inputs), Matrix::new(&weight.integers, inputs).t());
    out.par_chunks_exact_mut(bias.len()).zip(&x.scales).for_each(|(out, scale)| {
        for ((out, column), bias) in out.iter_mut().zip(&weight.scales).zip(bias) {
            *out = *out * column * scale + bias;
        }
    });
    out
}

/// The runtime's self-attention, with the same sums in the same order, because a difference in the
/// last bit can become a whole step after rounding. The result is `[rows, width]`, the shape of
/// `query`, `key` and `value`.
pub(super) fn attention(
    starts: &[usize],
    heads: usize,
    [query, key, value]: [&[f32]; 3],
    width: usize,
) -> Vec<f32> {
    let isa = Isa::detect();
    let mut out = vec![0.0; query.len()];
    let mut parts = Vec::with_capacity(starts.len());
    let mut rest = out.as_mut_slice();
    for span in starts.windows(2) {
        let (of_this, of_others) = rest.split_at_mut((span[1] - span[0]) * width);
        parts.push((span, of_this));
        rest = of_others;
    }
    parts.into_par_iter().for_each_init(Scratch::default, |scratch, (span, out)| {
        let mut qkv = Vec::with_capacity(3 * out.len());
        for row in span[0]..span[1] {
            for part in [query, key, value] {
                qkv.extend_from_slice(&part[row * width..][..width]);
            }
        }
        let offsets = [0, span[1] - span[0]];
        self_attention(isa, &qkv, &offsets, heads, usize::MAX, scratch, out);
    });
    out
}

/// The runtime's norm of `x + residual`; see [`attention`].
pub(super) fn add_norm(x: &[f32], residual: &[f32], norm: &graph::Norm) -> Vec<f32> {
    let isa = Isa::detect();
    let piece = BLOCK * norm.gamma.len();
    let mut out = vec![0.0; x.len()];
    let pieces = out.par_chunks_mut(piece).zip(x.par_chunks(piece)).zip(residual.par_chunks(piece));
    pieces.for_each(|((out, x), residual)| norm::add_norm(isa, x, residual, norm, out));
    out
}

/// Rounds a word embedding in place.
pub(super) fn word(row: &mut [f32], bits: EmbeddingBits) {
    match bits {
        EmbeddingBits::Eight => byte_row(row),
        EmbeddingBits::Four => {
            let group = rounding::group(row.len(), EMBEDDING_GROUP);
            row.chunks_exact_mut(group).for_each(|columns| rounded(columns, 7));
        }
    }
}

/// Rounds a position embedding in place.
pub(super) fn byte_row(row: &mut [f32]) {
    rounded(row, 127);
}

fn rounded(row: &mut [f32], most: i8) {
    let scale = scale(largest(row), most);
    row.iter_mut().for_each(|v| *v = nearest(*v / scale) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::WeightBits;
    use crate::quantize::int8;
    use edge_runtime::graph::Activation;
    use edge_runtime::kernels::qlinear::{PackedWeights, Scratch, qlinear};

    #[test]
    fn a_linear_layer_is_the_runtimes_to_the_bit() {
        let mut rng = crate::rng::Rng::new(&[5]);
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 7, 5), (9, 384, 40), (4, 1536, 33)] {
            let mut floats = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f32>>();
            let mut x = floats(rows * inputs);
            x[..inputs].fill(0.0);
            let (weight, bias) = (floats(outputs * inputs), floats(outputs));
            for bits in [WeightBits::Seven, WeightBits::Eight] {
                let mut columns = vec![0.0; weight.len()];
                for (o, row) in weight.chunks_exact(inputs).enumerate() {
                    row.iter().enumerate().for_each(|(i, w)| columns[i * outputs + o] = *w);
                }
                let q = int8::per_column(&columns, outputs, bits.largest());
                let mut grids = vec![(Grid::Integers(bits), q)];
                if inputs % 2 == 0 {
                    let halves = int4::halves(&columns, outputs, bits);
                    grids.push((Grid::Products(bits), halves.expanded));
                }
                for (grid, q) in grids {
                    let (values, scales) = (&q.values, &q.scales);
                    let isa = Isa::detect();
                    let packed =
                        PackedWeights::for_isa(isa, inputs, outputs, values, scales, &bias);
                    let mut out = vec![0.0; rows * outputs];
                    let scratch = &mut Scratch::default();
                    qlinear(&x, &packed, Activation::Identity, scratch, &mut out);
                    assert_eq!(linear(&x, &weight, &bias, grid), out, "{rows} {inputs} {outputs}");
                }
            }
        }
    }

    #[test]
    fn embeddings_are_the_exported_ones() {
        let mut rng = crate::rng::Rng::new(&[6]);
        let row: Vec<f32> = (0..96).map(|_| rng.normal()).collect();
        let group = rounding::group(row.len(), EMBEDDING_GROUP);
        let (mut four, mut eight) = (row.clone(), row.clone());
        word(&mut four, EmbeddingBits::Four);
        word(&mut eight, EmbeddingBits::Eight);
        let q = int8::halves(&row, row.len(), group);
        for (i, v) in four.iter().enumerate() {
            let byte = q.values[i % 48];
            let digit = if i < 48 { byte & 15 } else { byte >> 4 };
            assert_eq!(*v, (f32::from(digit) - 8.0) * q.scales[i / group]);
        }
        let q = int8::per_row(&row, row.len());
        for (v, byte) in eight.iter().zip(q.values) {
            assert_eq!(*v, f32::from(byte as i8) * q.scales[0]);
        }
    }
}
