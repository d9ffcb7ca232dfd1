//! Layer normalization (Ba et al. 2016), with the dropout and the residual sum before it.

use super::dropout::Dropout;
use super::{BLOCK, add, total};
use multiversion::multiversion;
use rayon::prelude::*;

/// Values of the forward pass that the backward pass needs.
pub struct Saved {
    /// Rows with mean 0 and variance 1, `[rows, width]`.
    normal: Vec<f32>,
    /// Inverse standard deviation 1/σ of every row.
    inverse: Vec<f32>,
}

/// Computes `norm(residual + dropout(x)) · gamma + beta`, and the values that the backward pass
/// needs.
///
/// The shapes of `x` and `residual` are `[rows, width]`, those of `gamma` and `beta` `[width]`.
pub fn forward(
    mut x: Vec<f32>,
    residual: &[f32],
    dropout: Option<&Dropout>,
    (gamma, beta, epsilon): (&[f32], &[f32], f32),
) -> (Vec<f32>, Saved) {
    let width = gamma.len();
    let mut out = vec![0.0; x.len()];
    let mut inverse = vec![0.0; x.len() / width];
    x.par_chunks_mut(BLOCK * width)
        .zip(residual.par_chunks(BLOCK * width))
        .zip(out.par_chunks_mut(BLOCK * width))
        .zip(inverse.par_chunks_mut(BLOCK))
        .enumerate()
        .for_each(|(block, (((x, residual), out), inverse))| {
            let first = (block * BLOCK * width) as u32;
            forward_block(
                x,
                residual,
                out,
                inverse,
                dropout.map(|d| (d, first)),
                gamma,
                beta,
                epsilon,
            );
        });
    (out, Saved { normal: x, inverse })
}

#[allow(clippy::too_many_arguments)]
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn forward_block(
    x: &mut [f32],
    residual: &[f32],
    out: &mut [f32],
    inverse: &mut [f32],
    dropout: Option<(&Dropout, u32)>,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
) {
    let width = gamma.len();
    let rows = x.chunks_exact_mut(width).zip(residual.chunks_exact(width));
    for (row, (((x, residual), out), inverse)) in
        rows.zip(out.chunks_exact_mut(width)).zip(inverse).enumerate()
    {
        if let Some((dropout, first)) = dropout {
            let first = first.wrapping_add((row * width) as u32);
            for (i, x) in x.iter_mut().enumerate() {
                *x *= dropout.factor(first.wrapping_add(i as u32));
            }
        }
        add(x, residual);
        let mean = lanes_sum(x) / width as f32;
        x.iter_mut().for_each(|x| *x -= mean);
        let variance = super::dot(x, x) / width as f32;
        *inverse = 1.0 / (variance + epsilon).sqrt();
        for i in 0..width {
            x[i] *= *inverse;
            out[i] = x[i] * gamma[i] + beta[i];
        }
    }
}

#[inline(always)]
fn lanes_sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (rows, rest) = x.as_chunks::<16>();
    for row in rows {
        for l in 0..16 {
            lanes[l] += row[l];
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// Gradients of the sum before the norm (which is that of the residual), of gamma and of beta.
pub struct Gradients {
    /// Gradient of the sum, `[rows, width]`.
    pub x: Vec<f32>,
    /// Gradient of gamma, `[width]`.
    pub gamma: Vec<f32>,
    /// Gradient of beta, `[width]`.
    pub beta: Vec<f32>,
}

/// Backward pass: `gradient` is that of the result, and becomes that of the sum before the norm.
pub fn backward(mut gradient: Vec<f32>, saved: &Saved, gamma: &[f32]) -> Gradients {
    let width = gamma.len();
    let (gammas, betas) = gradient
        .par_chunks_mut(BLOCK * width)
        .zip(saved.normal.par_chunks(BLOCK * width))
        .zip(saved.inverse.par_chunks(BLOCK))
        .map(|((gradient, normal), inverse)| {
            let (mut d_gamma, mut d_beta) = (vec![0.0; width], vec![0.0; width]);
            backward_block(gradient, normal, inverse, gamma, &mut d_gamma, &mut d_beta);
            (d_gamma, d_beta)
        })
        .unzip();
    Gradients { x: gradient, gamma: total(gammas, width), beta: total(betas, width) }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_block(
    gradient: &mut [f32],
    normal: &[f32],
    inverse: &[f32],
    gamma: &[f32],
    d_gamma: &mut [f32],
    d_beta: &mut [f32],
) {
    let width = gamma.len();
    for ((g, y), inverse) in
        gradient.chunks_exact_mut(width).zip(normal.chunks_exact(width)).zip(inverse)
    {
        for i in 0..width {
            d_gamma[i] += g[i] * y[i];
            d_beta[i] += g[i];
            g[i] *= gamma[i];
        }
        let mean = lanes_sum(g) / width as f32;
        let slope = super::dot(g, y) / width as f32;
        for i in 0..width {
            g[i] = inverse * (g[i] - mean - y[i] * slope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_the_slopes() {
        let (rows, width, epsilon) = (3, 5, 1e-5);
        let value = |i: usize| ((i * 7 + 3) % 11) as f32 / 5.0 - 1.0;
        let x: Vec<f32> = (0..rows * width).map(value).collect();
        let residual: Vec<f32> = (0..rows * width).map(|i| value(i + 4)).collect();
        let gamma: Vec<f32> = (0..width).map(|i| value(i + 1) + 1.5).collect();
        let beta: Vec<f32> = (0..width).map(|i| value(i + 2)).collect();
        let weight: Vec<f32> = (0..rows * width).map(|i| value(3 * i + 1)).collect();
        let dropout = Dropout::new(0.3, 9);
        let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| -> f64 {
            let (out, _) = forward(x.to_vec(), &residual, Some(&dropout), (gamma, beta, epsilon));
            out.iter().zip(&weight).map(|(o, w)| f64::from(o * w)).sum()
        };
        let (_, saved) = forward(x.clone(), &residual, Some(&dropout), (&gamma, &beta, epsilon));
        let mut g = backward(weight.clone(), &saved, &gamma);
        dropout.apply(&mut g.x);
        let check = |what: &str, at: &[f32], gradient: &[f32], f: &dyn Fn(&[f32]) -> f64| {
            for i in 0..at.len() {
                let (mut up, mut down) = (at.to_vec(), at.to_vec());
                up[i] += 1e-2;
                down[i] -= 1e-2;
                let slope = (f(&up) - f(&down)) / 2e-2;
                let off = (f64::from(gradient[i]) - slope).abs();
                assert!(off < 5e-3, "{what} {i}: {} not {slope}", gradient[i]);
            }
        };
        check("x", &x, &g.x, &|x| loss(x, &gamma, &beta));
        check("gamma", &gamma, &g.gamma, &|gamma| loss(&x, gamma, &beta));
        check("beta", &beta, &g.beta, &|beta| loss(&x, &gamma, beta));
    }

    #[test]
    fn is_pytorchs() {
        let golden = super::super::golden();
        for (name, epsilon) in [("layer_norm_1e-12", 1e-12), ("layer_norm_0.001", 1e-3)] {
            let of = |part: &str| {
                golden[&format!("{name}/{part}")].flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            let (x, gamma) = (of("x"), of("weight"));
            let none = vec![0.0; x.len()];
            let (out, saved) = forward(x, &none, None, (&gamma, &of("bias"), epsilon));
            let g = backward(of("dy"), &saved, &gamma);
            for (what, ours, theirs) in [
                ("y", out, of("y")),
                ("dx", g.x, of("dx")),
                ("dweight", g.gamma, of("dweight")),
                ("dbias", g.beta, of("dbias")),
            ] {
                for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                    let off = (ours - theirs).abs();
                    let most = 1e-5 * theirs.abs().max(1.0);
                    assert!(off <= most, "{name}, {what} {i}: {ours}, not {theirs}");
                }
            }
        }
    }
}
