//! Rounding that int8 and int4 share.

/// Bytes and their scales: `value ≈ byte · scale`.
#[derive(Debug, PartialEq)]
pub struct Quantized {
    /// Bytes, signed ones by their bits.
    pub values: Vec<u8>,
    /// Factors of the bytes.
    pub scales: Vec<f32>,
}

/// The most columns, at most `most`, of which halves of `width` consist.
pub fn group(width: usize, most: usize) -> usize {
    (1..=most).rev().find(|group| (width / 2).is_multiple_of(*group)).unwrap_or(1)
}

/// The scale of numbers up to `maximum`. Those that are all zero, or too small to divide by, are stored as
/// zeros.
pub fn scale(maximum: f32, largest: i8) -> f32 {
    let scale = maximum / f32::from(largest);
    if scale > f32::MIN_POSITIVE { scale } else { 1.0 }
}

/// The nearest integer of |x| < 2²², ties to even: adding 1.5 · 2²³ leaves no bits for a fraction. It needs no
/// instruction that a processor may lack.
#[inline(always)]
pub fn nearest(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND) - ROUND
}

/// The largest absolute value; as integers these are in order too, which the compiler vectorizes.
#[inline(always)]
pub fn largest(row: &[f32]) -> f32 {
    f32::from_bits(row.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0))
}
