//! A tile with AVX2: `vpmaddwd` on weights widened to 16 bits. Exact for all bytes.

use super::{LANES, ROWS, Tile};
use std::arch::x86_64::*;

/// The sums of rows of `q` by one panel of weights.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn tile(q: [&[i16]; ROWS], panel: &[i8]) -> Tile {
    let mut sums = [_mm256_setzero_si256(); ROWS];
    let q = q.map(|q| q.as_chunks::<2>().0);
    let weights = panel.as_chunks::<{ LANES * 2 }>().0;
    // Shortening all to one length spares a bounds check in each step.
    let q = q.map(|q| &q[..weights.len()]);
    for (pair, weights) in weights.iter().enumerate() {
        // SAFETY: `weights` holds the 16 bytes that are read.
        let w = unsafe { _mm_loadu_si128(weights.as_ptr().cast()) };
        let w = _mm256_cvtepi8_epi16(w);
        for (sum, q) in sums.iter_mut().zip(q) {
            let [first, second] = q[pair];
            let both = i32::from(first as u16) | (i32::from(second) << 16);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(w, _mm256_set1_epi32(both)));
        }
    }
    sums.map(|sum| {
        let mut lanes = [0i32; LANES];
        // SAFETY: `lanes` holds the 32 bytes that are written.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes
    })
}
