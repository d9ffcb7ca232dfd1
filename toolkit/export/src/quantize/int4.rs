//! Weights of 4 bits that are multiplied as signed bytes.
//!
//! The method is two-level quantization (Dai et al. 2021, "VS-Quant: Per-Vector Scaled Quantization
//! for Accurate Low-Precision Neural Network Inference"). An output has a scale, as in int8. Each
//! [`group`] of its inputs shares an integer multiplier, and a weight is a code of −7…7. The
//! product of code and multiplier is the int8 weight. Every int8 kernel therefore multiplies these
//! weights exactly.

use super::WeightBits;
use super::rounding::{self, Quantized, largest, nearest, scale};
use multiversion::multiversion;

/// Maximum number of inputs that share a multiplier.
pub const GROUP: usize = 32;
/// Largest code.
const CODE: u8 = 7;

/// Largest multiplier: 9, so that products are weights of 7 bits, or the largest of 4 bits.
fn most(bits: WeightBits) -> u8 {
    (bits.largest() as u8 / CODE).min(15)
}

/// Number of inputs that share a multiplier, for an even number of inputs.
pub fn group(inputs: usize) -> usize {
    rounding::group(inputs, GROUP)
}

/// Rounds the weights of an output to products of codes and multipliers, and returns the scale. The
/// products are stored in `integers` as floats, with the multiplier of every [`group`]. The scale
/// is that of the largest weight. For this scale, multipliers and codes have the least squared
/// error.
///
/// # Panics
/// If the lengths do not fit.
pub fn round_row(
    row: &[f32],
    bits: WeightBits,
    integers: &mut [f32],
    multipliers: &mut [u8],
) -> f32 {
    let group = group(row.len());
    assert_eq!((row.len(), multipliers.len() * group), (integers.len(), row.len()));
    round_groups(row, group, most(bits), integers, multipliers)
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn round_groups(
    row: &[f32],
    group: usize,
    most: u8,
    integers: &mut [f32],
    multipliers: &mut [u8],
) -> f32 {
    let scale = scale(largest(row), (CODE * most) as i8);
    integers.iter_mut().zip(row).for_each(|(v, w)| *v = w / scale);
    for (values, multiplier) in integers.chunks_exact_mut(group).zip(multipliers) {
        let mut best = (f32::INFINITY, 1);
        for m in 1..=most {
            let error = squared_error(values, f32::from(m));
            if error < best.0 {
                best = (error, m);
            }
        }
        let m = f32::from(best.1);
        values.iter_mut().for_each(|v| *v = code(*v, 1.0 / m) * m);
        *multiplier = best.1;
    }
    scale
}

#[inline(always)]
fn code(value: f32, inverse: f32) -> f32 {
    nearest(value * inverse).clamp(-f32::from(CODE), f32::from(CODE))
}

/// Squared error, summed in eight parts, in the same order for every instruction set.
#[inline(always)]
fn squared_error(values: &[f32], m: f32) -> f32 {
    let inverse = 1.0 / m;
    let error = |v: f32| {
        let off = v - code(v, inverse) * m;
        off * off
    };
    let (whole, rest) = values.as_chunks::<8>();
    let mut sums = [0.0f32; 8];
    for values in whole {
        sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += error(*v));
    }
    sums.iter().sum::<f32>() + rest.iter().map(|v| error(*v)).sum::<f32>()
}

/// Weights of a linear layer, in the layout of the runtime's `Q4Linear`.
pub struct Halves {
    /// Two codes per byte, `[inputs / 2, outputs]`.
    pub codes: Vec<u8>,
    /// Two multipliers per byte, `[multipliers.len() / outputs, outputs]`.
    pub multipliers: Vec<u8>,
    /// Products as int8 weights, `[inputs, outputs]`, and their scales.
    pub expanded: Quantized,
}

/// Rounds `[inputs, outputs]` with an even number of inputs.
pub fn halves(weight: &[f32], outputs: usize, bits: WeightBits) -> Halves {
    let inputs = weight.len() / outputs;
    let group = group(inputs);
    let half = inputs / 2;
    let mut codes = vec![0; half * outputs];
    let mut packed = vec![0; half / group * outputs];
    let mut expanded = Quantized { values: vec![0; weight.len()], scales: Vec::new() };
    let mut row = vec![0.0; inputs];
    let (mut integers, mut multipliers) = (vec![0.0; inputs], vec![0; inputs / group]);
    for o in 0..outputs {
        row.iter_mut().zip(weight[o..].iter().step_by(outputs)).for_each(|(to, w)| *to = *w);
        expanded.scales.push(round_row(&row, bits, &mut integers, &mut multipliers));
        for (k, integer) in integers.iter().enumerate() {
            let integer = *integer as i8;
            let code = integer / multipliers[k / group] as i8 + 8;
            codes[k % half * outputs + o] |= (code as u8) << if k < half { 0 } else { 4 };
            expanded.values[k * outputs + o] = integer as u8;
        }
        for (g, multiplier) in multipliers.iter().enumerate() {
            let groups = half / group;
            packed[g % groups * outputs + o] |= multiplier << if g < groups { 0 } else { 4 };
        }
    }
    Halves { codes, multipliers: packed, expanded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normals;

    /// Least squared error over all multipliers and codes, by exhaustive search, in units of the
    /// scale.
    fn least(values: &[f64], most: u8) -> f64 {
        let nearest = |v: f64, m: f64| {
            let off = |code: i32| (v - f64::from(code) * m).powi(2);
            (-7..=7).map(off).fold(f64::INFINITY, f64::min)
        };
        let error = |m: u8| values.iter().map(|v| nearest(*v, f64::from(m))).sum::<f64>();
        (1..=most).map(error).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_other_multiplier_or_code_is_nearer() {
        for (inputs, bits, most) in [
            (2, WeightBits::Seven, 9),
            (64, WeightBits::Seven, 9),
            (64, WeightBits::Eight, 15),
            (76, WeightBits::Seven, 9),
            (384, WeightBits::Eight, 15),
        ] {
            for outlier in [1.0, 12.0] {
                let mut row: Vec<f32> = normals(11, inputs);
                row[0] *= outlier;
                let group = group(inputs);
                let (mut integers, mut multipliers) = (vec![0.0; inputs], vec![0; inputs / group]);
                let scale = round_row(&row, bits, &mut integers, &mut multipliers);
                for (i, (values, m)) in row.chunks_exact(group).zip(&multipliers).enumerate() {
                    let values: Vec<f64> = values.iter().map(|v| f64::from(*v / scale)).collect();
                    let integers = &integers[i * group..][..group];
                    let off = |(v, q): (&f64, &f32)| (v - f64::from(*q)).powi(2);
                    let error: f64 = values.iter().zip(integers).map(off).sum();
                    assert!(error <= least(&values, most) * (1.0 + 1e-5) + 1e-9);
                    for q in integers {
                        assert_eq!(q % f32::from(*m), 0.0);
                        assert!((q / f32::from(*m)).abs() <= 7.0 && (1..=most).contains(m));
                    }
                }
            }
        }
    }

    #[test]
    fn products_stay_in_the_range_of_the_weights() {
        for bits in [WeightBits::Seven, WeightBits::Eight] {
            assert!(i32::from(CODE * most(bits)) <= i32::from(bits.largest()));
        }
    }

    #[test]
    fn what_lies_on_the_grid_stays() {
        let row = [63.0, -9.0, 0.0, 27.0, 5.0, -35.0, 20.0, 10.0];
        let (mut integers, mut multipliers) = ([0.0; 8], [0; 2]);
        assert_eq!(round_row(&row, WeightBits::Seven, &mut integers, &mut multipliers), 1.0);
        assert_eq!((integers, multipliers), (row, [9, 5]));
        let zeros = round_row(&[0.0; 8], WeightBits::Seven, &mut integers, &mut multipliers);
        assert_eq!((zeros, integers, multipliers), (1.0, [0.0; 8], [1, 1]));
    }

    #[test]
    fn halves_of_a_byte_are_halves_of_the_inputs() {
        // Two outputs of four inputs; a multiplier for two inputs.
        let w = [63.0, 5.0, -9.0, -35.0, 20.0, 63.0, 10.0, 0.0];
        let halves = halves(&w, 2, WeightBits::Seven);
        let values: Vec<i8> = halves.expanded.values.iter().map(|v| *v as i8).collect();
        assert_eq!(values, [63, 5, -9, -35, 20, 63, 10, 0]);
        assert_eq!(halves.expanded.scales, [1.0, 1.0]);
        assert_eq!(halves.multipliers, [0x59, 0x95]);
        assert_eq!(halves.codes, [0xcf, 0xf9, 0xa7, 0x81]);
    }
}
