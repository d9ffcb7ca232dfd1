//! AVX-VNNI: `vpdpbusd` on registers of eight lanes. Sums wrap and do not saturate.

use super::avx2::{Registers, halves};
use super::driver::{Ahead, Kernel, Layer, Sums};
use super::pack::Line;
use std::arch::x86_64::*;

/// Computes the layer, compiled for AVX2 with VNNI.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn bytes(layer: Layer) {
    layer.run::<Bytes, 1>();
}

struct Bytes;

impl Kernel<1> for Bytes {
    /// 6 · 2 sums, 2 weights and an input fill 15 of the 16 registers.
    const ROWS: usize = 6;
    type Lanes = Registers;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        ahead: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        // SAFETY: the caller guarantees that the processor has the instructions.
        unsafe { tile(q, starts, block, ahead) }
    }
}

#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn tile<const R: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
    ahead: Ahead<1>,
) -> Sums<Registers, R, 1> {
    // Slices of equal length need no bounds check in each step.
    let q = q.map(|q| &q[..block.len()]);
    let mut sums = starts.map(|start| [[_mm256_set1_epi32(start); 2]]);
    for (step, [line]) in block.iter().enumerate() {
        ahead.step(step);
        let [low, high] = halves(line);
        for r in 0..R {
            let x = _mm256_set1_epi32(i32::from_ne_bytes(q[r][step]));
            sums[r][0][0] = _mm256_dpbusd_avx_epi32(sums[r][0][0], low, x);
            sums[r][0][1] = _mm256_dpbusd_avx_epi32(sums[r][0][1], high, x);
        }
    }
    sums
}
