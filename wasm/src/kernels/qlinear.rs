//! The int8 linear layer: quantize each row, integer product, rescale, bias, activation.
//!
//! Weights stand in panels of 8 outputs. A panel holds, for every two inputs, both weights of
//! each output side by side: what one multiply-and-add of 16-bit pairs takes (`vpmaddwd`,
//! `i32x4.dot_i16x8_s`). One file per instruction set computes a tile of rows by one panel; all of
//! them give the same integers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use super::activation::activate;
use crate::graph::Activation;

/// Outputs of a panel.
const LANES: usize = 8;
/// Rows that are computed together, so that a panel is read once for all of them.
const ROWS: usize = 4;

/// The sums of a tile.
type Tile = [[i32; LANES]; ROWS];

/// Int8 weights of a linear layer, packed for [`qlinear`].
#[derive(Clone, Debug, PartialEq)]
pub struct PackedWeights {
    inputs: usize,
    outputs: usize,
    /// `[panels][pairs of inputs][LANES][2]`; inputs and outputs that do not fill up are zeros.
    panels: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl PackedWeights {
    /// Packs weights that stand as `[inputs, outputs]`, with a scale and a bias per output.
    ///
    /// # Panics
    /// If the lengths contradict one another.
    pub fn new(inputs: usize, outputs: usize, values: &[u8], scales: &[f32], bias: &[f32]) -> Self {
        assert_eq!(values.len(), inputs * outputs);
        assert_eq!((scales.len(), bias.len()), (outputs, outputs));
        let pairs = inputs.div_ceil(2);
        let mut panels = vec![0i8; outputs.div_ceil(LANES) * pairs * LANES * 2];
        for (i, row) in values.chunks_exact(outputs).enumerate() {
            for (o, value) in row.iter().enumerate() {
                let pair = (o / LANES * pairs + i / 2) * LANES;
                panels[(pair + o % LANES) * 2 + i % 2] = *value as i8;
            }
        }
        PackedWeights { inputs, outputs, panels, scales: scales.to_vec(), bias: bias.to_vec() }
    }

    /// Width of a row that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of a row that comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// Quantizes a row to −127…127 and gives the largest absolute value.
///
/// `q = round(x · 127 / max|x|)`, ties to even; a row of zeros stays zero.
#[inline(always)]
pub fn quantize_row(x: &[f32], q: &mut [i16]) -> f32 {
    let mut largest = 0.0f32;
    for x in x {
        largest = largest.max(x.abs());
    }
    let inverse = 127.0 / largest.max(1e-30);
    for (q, x) in q.iter_mut().zip(x) {
        *q = (x * inverse).round_ties_even() as i16;
    }
    largest
}

/// `out = activation((q · W) · scale · (max|x| / 127) + bias)` for every row of `x`.
///
/// `x` is `[rows, inputs]`, `out` `[rows, outputs]`.
pub fn qlinear(x: &[f32], weights: &PackedWeights, activation: Activation, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2(x: &[f32], w: &PackedWeights, activation: Activation, out: &mut [f32]) {
            layer(x, w, activation, out, |q, panel| avx2::tile(q, panel));
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, it was just asked.
            return unsafe { with_avx2(x, weights, activation, out) };
        }
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    let tile = simd128::tile;
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    let tile = portable::tile;
    layer(x, weights, activation, out, tile);
}

/// The whole layer, given how a tile is computed. Loops rather than closures: only what is inlined
/// is compiled for the caller's instruction set.
#[inline(always)]
fn layer(
    x: &[f32],
    weights: &PackedWeights,
    activation: Activation,
    out: &mut [f32],
    tile: impl Fn([&[i16]; ROWS], &[i8]) -> Tile,
) {
    let (k, n) = (weights.inputs, weights.outputs);
    let rows = x.len() / k;
    let padded = k.next_multiple_of(2);
    // The last tile may have fewer rows: the others are zeros, and their sums are not used.
    let mut q = vec![0i16; rows.next_multiple_of(ROWS) * padded];
    let mut scales = vec![0.0f32; rows];
    for ((x, q), scale) in x.chunks_exact(k).zip(q.chunks_exact_mut(padded)).zip(&mut scales) {
        *scale = quantize_row(x, &mut q[..k]) * (1.0 / 127.0);
    }
    for (p, panel) in weights.panels.chunks_exact(padded * LANES).enumerate() {
        let first = p * LANES;
        let lanes = LANES.min(n - first);
        let column = &weights.scales[first..first + lanes];
        let bias = &weights.bias[first..first + lanes];
        for (t, scales) in scales.chunks(ROWS).enumerate() {
            let q: [&[i16]; ROWS] =
                std::array::from_fn(|r| &q[(t * ROWS + r) * padded..][..padded]);
            let sums = tile(q, panel);
            for (r, scale) in scales.iter().enumerate() {
                let out = &mut out[(t * ROWS + r) * n + first..][..lanes];
                for l in 0..lanes {
                    out[l] = sums[r][l] as f32 * column[l] * scale + bias[l];
                }
            }
        }
    }
    activate(out, activation);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The integers and the rescaling straight from the definition.
    fn reference(x: &[f32], k: usize, n: usize, w: &[u8], s: &[f32], b: &[f32]) -> Vec<f32> {
        x.chunks(k)
            .flat_map(|x| {
                let largest = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                let inverse = 127.0 / largest.max(1e-30);
                let q: Vec<i64> =
                    x.iter().map(|x| (x * inverse).round_ties_even() as i64).collect();
                (0..n)
                    .map(|o| {
                        let sum: i64 = (0..k).map(|i| q[i] * i64::from(w[i * n + o] as i8)).sum();
                        sum as f32 * s[o] * (largest * (1.0 / 127.0)) + b[o]
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn noise(n: usize, seed: u64) -> impl Iterator<Item = u64> {
        let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        std::iter::repeat_with(move || {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            s >> 16
        })
        .take(n)
    }

    #[test]
    fn equals_the_definition_on_odd_shapes_and_extremes() {
        for (seed, (rows, k, n)) in
            [(1, 1, 1), (2, 3, 5), (4, 32, 8), (6, 16, 19), (5, 33, 7), (9, 384, 6), (3, 1536, 4)]
                .into_iter()
                .enumerate()
        {
            let seed = seed as u64;
            let mut x: Vec<f32> =
                noise(rows * k, seed).map(|v| (v % 2001) as f32 / 100.0 - 10.0).collect();
            x[..k].fill(0.0);
            let w: Vec<u8> = noise(k * n, seed + 50)
                .map(|v| [0x80, 0x81, 127, 63, 0xc1, v as u8][(v % 6) as usize])
                .collect();
            let s: Vec<f32> = noise(n, seed + 99).map(|v| (v % 97 + 1) as f32 / 1e4).collect();
            let b: Vec<f32> = noise(n, seed + 7).map(|v| (v % 13) as f32 - 6.0).collect();
            let packed = PackedWeights::new(k, n, &w, &s, &b);
            let expected = reference(&x, k, n, &w, &s, &b);
            let mut out = vec![f32::NAN; rows * n];
            qlinear(&x, &packed, Activation::Identity, &mut out);
            assert_eq!(out, expected, "{rows} x {k} x {n}");
            let mut out = vec![f32::NAN; rows * n];
            layer(&x, &packed, Activation::Identity, &mut out, portable::tile);
            assert_eq!(out, expected, "{rows} x {k} x {n}, portable");
        }
    }

    #[test]
    fn quantized_rows_reach_but_never_pass_127() {
        let x = [-3.0, 1.5, 0.0, 2.999_999_8];
        let mut q = [0; 4];
        assert_eq!(quantize_row(&x, &mut q), 3.0);
        assert_eq!(q, [-127, 64, 0, 127]);
    }
}
