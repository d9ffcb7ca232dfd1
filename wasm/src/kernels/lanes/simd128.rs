//! Registers of WebAssembly.

use super::Vector;
use std::arch::wasm32::*;

impl Vector for v128 {
    const WIDTH: usize = 4;
    /// Number of V8's registers on x86-64, and one more.
    const REGISTERS: usize = 16;
    type Ints = v128;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        f32x4_splat(x)
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the caller guarantees it.
        unsafe { v128_load(at.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller guarantees it.
        unsafe { v128_store(at.cast(), self) };
    }

    #[inline(always)]
    fn from_ints(x: v128) -> Self {
        f32x4_convert_i32x4(x)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        f32x4_add(self, other)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        f32x4_sub(self, other)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        f32x4_mul(self, other)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        f32x4_div(self, other)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // This is `if other < self { self } else { other }`.
        f32x4_pmax(other, self)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // This is `if self < other { self } else { other }`.
        f32x4_pmin(other, self)
    }

    #[inline(always)]
    fn exp2_of_low_bits(self) -> Self {
        i32x4_add(f32x4_splat(1.0), i32x4_shl(self, 23))
    }

    #[inline(always)]
    unsafe fn transposed(rows: *const *const f32, at: usize) -> [Self; 4] {
        // SAFETY: the caller guarantees it.
        let (a, b, c, d) = unsafe {
            let row = |r: usize| v128_load((*rows.add(r)).add(at).cast());
            (row(0), row(1), row(2), row(3))
        };
        let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d));
        let (ab_high, cd_high) =
            (i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        [
            i64x2_shuffle::<0, 2>(ab, cd),
            i64x2_shuffle::<1, 3>(ab, cd),
            i64x2_shuffle::<0, 2>(ab_high, cd_high),
            i64x2_shuffle::<1, 3>(ab_high, cd_high),
        ]
    }
}
