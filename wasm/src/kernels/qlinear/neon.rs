//! AArch64: the int8 dot product `sdot`. On processors without it, two products are added in 16
//! bits, and pairs of these sums in 32 bits. Even the widest weights cannot overflow 16 bits.

use super::driver::{Ahead, Kernel, Layer, Sums};
use super::pack::{LANES, Line};
use std::arch::aarch64::*;
use std::arch::asm;

/// Registers of a panel.
const QUARTERS: usize = LANES / 4;

type Registers = [float32x4_t; QUARTERS];

/// Computes the layer, compiled for NEON with dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn dot(layer: Layer) {
    layer.run::<Dot, 1>();
}

struct Dot;

impl Kernel<1> for Dot {
    /// 5 · 4 sums, 5 inputs and 4 weights fill 29 of the 32 registers.
    const ROWS: usize = 5;
    type Lanes = Registers;

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        _: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        // SAFETY: the caller guarantees it.
        unsafe { tile_of_dots(q, starts, block) }
    }
}

/// Kernel for all processors: a register contains two inputs of eight outputs.
pub(super) struct Pairs;

impl Kernel<1> for Pairs {
    /// 4 · 4 sums, 4 weights and 2 inputs leave 10 of the 32 registers to products in flight.
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
        unsafe { tile_of_pairs(q, starts, block) }
    }
}

/// # Safety
/// The processor has dot products, and a row has a group for every line.
#[inline(always)]
unsafe fn tile_of_dots<const R: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
) -> Sums<Registers, R, 1> {
    let mut sums = counted_from(starts);
    // Four steps of a row's inputs are a register; each step multiplies one of its lanes.
    let (fours, rest) = block.as_chunks::<4>();
    for (four, lines) in fours.iter().enumerate() {
        // SAFETY: a row has four bytes for each of four lines; the caller guarantees the rest.
        unsafe {
            let mut x = [vdupq_n_s8(0); R];
            for r in 0..R {
                x[r] = vld1q_s8(q[r].as_ptr().add(four * 4).cast());
            }
            step::<0, R>(&mut sums, &lines[0][0], x);
            step::<1, R>(&mut sums, &lines[1][0], x);
            step::<2, R>(&mut sums, &lines[2][0], x);
            step::<3, R>(&mut sums, &lines[3][0], x);
        }
    }
    for (i, [line]) in rest.iter().enumerate() {
        // SAFETY: as above.
        unsafe {
            let mut x = [vdupq_n_s8(0); R];
            for r in 0..R {
                let bytes = *q[r].get_unchecked(fours.len() * 4 + i);
                x[r] = vreinterpretq_s8_s32(vdupq_n_s32(i32::from_ne_bytes(bytes)));
            }
            step::<0, R>(&mut sums, line, x);
        }
    }
    sums
}

/// Adds the products of a line and a lane of the inputs.
///
/// # Safety
/// The processor has dot products.
#[inline(always)]
unsafe fn step<const LANE: i32, const R: usize>(
    sums: &mut Sums<Registers, R, 1>,
    line: &Line,
    x: [int8x16_t; R],
) {
    let weights = quarters(line);
    for r in 0..R {
        for i in 0..QUARTERS {
            // SAFETY: `sdot`, which has no stable name in Rust, uses registers only.
            unsafe {
                asm!(
                    "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
                    sum = inout(vreg) sums[r][0][i],
                    w = in(vreg) weights[i],
                    x = in(vreg) x[r],
                    lane = const LANE,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

/// # Safety
/// A row has a group for every line.
#[inline(always)]
unsafe fn tile_of_pairs<const R: usize>(
    q: [&[[u8; 4]]; R],
    starts: [i32; R],
    block: &[[Line; 1]],
) -> Sums<Registers, R, 1> {
    let mut sums = counted_from(starts);
    for (step, [line]) in block.iter().enumerate() {
        // Eight outputs by the inputs 0 and 1, the other eight; both by the inputs 2 and 3.
        let [w0, w1, w2, w3] = quarters(line);
        for r in 0..R {
            // SAFETY: a row has four bytes for a line.
            let [x, y] = unsafe { q[r].as_ptr().add(step).cast::<[[u8; 2]; 2]>().read() };
            let [x, y] = [pairs(x), pairs(y)];
            for (half, (w, v)) in [(w0, w2), (w1, w3)].into_iter().enumerate() {
                let [low, high] = &mut sums[r][0].as_chunks_mut::<2>().0[half];
                // SAFETY: AArch64 has NEON.
                unsafe {
                    // At most 2 · 127 · 128 = 32512: inputs are never −128.
                    let products = vmull_s8(vget_low_s8(w), vget_low_s8(x));
                    let products = vmlal_s8(products, vget_low_s8(v), vget_low_s8(y));
                    *low = vpadalq_s16(*low, products);
                    let products = vmlal_high_s8(vmull_high_s8(w, x), v, y);
                    *high = vpadalq_s16(*high, products);
                }
            }
        }
    }
    sums
}

/// Repeats two inputs eight times.
///
/// The assembly hides from the compiler that the upper lanes equal the lower ones. Otherwise it
/// would split the weights and multiply only by the lower lanes, in twice the registers.
#[inline(always)]
fn pairs(pair: [u8; 2]) -> int8x16_t {
    // SAFETY: the assembly is a comment; AArch64 has NEON.
    unsafe {
        let mut pairs = vreinterpretq_s8_s16(vdupq_n_s16(i16::from_ne_bytes(pair)));
        asm!("/* {0:v} */", inout(vreg) pairs, options(pure, nomem, nostack, preserves_flags));
        pairs
    }
}

#[inline(always)]
fn counted_from<const R: usize>(starts: [i32; R]) -> Sums<Registers, R, 1> {
    // SAFETY: AArch64 has NEON.
    unsafe {
        let mut sums = [[[vdupq_n_s32(0); QUARTERS]; 1]; R];
        for r in 0..R {
            sums[r] = [[vdupq_n_s32(starts[r]); QUARTERS]];
        }
        sums
    }
}

#[inline(always)]
fn quarters(line: &Line) -> [int8x16_t; QUARTERS] {
    let at = line.0.as_ptr().cast();
    // SAFETY: a line is 64 bytes; AArch64 has NEON.
    unsafe { [vld1q_s8(at), vld1q_s8(at.add(16)), vld1q_s8(at.add(32)), vld1q_s8(at.add(48))] }
}
