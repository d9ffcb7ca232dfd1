//! Elementwise kernels of training on the CPU, each with one pass over the memory, on all cores.
//!
//! All values are `f32`, row major. Sums over rows use blocks of [`BLOCK`] rows for any number of
//! threads. A run therefore gives the same bits on one core and on many.

pub mod adamw;
pub mod attention;
pub mod dropout;
pub mod gelu;
pub mod matmul;
pub mod norm;

use rayon::prelude::*;

/// Number of rows that are summed as one block.
pub const BLOCK: usize = 32;

/// Sum of the rows of `x`, `[rows, width]`.
pub fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    let blocks = x.par_chunks(BLOCK * width).map(|block| {
        let mut sum = vec![0.0; width];
        for row in block.chunks_exact(width) {
            add(&mut sum, row);
        }
        sum
    });
    total(blocks.collect(), width)
}

/// Sum of the vectors, in their order.
fn total(parts: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_else(|| vec![0.0; width]);
    for part in parts {
        add(&mut sum, &part);
    }
    sum
}

/// Computes `sum += x`.
pub fn add(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += x);
}

/// Exponential of x, within 2 ulp for −87 ≤ x ≤ 88 and clamped outside. It uses Cody and Waite's
/// reduction and the polynomial of Cephes' `expf`, without branches so that the compiler vectorizes
/// it.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 · 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let p = p * r * r + r + 1.0;
    p * f32::from_bits((((n as i32) + 127) << 23) as u32)
}

/// Dot product, in 16 lanes so that the compiler vectorizes it.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0f32; LANES];
    let (a_rows, a_rest) = a.as_chunks::<LANES>();
    let (b_rows, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_rows.iter().zip(b_rows) {
        for l in 0..LANES {
            lanes[l] += a[l] * b[l];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}

/// Computes `sum += factor · x`.
#[inline(always)]
fn axpy(sum: &mut [f32], factor: f32, x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += factor * x);
}

/// PyTorch's results for single operations; see `tests/goldens/make_training.py`.
#[cfg(test)]
fn golden() -> std::collections::HashMap<String, candle_core::Tensor> {
    let path = "../tests/goldens/training/operations.safetensors";
    candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_its_bound() {
        for i in -8_700..=8_800 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}) is off by {error}");
        }
        assert!(exp(-1e9) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn dot_takes_every_length() {
        for n in 0..50 {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let exact: f32 = a.iter().map(|a| a * a).sum();
            assert_eq!(dot(&a, &a), exact);
        }
    }

    #[test]
    fn column_sums_do_not_depend_on_blocks_alone() {
        let x: Vec<f32> = (0..3 * 100).map(|i| (i % 3) as f32).collect();
        assert_eq!(column_sums(&x, 3), [0.0, 100.0, 200.0]);
        assert_eq!(column_sums(&[], 2), [0.0, 0.0]);
    }
}
