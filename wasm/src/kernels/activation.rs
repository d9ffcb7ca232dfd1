//! Activations, in place.

use super::isa::{Isa, compiled};
use super::lanes::{LANES, Lanes, TOGETHER, Vector, update};
use super::math;
use crate::graph::Activation;

/// Applies an activation to every element.
pub fn activate(isa: Isa, x: &mut [f32], activation: Activation) {
    compiled!(isa, activated(x: &mut [f32], activation: Activation));
}

/// The error function, within 5e-7 of the exact one.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    math::erf(Lanes(x)).0
}

/// Body of [`activate`], compiled for its caller.
#[inline(always)]
pub(super) fn activated<V: Vector>(x: &mut [f32], activation: Activation) {
    if activation == Activation::Identity {
        return;
    }
    let mut rest = x;
    if V::REGISTERS >= 32 {
        let (together, few) = rest.as_chunks_mut::<{ TOGETHER * LANES }>();
        for x in together {
            applied(Lanes::<[V; TOGETHER]>::load(x), activation).store(x);
        }
        rest = few;
    }
    update::<V, 0>(
        rest,
        [],
        #[inline(always)]
        |x, []| applied(x, activation),
    );
}

#[inline(always)]
fn applied<V: Vector>(x: Lanes<V>, activation: Activation) -> Lanes<V> {
    match activation {
        Activation::Identity => x,
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => Lanes::splat(0.0).max(x),
        Activation::Tanh => math::tanh(x),
    }
}

/// GELU, within 1.5e-6 of the exact function.
#[inline(always)]
fn gelu<V: Vector>(x: Lanes<V>) -> Lanes<V> {
    x * 0.5 * (math::erf(x * std::f32::consts::FRAC_1_SQRT_2) + 1.0)
}

#[inline(always)]
fn gelu_tanh<V: Vector>(x: Lanes<V>) -> Lanes<V> {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    x * 0.5 * (math::tanh((x + x * 0.044715 * x * x) * SQRT_2_OVER_PI) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, same_everywhere};

    fn gelu(x: f32) -> f32 {
        super::gelu(Lanes(x)).0
    }

    fn gelu_tanh(x: f32) -> f32 {
        super::gelu_tanh(Lanes(x)).0
    }

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
        let x: Vec<f32> = floats(50, 1).iter().map(|x| x * 4.0).collect();
        for activation in Activation::ALL {
            let of = |x: &[f32]| {
                same_everywhere(x.len(), |isa, out| {
                    out.copy_from_slice(x);
                    activate(isa, out, activation);
                })
            };
            let together = of(&x);
            for n in 0..x.len() {
                assert_eq!(of(&x[..n]), together[..n], "{activation:?}");
            }
        }
    }

    #[test]
    fn special_floats_are_the_same_everywhere() {
        let special = [0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY];
        for activation in Activation::ALL {
            let out = same_everywhere(16, |isa, out| {
                out.copy_from_slice([special, special].as_flattened());
                activate(isa, out, activation);
            });
            assert!(out[..7].iter().all(|x| !x.is_nan()), "{activation:?}: {out:?}");
            for isa in Isa::available() {
                let mut nans = [f32::NAN; 17];
                activate(isa, &mut nans, activation);
                assert!(nans.iter().all(|x| x.is_nan()), "{activation:?} by {isa:?}");
            }
        }
    }
}
