//! Layer normalization (Ba, Kiros and Hinton 2016).

use super::isa::{Isa, compiled};
use super::lanes::{Vector, sum_of, update};
use crate::graph::Norm;

/// Adds `x` and `residual`, and normalizes the sum row by row.
///
/// All three slices are `[rows, gamma.len()]`.
pub fn add_norm(isa: Isa, x: &[f32], residual: &[f32], norm: &Norm, out: &mut [f32]) {
    compiled!(isa, add_norm_rows(x: &[f32], residual: &[f32], norm: &Norm, out: &mut [f32]));
}

#[inline(always)]
fn add_norm_rows<V: Vector>(x: &[f32], residual: &[f32], norm: &Norm, out: &mut [f32]) {
    let width = norm.gamma.len();
    let rows = out.chunks_exact_mut(width);
    for ((out, x), r) in rows.zip(x.chunks_exact(width)).zip(residual.chunks_exact(width)) {
        update::<V, 2>(
            out,
            [x, r],
            #[inline(always)]
            |_, [x, r]| x + r,
        );
        normalize::<V>(out, norm);
    }
}

/// Normalizes one row in place.
#[inline(always)]
pub(super) fn normalize<V: Vector>(row: &mut [f32], norm: &Norm) {
    let count = row.len() as f32;
    let mean = sum_of::<V>(
        row,
        #[inline(always)]
        |x| x,
    ) / count;
    let variance = sum_of::<V>(
        row,
        #[inline(always)]
        |x| (x - mean) * (x - mean),
    ) / count;
    let scale = 1.0 / (variance + norm.epsilon).sqrt();
    update::<V, 2>(
        row,
        [&norm.gamma, &norm.beta],
        #[inline(always)]
        |x, [gamma, beta]| (x - mean) * scale * gamma + beta,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, same_everywhere};

    #[test]
    fn rows_get_the_mean_and_deviation_of_the_parameters() {
        let norm = Norm { gamma: vec![2.0; 4], beta: vec![1.0; 4], epsilon: 0.0 };
        let x = [0.0, 1.0, 2.0, 3.0, 10.0, 10.0, 30.0, 30.0];
        let mut out = [0.0; 8];
        add_norm(Isa::detect(), &x, &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], &norm, &mut out);
        let deviation = 1.25f32.sqrt();
        let first = [-1.5, -0.5, 0.5, 1.5].map(|d| d / deviation * 2.0 + 1.0);
        for (a, b) in out.iter().zip(first.iter().chain(&[-1.0, -1.0, 3.0, 3.0])) {
            assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        }
    }

    #[test]
    fn equals_the_definition_at_every_width() {
        for (rows, width) in [(1, 1), (3, 7), (2, 16), (1, 31), (2, 48), (5, 384), (1, 769)] {
            let (x, r) = (floats(rows * width, 1), floats(rows * width, 2));
            let norm = Norm { gamma: floats(width, 3), beta: floats(width, 4), epsilon: 1e-3 };
            let out = same_everywhere(rows * width, |isa, out| add_norm(isa, &x, &r, &norm, out));
            for row in 0..rows {
                let at = row * width..(row + 1) * width;
                let sums: Vec<f64> =
                    at.clone().map(|i| f64::from(x[i]) + f64::from(r[i])).collect();
                let mean = sums.iter().sum::<f64>() / width as f64;
                let variance = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / width as f64;
                for (c, (out, s)) in out[at].iter().zip(&sums).enumerate() {
                    let exact = (s - mean) / (variance + 1e-3).sqrt() * f64::from(norm.gamma[c])
                        + f64::from(norm.beta[c]);
                    let error = (f64::from(*out) - exact).abs();
                    assert!(error < 2e-5, "{rows} x {width}: {out} is not {exact}");
                }
            }
        }
    }
}
