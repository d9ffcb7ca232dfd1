//! Bias and activation, in place.

use crate::graph::Activation;

/// Adds `bias` to every row of `x` and applies the activation.
///
/// `x` is `[rows, bias.len()]`.
pub fn bias_activation(x: &mut [f32], bias: &[f32], activation: Activation) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, b) in row.iter_mut().zip(bias) {
            *x += b;
        }
        activate(row, activation);
    }
}

/// Applies an activation to every element.
#[inline(always)]
pub fn activate(x: &mut [f32], activation: Activation) {
    match activation {
        Activation::Identity => {}
        Activation::Gelu => {
            for x in x {
                *x = gelu(*x);
            }
        }
        Activation::GeluTanh => x.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
        Activation::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
        Activation::Tanh => x.iter_mut().for_each(|x| *x = libm::tanhf(*x)),
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + libm::tanhf(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))
}

/// The error function, within 5e-7 of the exact one: the rational minimax approximation of
/// Eigen's `erf` (13/8), free of branches so that the compiler vectorizes it.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142e-10;
    for c in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = p * s + c;
    }
    let mut q = -1.456_607_2e-5;
    for c in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        q = q * s + c;
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_is_within_its_bound() {
        for i in -60_000..=60_000 {
            let x = i as f32 / 10_000.0;
            let exact = libm::erf(f64::from(x));
            assert!((f64::from(erf(x)) - exact).abs() < 5e-7, "erf({x}) = {}", erf(x));
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
    fn bias_goes_to_its_column() {
        let mut x = [1.0, -2.0, 3.0, -4.0];
        bias_activation(&mut x, &[0.5, 1.0], Activation::Relu);
        assert_eq!(x, [1.5, 0.0, 3.5, 0.0]);
    }
}
