//! Functions of floats without branches and calls, and so with the same bits everywhere.

use super::lanes::{Lanes, Vector};

/// Returns e to the power of x for −87 ≤ x ≤ 88, and outside the value at the nearer end.
///
/// The relative error is below 2.4e-7. Cody and Waite's reduction and the polynomial of Cephes'
/// `expf`.
#[inline(always)]
pub(super) fn exp<V: Vector>(x: Lanes<V>) -> Lanes<V> {
    // Adding 1.5 · 2^23 rounds to the nearest integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = polynomial(
        r,
        [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5],
    );
    let p = p * (r * r) + r + 1.0;
    p * shifted.exp2_of_low_bits()
}

/// Hyperbolic tangent, within 5e-7 of the exact value: the rational minimax approximation of
/// Eigen's `tanh` (13/6).
#[inline(always)]
pub(super) fn tanh<V: Vector>(x: Lanes<V>) -> Lanes<V> {
    let x = x.clamp(-7.905_311, 7.905_311);
    let s = x * x;
    let p = polynomial(
        s,
        [
            -2.760_768_5e-16,
            2.000_188e-13,
            -8.604_672e-11,
            5.122_297e-8,
            1.485_722_4e-5,
            6.372_619_3e-4,
            4.893_524_6e-3,
        ],
    );
    let q = polynomial(s, [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3]);
    x * p / q
}

/// Error function, within 5e-7 of the exact value: the rational minimax approximation of Eigen's
/// `erf` (13/8).
#[inline(always)]
pub(super) fn erf<V: Vector>(x: Lanes<V>) -> Lanes<V> {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let p = polynomial(
        s,
        [
            -2.726_142e-10,
            2.770_681_4e-8,
            -2.101_024e-6,
            -5.692_506_4e-5,
            -7.349_906_3e-4,
            -2.954_6e-3,
            -1.609_603_3e-2,
        ],
    );
    let q = polynomial(
        s,
        [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2],
    );
    x * p / q
}

/// Evaluates a polynomial by Horner's rule. The coefficient of the highest power comes first.
#[inline(always)]
fn polynomial<V: Vector, const N: usize>(x: Lanes<V>, coefficients: [f32; N]) -> Lanes<V> {
    let mut sum = Lanes::splat(coefficients[0]);
    for i in 1..N {
        sum = sum * x + coefficients[i];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp(x: f32) -> f32 {
        super::exp(Lanes(x)).0
    }

    fn tanh(x: f32) -> f32 {
        super::tanh(Lanes(x)).0
    }

    fn erf(x: f32) -> f32 {
        super::erf(Lanes(x)).0
    }

    /// Iterates over every `step`-th float in a range of positive floats, and its negation.
    fn floats(from: f32, to: f32, step: usize) -> impl Iterator<Item = f32> {
        (from.to_bits()..=to.to_bits()).step_by(step).map(f32::from_bits).flat_map(|x| [x, -x])
    }

    #[test]
    fn exp_is_within_its_bound() {
        for x in floats(0.0, 88.0, 997).filter(|x| *x >= -87.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e9) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(f32::INFINITY) > 1e38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_within_its_bound() {
        for x in floats(0.0, 1e4, 997) {
            let error = (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
            assert!(error < 5e-7, "tanh({x}) is off by {error}");
        }
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_within_its_bound() {
        for x in floats(0.0, 1e4, 997) {
            let error = (f64::from(erf(x)) - libm::erf(f64::from(x))).abs();
            assert!(error < 5e-7, "erf({x}) is off by {error}");
        }
    }
}
