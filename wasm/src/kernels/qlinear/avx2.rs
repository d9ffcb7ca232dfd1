//! AVX2, which has no int8 dot product. `vpmaddubsw` adds two products in 16 bits where weights
//! are so narrow that it cannot saturate. Otherwise `vpmaddwd` multiplies weights widened to 16
//! bits.

use super::driver::{Ahead, Kernel, Layer, Sums};
use super::pack::Line;
use std::arch::x86_64::*;

/// Outputs of a panel.
pub(super) type Registers = [__m256; 2];

/// Computes the layer for weights in −64…63, compiled for AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn bytes(layer: Layer) {
    layer.run::<Bytes, 1>();
}

/// Computes the layer for all weights, compiled for AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn pairs(layer: Layer) {
    layer.run::<Pairs, 1>();
}

struct Bytes;

impl Kernel<1> for Bytes {
    /// 5 · 2 sums, 2 weights, an input, ones and a product fill 15 of the 16 registers.
    const ROWS: usize = 5;
    type Lanes = Registers;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        ahead: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        // SAFETY: the caller guarantees that the processor has AVX2.
        unsafe { tile_of_bytes(q, starts, block, ahead) }
    }
}

struct Pairs;

impl Kernel<1> for Pairs {
    /// 6 · 2 sums, 2 weights, an input and a product fill the 16 registers.
    const ROWS: usize = 6;
    type Lanes = Registers;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        ahead: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        // SAFETY: the caller guarantees that the processor has AVX2.
        unsafe { tile_of_pairs(q, starts, block, ahead) }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn tile_of_bytes<const R: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
    ahead: Ahead<1>,
) -> Sums<Registers, R, 1> {
    // Slices of equal length need no bounds check in each step.
    let q = q.map(|q| &q[..block.len()]);
    let ones = _mm256_set1_epi16(1);
    let mut sums = starts.map(|start| [[_mm256_set1_epi32(start); 2]]);
    for (step, [line]) in block.iter().enumerate() {
        ahead.step(step);
        let weights = halves(line);
        for r in 0..R {
            let x = _mm256_set1_epi32(i32::from_ne_bytes(q[r][step]));
            for h in 0..2 {
                let products = _mm256_madd_epi16(_mm256_maddubs_epi16(weights[h], x), ones);
                sums[r][0][h] = _mm256_add_epi32(sums[r][0][h], products);
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2")]
#[inline]
fn tile_of_pairs<const R: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
    ahead: Ahead<1>,
) -> Sums<Registers, R, 1> {
    // Slices of equal length need no bounds check in each step.
    let q = q.map(|q| &q.as_chunks::<2>().0[..block.len()]);
    let mut sums = starts.map(|start| [[_mm256_set1_epi32(start); 2]]);
    for (step, [line]) in block.iter().enumerate() {
        ahead.step(step);
        let halves = halves(line);
        for pair in 0..2 {
            let low = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(halves[pair]));
            let high = _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(halves[pair]));
            for r in 0..R {
                let x = _mm256_set1_epi32(i32::from_ne_bytes(q[r][step][pair]));
                sums[r][0][0] = _mm256_add_epi32(sums[r][0][0], _mm256_madd_epi16(low, x));
                sums[r][0][1] = _mm256_add_epi32(sums[r][0][1], _mm256_madd_epi16(high, x));
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn halves(line: &Line) -> [__m256i; 2] {
    let at = line.0.as_ptr();
    // SAFETY: a line is 64 bytes at an address that is a multiple of 64.
    unsafe { [_mm256_load_si256(at.cast()), _mm256_load_si256(at.add(32).cast())] }
}
