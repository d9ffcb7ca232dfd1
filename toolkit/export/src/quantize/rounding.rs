//! Rounding that int8 and int4 share.

/// Bytes and their scales: `value ≈ byte · scale`.
#[derive(Debug, PartialEq)]
pub struct Quantized {
    /// Signed bytes, stored by their bits.
    pub values: Vec<u8>,
    /// Factors of the bytes.
    pub scales: Vec<f32>,
}

/// Largest group of columns, at most `most`, that divides each half of `width`.
pub fn group(width: usize, most: usize) -> usize {
    (1..=most).rev().find(|group| (width / 2).is_multiple_of(*group)).unwrap_or(1)
}

/// Scale of numbers up to `maximum`. Numbers that are all zero, or too small to divide by, are
/// stored as zeros.
pub fn scale(maximum: f32, largest: i8) -> f32 {
    let scale = maximum / f32::from(largest);
    if scale > f32::MIN_POSITIVE { scale } else { 1.0 }
}

/// Nearest integer of
/// x
/// < 2²², ties to even: adding 1.5 · 2²³ leaves no bits for a fraction. It works on every
/// processor.
#[inline(always)]
pub fn nearest(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND) - ROUND
}

/// Largest absolute value, compared as integers, which the compiler vectorizes.
#[inline(always)]
pub fn largest(row: &[f32]) -> f32 {
    f32::from_bits(row.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0))
}
