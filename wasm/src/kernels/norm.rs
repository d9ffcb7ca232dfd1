//! Layer normalization (Ba, Kiros and Hinton 2016).

use crate::graph::Norm;

/// Normalizes every row of `x`, `[rows, gamma.len()]`, in place.
pub fn layer_norm(x: &mut [f32], norm: &Norm) {
    let width = norm.gamma.len();
    for row in x.chunks_exact_mut(width) {
        let mean = row.iter().sum::<f32>() / width as f32;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
        let scale = 1.0 / (variance + norm.epsilon).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(&norm.gamma).zip(&norm.beta) {
            *x = (*x - mean) * scale * gamma + beta;
        }
    }
}

/// Adds `residual` to `x` and normalizes the sum, in place.
pub fn add_norm(x: &mut [f32], residual: &[f32], norm: &Norm) {
    x.iter_mut().zip(residual).for_each(|(x, r)| *x += r);
    layer_norm(x, norm);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_the_mean_and_deviation_of_the_parameters() {
        let norm = Norm { gamma: vec![2.0; 4], beta: vec![1.0; 4], epsilon: 0.0 };
        let mut x = [0.0, 1.0, 2.0, 3.0, 10.0, 10.0, 30.0, 30.0];
        add_norm(&mut x, &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], &norm);
        let deviation = 1.25f32.sqrt();
        let first = [-1.5, -0.5, 0.5, 1.5].map(|d| d / deviation * 2.0 + 1.0);
        for (a, b) in x.iter().zip(first.iter().chain(&[-1.0, -1.0, 3.0, 3.0])) {
            assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        }
    }
}
