//! GELU with the error function (Hendrycks and Gimpel 2016), forward and backward.

use super::exp;
use edge_runtime::kernels::activation::erf;
use multiversion::multiversion;
use rayon::prelude::*;
use std::f32::consts::FRAC_1_SQRT_2;

/// Number of values that a thread computes as one piece.
const PIECE: usize = 16 * 1024;

/// Computes `gelu(x)`.
pub fn forward(x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| forward_piece(out, x));
    out
}

/// Computes `gradient ·= gelu'(x)`.
pub fn backward(gradient: &mut [f32], x: &[f32]) {
    gradient
        .par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .for_each(|(gradient, x)| backward_piece(gradient, x));
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn forward_piece(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_piece(gradient: &mut [f32], x: &[f32]) {
    const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;
    for (g, x) in gradient.iter_mut().zip(x) {
        let below = 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2));
        let density = FRAC_1_SQRT_2PI * exp(-0.5 * x * x);
        *g *= below + x * density;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivative_is_that_of_the_function() {
        let x: Vec<f32> = (-800..=800).map(|i| i as f32 / 100.0).collect();
        let mut gradient = vec![1.0; x.len()];
        backward(&mut gradient, &x);
        let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()));
        for ((x, g), y) in x.iter().zip(&gradient).zip(forward(&x)) {
            let x = f64::from(*x);
            let slope = (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5;
            assert!((f64::from(*g) - slope).abs() < 2e-6, "gelu'({x}) = {g}, not {slope}");
            assert!((f64::from(y) - gelu(x)).abs() < 3e-6, "gelu({x}) = {y}");
        }
    }

    #[test]
    fn is_pytorchs() {
        let golden = super::super::golden();
        let of = |name: &str| golden[&format!("gelu/{name}")].to_vec1::<f32>().unwrap();
        let (x, mut gradient) = (of("x"), of("dy"));
        backward(&mut gradient, &x);
        for (ours, theirs) in [(forward(&x), of("y")), (gradient, of("dx"))] {
            for ((ours, theirs), x) in ours.iter().zip(theirs).zip(&x) {
                assert!(
                    (ours - theirs).abs() <= 3e-6 * x.abs().max(1.0),
                    "{ours}, not {theirs}, at {x}"
                );
            }
        }
    }
}
