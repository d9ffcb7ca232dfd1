//! AVX-512 VNNI: `vpdpbusd` multiplies four unsigned weights by four signed inputs in each of 16
//! lanes and adds the products to 32 bits. Sums wrap and do not saturate.

use super::driver::{Ahead, Kernel, Layer, Sums};
use super::pack::Line;
use std::arch::x86_64::*;

/// Computes the layer, compiled for AVX-512 VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn bytes(layer: Layer) {
    layer.run::<Bytes, 4>();
}

struct Bytes;

impl Kernel<4> for Bytes {
    /// 6 · 4 sums, 4 weights and an input fill 29 of the 32 registers.
    const ROWS: usize = 6;
    type Lanes = __m512;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 4]],
        ahead: Ahead<4>,
    ) -> Sums<__m512, R, 4> {
        // SAFETY: the caller guarantees that the processor has the instructions.
        unsafe { tile(q, starts, block, ahead) }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn tile<const R: usize, const P: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; P]],
    ahead: Ahead<P>,
) -> Sums<__m512, R, P> {
    // Slices of equal length need no bounds check in each step.
    let mut rows = q;
    let mut sums = [[_mm512_setzero_si512(); P]; R];
    for r in 0..R {
        rows[r] = &q[r][..block.len()];
        sums[r] = [_mm512_set1_epi32(starts[r]); P];
    }
    for (step, lines) in block.iter().enumerate() {
        ahead.step(step);
        let mut w = [_mm512_setzero_si512(); P];
        for p in 0..P {
            // SAFETY: a line is 64 bytes at an address that is a multiple of 64.
            w[p] = unsafe { _mm512_load_si512(lines[p].0.as_ptr().cast()) };
        }
        for r in 0..R {
            let x = _mm512_set1_epi32(i32::from_ne_bytes(rows[r][step]));
            for p in 0..P {
                sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], w[p], x);
            }
        }
    }
    sums
}
