//! Activations, in place.

pub use super::math::erf;

use super::lanes::LANES;
use super::math::tanh;
use crate::graph::Activation;

/// Applies an activation to every element.
#[inline(always)]
pub fn activate(x: &mut [f32], activation: Activation) {
    match activation {
        Activation::Identity => {}
        Activation::Gelu => each(x, gelu),
        Activation::GeluTanh => each(x, gelu_tanh),
        Activation::Relu => each(x, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::Tanh => each(x, tanh),
    }
}

/// By sixteens; fewer at the end are filled up, as they would otherwise be computed one by one.
#[inline(always)]
fn each(x: &mut [f32], value: impl Fn(f32) -> f32) {
    let (blocks, rest) = x.as_chunks_mut::<LANES>();
    for block in blocks {
        for x in block {
            *x = value(*x);
        }
    }
    if !rest.is_empty() {
        let mut block = [0.0; LANES];
        block[..rest.len()].copy_from_slice(rest);
        for x in &mut block {
            *x = value(*x);
        }
        rest.copy_from_slice(&block[..rest.len()]);
    }
}

/// Within 1.5e-6 of the exact one.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_within_its_bound() {
        for i in -200_000..=200_000 {
            let x = i as f32 / 10_000.0;
            let exact = f64::from(x) * 0.5 * libm::erfc(-f64::from(x) / 2f64.sqrt());
            let bound = 1.5e-6f64.max(exact * 1e-6);
            let error = (f64::from(gelu(x)) - exact).abs();
            assert!(error < bound, "gelu({x}) = {} is off by {error}", gelu(x));
        }
    }

    #[test]
    fn gelu_at_known_points() {
        // torch.nn.functional.gelu, exact and with approximate="tanh"
        for (x, exact, tanh) in [
            (-3.0, -0.004_049_69, -0.003_637_39),
            (-1.0, -0.158_655_26, -0.158_808_01),
            (0.0, 0.0, 0.0),
            (0.5, 0.345_731_23, 0.345_714),
            (2.0, 1.954_499_7, 1.954_597_7),
        ] {
            assert!((gelu(x) - exact).abs() < 1e-6, "gelu({x}) = {}", gelu(x));
            assert!((gelu_tanh(x) - tanh).abs() < 1e-6, "gelu_tanh({x}) = {}", gelu_tanh(x));
        }
    }

    #[test]
    fn every_length_is_the_same_function() {
        let x: Vec<f32> = (0..50).map(|i| i as f32 / 8.0 - 3.0).collect();
        for activation in Activation::ALL {
            let mut together = x.clone();
            activate(&mut together, activation);
            for n in 0..x.len() {
                let mut some = x[..n].to_vec();
                activate(&mut some, activation);
                assert_eq!(some, together[..n], "{activation:?}");
            }
        }
    }
}
