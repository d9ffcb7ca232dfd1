//! AArch64: the dot product of bytes `sdot`, or where the processor lacks it two products added in
//! 16 bits, which even the widest weights cannot overflow, and pairs of those added in 32.

use super::{Ahead, Kernel, LANES, Layer, Line, Sums};
use std::arch::aarch64::*;
use std::arch::asm;

/// Registers of a panel.
const QUARTERS: usize = LANES / 4;

/// The layer, compiled for NEON with dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn dot(layer: Layer) {
    layer.run::<Dot, 1>();
}

struct Dot;

impl Kernel<1> for Dot {
    /// 5 · 4 sums, 5 inputs and 4 weights fill the 32 registers but three.
    const ROWS: usize = 5;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        _: Ahead,
    ) -> Sums<R, 1> {
        // SAFETY: the caller's, that the processor has the instructions.
        unsafe { tile_of_dots(q, starts, block) }
    }
}

/// For all processors: two inputs of eight outputs are a register.
pub(super) struct Pairs;

impl Kernel<1> for Pairs {
    /// 5 · 4 sums, 4 weights and 2 inputs leave 6 of the 32 registers to products.
    const ROWS: usize = 5;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        _: Ahead,
    ) -> Sums<R, 1> {
        // SAFETY: the caller's, that the processor has the instructions.
        unsafe { tile_of_pairs(q, starts, block) }
    }
}

#[target_feature(enable = "neon,dotprod")]
#[inline]
fn tile_of_dots<const R: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
) -> Sums<R, 1> {
    // Shortening all to one length spares a bounds check in each step.
    let q = q.map(|q| q[..block.len()].as_chunks::<4>());
    let mut sums = starts.map(|start| [vdupq_n_s32(start); QUARTERS]);
    // Four steps of a row's inputs are a register, of which a lane is multiplied.
    let (fours, rest) = block.as_chunks::<4>();
    for (four, lines) in fours.iter().enumerate() {
        let mut x = [vdupq_n_s8(0); R];
        for r in 0..R {
            // SAFETY: 16 bytes are read.
            x[r] = unsafe { vld1q_s8(q[r].0[four].as_ptr().cast()) };
        }
        step::<0, R>(&mut sums, &lines[0][0], x);
        step::<1, R>(&mut sums, &lines[1][0], x);
        step::<2, R>(&mut sums, &lines[2][0], x);
        step::<3, R>(&mut sums, &lines[3][0], x);
    }
    for (i, [line]) in rest.iter().enumerate() {
        let mut x = [vdupq_n_s8(0); R];
        for r in 0..R {
            x[r] = vreinterpretq_s8_s32(vdupq_n_s32(i32::from_ne_bytes(q[r].1[i])));
        }
        step::<0, R>(&mut sums, line, x);
    }
    lanes(sums)
}

/// Adds a line times a lane of the inputs.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn step<const LANE: i32, const R: usize>(
    sums: &mut [[int32x4_t; QUARTERS]; R],
    line: &Line,
    x: [int8x16_t; R],
) {
    let weights = quarters(line);
    for r in 0..R {
        for i in 0..QUARTERS {
            // The compiler has no stable name for this instruction.
            // SAFETY: it works on registers alone, and the processor has it.
            unsafe {
                asm!(
                    "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
                    sum = inout(vreg) sums[r][i],
                    w = in(vreg) weights[i],
                    x = in(vreg) x[r],
                    lane = const LANE,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn tile_of_pairs<const R: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
) -> Sums<R, 1> {
    // Shortening all to one length spares a bounds check in each step.
    let q = q.map(|q| &q[..block.len()]);
    let mut sums = starts.map(|start| [vdupq_n_s32(start); QUARTERS]);
    for (step, [line]) in block.iter().enumerate() {
        // Eight outputs by the inputs 0 and 1, the other eight; both by the inputs 2 and 3.
        let [w0, w1, w2, w3] = quarters(line);
        for r in 0..R {
            let x = q[r][step].as_ptr().cast::<i16>();
            // SAFETY: of four bytes two are read, then the other two.
            let pairs = unsafe { [vld1q_dup_s16(x), vld1q_dup_s16(x.add(1))] };
            let [x, y] = [vreinterpretq_s8_s16(pairs[0]), vreinterpretq_s8_s16(pairs[1])];
            for (half, (w, v)) in [(w0, w2), (w1, w3)].into_iter().enumerate() {
                // At most 2 · 127 · 128 = 32512: inputs are never −128.
                let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
                let low = vmlal_s8(low, vget_low_s8(v), vget_low_s8(y));
                let high = vmlal_high_s8(vmull_high_s8(w, x), v, y);
                let [a, b] = &mut sums[r].as_chunks_mut::<2>().0[half];
                *a = vpadalq_s16(*a, low);
                *b = vpadalq_s16(*b, high);
            }
        }
    }
    lanes(sums)
}

#[target_feature(enable = "neon")]
#[inline]
fn quarters(line: &Line) -> [int8x16_t; QUARTERS] {
    let at = line.0.as_ptr().cast();
    // SAFETY: a line is 64 bytes.
    unsafe { [vld1q_s8(at), vld1q_s8(at.add(16)), vld1q_s8(at.add(32)), vld1q_s8(at.add(48))] }
}

#[target_feature(enable = "neon")]
#[inline]
fn lanes<const R: usize>(sums: [[int32x4_t; QUARTERS]; R]) -> Sums<R, 1> {
    let mut lanes = [[[0i32; LANES]; 1]; R];
    for r in 0..R {
        for (lanes, sum) in lanes[r][0].as_chunks_mut::<4>().0.iter_mut().zip(sums[r]) {
            // SAFETY: `lanes` holds the 16 bytes that are written.
            unsafe { vst1q_s32(lanes.as_mut_ptr(), sum) };
        }
    }
    lanes
}
