//! WebAssembly SIMD: `i32x4.dot_i16x8_s` on weights widened to 16 bits. Relaxed SIMD has an int8
//! dot product, which every engine computes exactly because the weights are 0…127.
//!
//! A tile has eight sums. On x86-64, V8 has 15 registers and keeps further sums in memory. It also
//! keeps sums in memory if a tile is inlined into a large function.

use super::driver::{Ahead, Kernel, Sums};
use super::pack::{LANES, Line};
use std::arch::wasm32::*;

/// Registers of a panel.
const QUARTERS: usize = LANES / 4;

type Registers = [v128; QUARTERS];

/// Kernel for any weights: two inputs at a time, widened by every tile.
pub(super) struct Pairs;

/// Kernel like [`Pairs`], with weights that are widened once for all tiles.
pub(super) struct WidePairs;

/// Number of rows from which [`WidePairs`] is faster.
pub(super) const MANY_ROWS: usize = 17;

impl Kernel<1> for Pairs {
    const ROWS: usize = 4;
    type Lanes = Registers;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        _: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        // SAFETY: the caller guarantees it.
        unsafe { pairs::<R, false>(q, starts, block) }
    }
}

impl Kernel<1> for WidePairs {
    const ROWS: usize = 4;
    type Lanes = Registers;

    #[inline(always)]
    fn prepare<'a>(block: &'a [[Line; 1]], room: &'a mut Vec<Line>) -> &'a [[Line; 1]] {
        room.resize(block.len() * 2, Line([0; LANES * 4]));
        for ([line], wide) in block.iter().zip(room.as_chunks_mut::<2>().0) {
            let wide = wide.each_mut().map(|line| line.0.as_chunks_mut::<16>().0);
            let bytes = line.0.as_chunks::<8>().0;
            for (bytes, wide) in bytes.iter().zip(wide.into_iter().flatten()) {
                // SAFETY: 8 bytes are read and 16 written.
                unsafe {
                    v128_store(
                        wide.as_mut_ptr().cast(),
                        i16x8_load_extend_i8x8(bytes.as_ptr().cast()),
                    );
                }
            }
        }
        room.as_chunks().0
    }

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        _: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        // SAFETY: the caller guarantees it.
        unsafe { pairs::<R, true>(q, starts, block) }
    }
}

/// Multiplies a tile by the two halves of a panel, one after the other.
///
/// # Safety
/// Rows must be consecutive, and have a group for every pair of inputs in the block.
#[inline(never)]
unsafe fn pairs<const R: usize, const WIDE: bool>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
) -> Sums<Registers, R, 1> {
    let pairs = q[0].len();
    let mut w = block.as_ptr().cast::<i8>();
    let mut sums = [[[i32x4_splat(0); QUARTERS]]; R];
    for half in 0..2 {
        let mut eight = starts.map(|start| [i32x4_splat(start); 2]);
        let mut x = q[0].as_ptr();
        for _ in 0..pairs {
            // SAFETY: for each half and pair the block has eight outputs, and a row has a group.
            unsafe {
                let weights = if WIDE {
                    let at = w.cast::<v128>();
                    w = w.add(32);
                    [v128_load(at), v128_load(at.add(1))]
                } else {
                    let at = w;
                    w = w.add(16);
                    [i16x8_load_extend_i8x8(at), i16x8_load_extend_i8x8(at.add(8))]
                };
                for r in 0..R {
                    let x = v128_load32_splat(x.add(r * pairs).cast());
                    for i in 0..2 {
                        eight[r][i] = i32x4_add(eight[r][i], i32x4_dot_i16x8(weights[i], x));
                    }
                }
                x = x.add(1);
            }
        }
        for r in 0..R {
            [sums[r][0][half * 2], sums[r][0][half * 2 + 1]] = eight[r];
        }
    }
    sums
}

/// Kernel for weights in −64…63: four inputs at a time.
#[cfg(target_feature = "relaxed-simd")]
pub(super) struct RelaxedBytes;

#[cfg(target_feature = "relaxed-simd")]
impl Kernel<1> for RelaxedBytes {
    const ROWS: usize = 2;
    type Lanes = Registers;

    #[inline(never)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        _: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        let mut sums = starts.map(|start| [[i32x4_splat(start); QUARTERS]]);
        for (step, [line]) in block.iter().enumerate() {
            for (quarter, weights) in line.0.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: `weights` has the 16 bytes that are read.
                let w = unsafe { v128_load(weights.as_ptr().cast()) };
                for r in 0..R {
                    // SAFETY: a row has one group for a line, and rows are consecutive.
                    let x = unsafe {
                        v128_load32_splat(q[0].as_ptr().add(r * block.len() + step).cast())
                    };
                    let sum = &mut sums[r][0][quarter];
                    *sum = i32x4_relaxed_dot_i8x16_i7x16_add(x, w, *sum);
                }
            }
        }
        sums
    }
}
