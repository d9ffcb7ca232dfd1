//! Single floats: the reference for the other vectors, and the vector of all other processors.

use super::Vector;

impl Vector for f32 {
    const WIDTH: usize = 1;
    /// Number for a processor with 16 registers of four floats.
    const REGISTERS: usize = 64;
    type Ints = i32;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        x
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the caller guarantees it.
        unsafe { *at }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller guarantees it.
        unsafe { *at = self };
    }

    #[inline(always)]
    fn from_ints(x: i32) -> Self {
        x as f32
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self * other
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self / other
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn exp2_of_low_bits(self) -> Self {
        // Shifting leaves only the integer, in the bits of the exponent.
        f32::from_bits(1.0f32.to_bits().wrapping_add(self.to_bits() << 23))
    }

    #[inline(always)]
    unsafe fn transposed(rows: *const *const f32, at: usize) -> [Self; 4] {
        // SAFETY: the caller guarantees it.
        unsafe { (*rows).add(at).cast::<[f32; 4]>().read_unaligned() }
    }
}
