//! Dropout (Srivastava et al. 2014) with a mask that is a function of a key and a position.
//!
//! No mask is stored: the backward pass computes it again. A key combines the run's seed, the step
//! and the place in the network. A seed thus determines a run, and a resumed run has the same masks.

use multiversion::multiversion;
use rayon::prelude::*;

const PIECE: usize = 16 * 1024;

/// Dropout with a `probability`, and the mask that `key` determines.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    low: u32,
    high: u32,
    /// Threshold: a value is dropped if its hash is lower.
    below: u32,
    /// Factor of the kept values.
    scale: f32,
}

impl Dropout {
    /// Creates a dropout; the probability is at least 0 and less than 1.
    ///
    /// # Panics
    /// If the probability is outside of that range.
    pub fn new(probability: f32, key: u64) -> Self {
        assert!((0.0..1.0).contains(&probability), "a dropout of {probability}");
        Dropout {
            low: key as u32,
            high: (key >> 32) as u32,
            below: (f64::from(probability) * 4_294_967_296.0) as u32,
            scale: 1.0 / (1.0 - probability),
        }
    }

    /// Factor of a position: 0 for a dropped value, 1/(1 − probability) for a kept one.
    #[inline(always)]
    pub fn factor(&self, position: u32) -> f32 {
        let hash = mix(mix(position ^ self.low) ^ self.high);
        if hash < self.below { 0.0 } else { self.scale }
    }

    /// Multiplies every value by its factor, positions counted from 0.
    pub fn apply(&self, x: &mut [f32]) {
        if self.below > 0 {
            x.par_chunks_mut(PIECE)
                .enumerate()
                .for_each(|(i, piece)| apply_piece(self, (i * PIECE) as u32, piece));
        }
    }

    /// Factors of `n` positions.
    pub fn mask(&self, n: usize) -> Vec<f32> {
        let mut mask = vec![1.0; n];
        self.apply(&mut mask);
        mask
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn apply_piece(dropout: &Dropout, first: u32, x: &mut [f32]) {
    for (i, x) in x.iter_mut().enumerate() {
        *x *= dropout.factor(first.wrapping_add(i as u32));
    }
}

/// Permutation of the 32-bit integers with little bias: `lowbias32` of Wellons' hash prospector.
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_and_the_mean_are_right() {
        for key in 0..20 {
            let mask = Dropout::new(0.1, key).mask(100_000);
            let dropped = mask.iter().filter(|m| **m == 0.0).count();
            assert!((9_600..10_400).contains(&dropped), "{dropped} of 100000 with key {key}");
            let mean = mask.iter().sum::<f32>() / 100_000.0;
            assert!((mean - 1.0).abs() < 0.005);
        }
        assert!(Dropout::new(0.0, 1).mask(100).iter().all(|m| *m == 1.0));
    }

    #[test]
    fn keys_drop_differently() {
        let (a, b) = (Dropout::new(0.5, 1).mask(1000), Dropout::new(0.5, 2).mask(1000));
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        assert!((400..600).contains(&same), "{same} of 1000");
    }
}
