//! A tile with WebAssembly SIMD: `i32x4.dot_i16x8_s` on weights widened to 16 bits. Exact for all
//! bytes.

use super::{LANES, ROWS, Tile};
use std::arch::wasm32::*;

/// The sums of rows of `q` by one panel of weights.
#[inline(always)]
pub(super) fn tile(q: [&[i16]; ROWS], panel: &[i8]) -> Tile {
    let mut sums = [[i32x4_splat(0); 2]; ROWS];
    let weights = panel.as_chunks::<{ LANES * 2 }>().0;
    // Shortening all to one length spares a bounds check in each step.
    let q = q.map(|q| &q.as_chunks::<2>().0[..weights.len()]);
    for (pair, weights) in weights.iter().enumerate() {
        // SAFETY: `weights` holds the 16 bytes that are read.
        let w = unsafe { v128_load(weights.as_ptr().cast()) };
        let (low, high) = (i16x8_extend_low_i8x16(w), i16x8_extend_high_i8x16(w));
        for (sum, q) in sums.iter_mut().zip(q) {
            let [first, second] = q[pair];
            let both = i32x4_splat(i32::from(first as u16) | (i32::from(second) << 16));
            sum[0] = i32x4_add(sum[0], i32x4_dot_i16x8(low, both));
            sum[1] = i32x4_add(sum[1], i32x4_dot_i16x8(high, both));
        }
    }
    sums.map(|[low, high]| {
        let mut lanes = [0i32; LANES];
        // SAFETY: `lanes` holds the 32 bytes that are written.
        unsafe {
            v128_store(lanes.as_mut_ptr().cast(), low);
            v128_store(lanes.as_mut_ptr().add(4).cast(), high);
        }
        lanes
    })
}
