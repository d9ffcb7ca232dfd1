//! Quantization of rows of floats to int8, grouped as the kernels read them.

use super::pack::{Format, Line};

/// Quantized rows.
#[derive(Default, Debug)]
pub(super) struct Quantized {
    /// Memory of the groups, aligned to cache lines.
    lines: Vec<Line>,
    /// Number of groups.
    length: usize,
    pub(super) rows: Vec<Row>,
}

impl Quantized {
    /// `[rows][groups]`: four inputs as bytes, or in a wide [`Format`] two as 16 bits.
    #[inline(always)]
    pub(super) fn groups(&self) -> &[[u8; 4]] {
        // SAFETY: lines are bytes without padding, and contain at least `length` groups.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    /// Makes room for `length` groups. Old groups keep their contents, new groups are zero.
    #[inline(always)]
    fn resize(&mut self, length: usize) -> &mut [[u8; 4]] {
        const EMPTY: Line = Line([0; size_of::<Line>()]);
        self.lines.resize(length.div_ceil(size_of::<Line>() / 4), EMPTY);
        self.length = length;
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), length) }
    }
}

/// Scale and start value of a row.
#[derive(Default, Debug, Clone, Copy)]
pub(super) struct Row {
    /// `max|x| / 127`.
    pub(super) scale: f32,
    /// Start value of the row's sums: it undoes the zero point of the weights.
    pub(super) start: i32,
}

/// Quantizes every row: `q = round(x · 127 / max|x|)`, ties to even. A row of zeros stays zero.
#[inline(always)]
pub(super) fn quantize(x: &[f32], inputs: usize, format: Format, to: &mut Quantized) {
    let rows = x.len() / inputs;
    let width = format.groups(inputs);
    // Old contents are overwritten, except for the padding.
    if !inputs.is_multiple_of(4) {
        to.lines.clear();
    }
    let mut of_rows = std::mem::take(&mut to.rows);
    of_rows.clear();
    for (x, groups) in x.chunks_exact(inputs).zip(to.resize(rows * width).chunks_exact_mut(width)) {
        let largest = largest(x);
        let inverse = 127.0 / largest.max(1e-30);
        let groups = groups.as_flattened_mut();
        let mut sum = 0i32;
        if format.wide {
            for (q, x) in groups.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                *q = (round(x * inverse) as i8 as i16).to_ne_bytes();
            }
        } else {
            for (q, x) in groups.iter_mut().zip(x) {
                let value = round(x * inverse) as i8;
                sum += i32::from(value);
                *q = value as u8;
            }
        }
        of_rows.push(Row {
            scale: largest * (1.0 / 127.0),
            start: -i32::from(format.packing.zero_point) * sum,
        });
    }
    to.rows = of_rows;
}

/// Returns the largest absolute value; a NaN if there is one.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    // Bits of absolute values have the same order as integers, which the compiler vectorizes.
    f32::from_bits(x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0))
}

/// Rounds |x| < 2²² to an integer, ties to even. Adding 1.5 · 2²³ leaves no bits for a fraction, so
/// the addition rounds. The low bits contain the integer.
#[inline(always)]
fn round(x: f32) -> u32 {
    (x + 12_582_912.0).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::isa::Isa;

    const BYTES: Format = Format { packing: Isa::Avx2.packing(true), wide: false, halves: false };

    #[test]
    fn quantized_rows_reach_but_never_pass_127() {
        let mut to = Quantized::default();
        quantize(&[-3.0, 1.5, 0.0, 2.999_999_8, 1e-3], 5, BYTES, &mut to);
        let bytes: Vec<i8> = to.groups().as_flattened().iter().map(|q| *q as i8).collect();
        assert_eq!(bytes, [-127, 64, 0, 127, 0, 0, 0, 0]);
        assert_eq!((to.rows[0].scale, to.rows[0].start), (3.0 / 127.0, -64 * 64));
    }

    #[test]
    fn padding_is_zero_after_a_longer_row() {
        let mut to = Quantized::default();
        quantize(&[1.0; 8], 8, BYTES, &mut to);
        quantize(&[-1.0; 5], 5, BYTES, &mut to);
        assert_eq!(to.groups(), [[129; 4], [129, 0, 0, 0]]);
        let pairs = Format { packing: Isa::Avx2.packing(false), wide: true, halves: false };
        quantize(&[1.0, -0.5, 0.0], 3, pairs, &mut to);
        let values: Vec<i16> = to
            .groups()
            .as_flattened()
            .as_chunks()
            .0
            .iter()
            .map(|q| i16::from_ne_bytes(*q))
            .collect();
        assert_eq!(values, [127, -64, 0, 0]);
    }

    #[test]
    fn ties_go_to_even() {
        for i in -254..=254 {
            let x = i as f32 / 2.0;
            assert_eq!(round(x) as i8, x.round_ties_even() as i8, "{x}");
        }
    }

    #[test]
    fn a_nan_is_the_largest() {
        assert!(largest(&[1.0, f32::NAN, f32::INFINITY]).is_nan());
        assert_eq!(largest(&[1.0, -2.0]), 2.0);
        assert_eq!(largest(&[]), 0.0);
    }
}
