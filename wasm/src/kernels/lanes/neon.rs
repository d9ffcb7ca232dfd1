//! NEON registers, which all AArch64 processors have.

use super::Vector;
use std::arch::aarch64::*;

impl Vector for float32x4_t {
    const WIDTH: usize = 4;
    const REGISTERS: usize = 32;
    type Ints = int32x4_t;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: AArch64 has NEON, here and below.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the caller guarantees it.
        unsafe { vld1q_f32(at) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller guarantees it.
        unsafe { vst1q_f32(at, self) };
    }

    #[inline(always)]
    fn from_ints(x: int32x4_t) -> Self {
        // SAFETY: as above.
        unsafe { vcvtq_f32_s32(x) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vaddq_f32(self, other) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vsubq_f32(self, other) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vmulq_f32(self, other) }
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vdivq_f32(self, other) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above. `vmaxq_f32` would return a NaN if either value is one.
        unsafe { vbslq_f32(vcgtq_f32(self, other), self, other) }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vbslq_f32(vcltq_f32(self, other), self, other) }
    }

    #[inline(always)]
    fn exp2_of_low_bits(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let exponents = vshlq_n_s32::<23>(vreinterpretq_s32_f32(self));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(vdupq_n_f32(1.0)), exponents))
        }
    }

    #[inline(always)]
    unsafe fn transposed(rows: *const *const f32, at: usize) -> [Self; 4] {
        // SAFETY: the caller guarantees it.
        unsafe {
            let mut row = [vdupq_n_f32(0.0); 4];
            for r in 0..4 {
                row[r] = vld1q_f32((*rows.add(r)).add(at));
            }
            let [a, b, c, d] = row;
            let (ab, cd) = (vzip1q_f32(a, b), vzip1q_f32(c, d));
            let (ab_high, cd_high) = (vzip2q_f32(a, b), vzip2q_f32(c, d));
            [
                vcombine_f32(vget_low_f32(ab), vget_low_f32(cd)),
                vcombine_f32(vget_high_f32(ab), vget_high_f32(cd)),
                vcombine_f32(vget_low_f32(ab_high), vget_low_f32(cd_high)),
                vcombine_f32(vget_high_f32(ab_high), vget_high_f32(cd_high)),
            ]
        }
    }
}
