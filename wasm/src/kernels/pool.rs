//! Pooling: one row per sentence from the rows of its tokens.

use super::isa::{Isa, compiled};
use super::lanes::Vector;

/// Averages the rows of each sentence. `x` is `[rows, width]`, `out` `[sentences, width]`.
pub fn mean_pool(isa: Isa, x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]) {
    compiled!(isa, means(x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]));
}

#[inline(always)]
fn means<V: Vector>(x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]) {
    for (out, sentence) in out.chunks_exact_mut(width).zip(offsets.windows(2)) {
        out.fill(0.0);
        for row in x[sentence[0] * width..sentence[1] * width].chunks_exact(width) {
            out.iter_mut().zip(row).for_each(|(o, x)| *o += x);
        }
        let count = (sentence[1] - sentence[0]) as f32;
        out.iter_mut().for_each(|o| *o /= count);
    }
}

/// Copies the first row of each sentence. `x` is `[rows, width]`, `out` `[sentences, width]`.
pub fn first_pool(x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]) {
    for (out, start) in out.chunks_exact_mut(width).zip(offsets) {
        out.copy_from_slice(&x[start * width..][..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, same_everywhere};

    #[test]
    fn each_sentence_is_pooled_by_itself() {
        let x = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0];
        let mut out = [0.0; 4];
        mean_pool(Isa::detect(), &x, &[0, 2, 3], 2, &mut out);
        assert_eq!(out, [2.0, 3.0, 10.0, 20.0]);
        first_pool(&x, &[0, 2, 3], 2, &mut out);
        assert_eq!(out, [1.0, 2.0, 10.0, 20.0]);
    }

    #[test]
    fn equals_the_definition() {
        let (width, offsets) = (37, [0, 1, 9, 20]);
        let x = floats(20 * width, 5);
        let out = same_everywhere(3 * width, |isa, out| mean_pool(isa, &x, &offsets, width, out));
        for (s, o) in offsets.windows(2).enumerate() {
            for c in 0..width {
                let sum: f64 = (o[0]..o[1]).map(|row| f64::from(x[row * width + c])).sum();
                let exact = sum / (o[1] - o[0]) as f64;
                assert!((f64::from(out[s * width + c]) - exact).abs() < 1e-6);
            }
        }
    }
}
