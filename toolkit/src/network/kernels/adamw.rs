//! AdamW (Loshchilov and Hutter 2019): Adam (Kingma and Ba 2015) with decoupled weight decay.

use multiversion::multiversion;
use rayon::prelude::*;

const PIECE: usize = 16 * 1024;

/// Parameters of one step.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Factor of the gradients (clipping).
    pub scale: f32,
    /// Learning rate.
    pub rate: f32,
    /// Decay of the first moments.
    pub beta1: f32,
    /// Decay of the second moments.
    pub beta2: f32,
    /// Bias correction 1 − beta1^t.
    pub correction1: f32,
    /// Bias correction 1 − beta2^t.
    pub correction2: f32,
    /// Constant that is added to the root of the second moment.
    pub epsilon: f32,
    /// Weight decay.
    pub decay: f32,
}

/// Updates a whole tensor, in place.
pub fn dense(step: &AdamWStep, value: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32]) {
    value
        .par_chunks_mut(PIECE)
        .zip(gradient.par_chunks(PIECE))
        .zip(m.par_chunks_mut(PIECE).zip(v.par_chunks_mut(PIECE)))
        .for_each(|((value, gradient), (m, v))| piece(step, value, gradient, m, v));
}

/// Updates the rows `rows`, ascending, of a `[_, width]` tensor. The other rows and their moments
/// are left unchanged (as in `torch.optim.SparseAdam`). `gradient` is `[rows.len(), width]`.
pub fn rows(
    step: &AdamWStep,
    value: &mut [f32],
    (rows, gradient): (&[u32], &[f32]),
    m: &mut [f32],
    v: &mut [f32],
    width: usize,
) {
    for (row, gradient) in rows.iter().zip(gradient.chunks_exact(width)) {
        let at = *row as usize * width..(*row as usize + 1) * width;
        piece(step, &mut value[at.clone()], gradient, &mut m[at.clone()], &mut v[at]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn piece(step: &AdamWStep, value: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32]) {
    let shrink = 1.0 - step.rate * step.decay;
    let size = step.rate / step.correction1;
    let root = 1.0 / step.correction2.sqrt();
    for (((w, g), m), v) in value.iter_mut().zip(gradient).zip(m).zip(v) {
        let g = g * step.scale;
        *m = step.beta1 * *m + (1.0 - step.beta1) * g;
        *v = step.beta2 * *v + (1.0 - step.beta2) * g * g;
        *w = *w * shrink - size * *m / (v.sqrt() * root + step.epsilon);
    }
}

/// Sum of the squares, in the same order for any number of threads.
pub fn squares(x: &[f32]) -> f64 {
    let parts: Vec<f64> = x.par_chunks(PIECE).map(|x| f64::from(squares_piece(x))).collect();
    parts.into_iter().sum()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn squares_piece(x: &[f32]) -> f32 {
    super::dot(x, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_the_learning_rate() {
        let step = AdamWStep {
            scale: 1.0,
            rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            correction1: 0.1,
            correction2: 1.0 - 0.999,
            epsilon: 1e-8,
            decay: 0.0,
        };
        let (mut w, mut m, mut v) = ([1.0, 1.0, 5.0, 5.0], [0.0; 4], [0.0; 4]);
        rows(&step, &mut w, (&[0], &[3.0, -0.01]), &mut m, &mut v, 2);
        assert!((w[0] - 0.9).abs() < 1e-4 && (w[1] - 1.1).abs() < 1e-4);
        assert_eq!((&w[2..], &m[2..]), (&[5.0, 5.0][..], &[0.0, 0.0][..]));
        assert_eq!(squares(&[3.0, 4.0]), 25.0);
    }
}
