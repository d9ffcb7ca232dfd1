//! WebAssembly SIMD: `i32x4.dot_i16x8_s` on weights widened to 16 bits; with relaxed SIMD a dot
//! product of bytes, which every engine computes exactly because the weights are 0…127.

use super::{Kernel, LANES, Line, Sums};
use std::arch::wasm32::*;

/// Registers of a panel.
const QUARTERS: usize = LANES / 4;

/// Any weights, two inputs at a time.
pub(super) struct Pairs;

impl Kernel<1> for Pairs {
    /// 3 · 4 sums, a weight, an input and a product fit the 16 registers that x86-64 has.
    const ROWS: usize = 3;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
    ) -> Sums<R, 1> {
        // Shortening all to one length spares a bounds check in each step.
        let q = q.map(|q| &q.as_chunks::<2>().0[..block.len()]);
        let mut sums = starts.map(|start| [i32x4_splat(start); QUARTERS]);
        for (step, [line]) in block.iter().enumerate() {
            for (pair, weights) in line.0.as_chunks::<{ LANES * 2 }>().0.iter().enumerate() {
                for (quarter, weights) in weights.as_chunks::<8>().0.iter().enumerate() {
                    // SAFETY: `weights` holds the 8 bytes that are read.
                    let w = unsafe { i16x8_load_extend_i8x8(weights.as_ptr().cast()) };
                    for r in 0..R {
                        let x = i32x4_splat(i32::from_le_bytes(q[r][step][pair]));
                        sums[r][quarter] = i32x4_add(sums[r][quarter], i32x4_dot_i16x8(w, x));
                    }
                }
            }
        }
        lanes(sums)
    }
}

/// Weights in −64…63, four inputs at a time.
#[cfg(target_feature = "relaxed-simd")]
pub(super) struct RelaxedBytes;

#[cfg(target_feature = "relaxed-simd")]
impl Kernel<1> for RelaxedBytes {
    /// 2 · 4 sums, 4 weights and an input fit the 16 registers that x86-64 has.
    const ROWS: usize = 2;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
    ) -> Sums<R, 1> {
        // Shortening all to one length spares a bounds check in each step.
        let q = q.map(|q| &q[..block.len()]);
        let mut sums = starts.map(|start| [i32x4_splat(start); QUARTERS]);
        for (step, [line]) in block.iter().enumerate() {
            for (quarter, weights) in line.0.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: `weights` holds the 16 bytes that are read.
                let w = unsafe { v128_load(weights.as_ptr().cast()) };
                for r in 0..R {
                    let x = i32x4_splat(i32::from_le_bytes(q[r][step]));
                    let sum = &mut sums[r][quarter];
                    *sum = i32x4_relaxed_dot_i8x16_i7x16_add(x, w, *sum);
                }
            }
        }
        lanes(sums)
    }
}

#[inline(always)]
fn lanes<const R: usize>(sums: [[v128; QUARTERS]; R]) -> Sums<R, 1> {
    let mut lanes = [[[0i32; LANES]; 1]; R];
    for r in 0..R {
        for (lanes, sum) in lanes[r][0].as_chunks_mut::<4>().0.iter_mut().zip(sums[r]) {
            // SAFETY: `lanes` holds the 16 bytes that are written.
            unsafe { v128_store(lanes.as_mut_ptr().cast(), sum) };
        }
    }
    lanes
}
