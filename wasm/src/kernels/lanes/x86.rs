//! Registers of SSE2, AVX2 and AVX-512.

use super::Vector;
use std::arch::x86_64::*;

/// Implements [`Vector`] for a register: its type, the type of its integers, its lanes, the number
/// of registers, the function that gathers row `r` of each group of four rows, and its
/// instructions.
macro_rules! register {
    (
        $floats:ty, $ints:ty, $width:literal, $registers:literal, $gather:ident,
        $splat:ident, $load:ident, $store:ident, $convert:ident,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $max:ident, $min:ident,
        $to_bits:ident, $from_bits:ident, $shift_left:ident, $add_ints:ident,
        $unpack_low:ident, $unpack_high:ident, $shuffle:ident $(,)?
    ) => {
        // SAFETY: the caller of each method is compiled for these instructions, see `lanes`.
        #[allow(clippy::undocumented_unsafe_blocks, reason = "it is the one above")]
        impl Vector for $floats {
            const WIDTH: usize = $width;
            const REGISTERS: usize = $registers;
            type Ints = $ints;

            #[inline(always)]
            fn splat(x: f32) -> Self {
                unsafe { $splat(x) }
            }

            #[inline(always)]
            unsafe fn load(at: *const f32) -> Self {
                unsafe { $load(at) }
            }

            #[inline(always)]
            unsafe fn store(self, at: *mut f32) {
                unsafe { $store(at, self) };
            }

            #[inline(always)]
            fn from_ints(x: $ints) -> Self {
                unsafe { $convert(x) }
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                unsafe { $add(self, other) }
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                unsafe { $sub(self, other) }
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                unsafe { $mul(self, other) }
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                unsafe { $div(self, other) }
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                unsafe { $max(self, other) }
            }

            #[inline(always)]
            fn min(self, other: Self) -> Self {
                unsafe { $min(self, other) }
            }

            #[inline(always)]
            fn exp2_of_low_bits(self) -> Self {
                unsafe {
                    let exponents = $shift_left::<23>($to_bits(self));
                    $from_bits($add_ints($to_bits($splat(1.0)), exponents))
                }
            }

            #[inline(always)]
            unsafe fn transposed(rows: *const *const f32, at: usize) -> [Self; 4] {
                unsafe {
                    let (a, b) = ($gather(rows, at), $gather(rows.add(1), at));
                    let (c, d) = ($gather(rows.add(2), at), $gather(rows.add(3), at));
                    let (ab, cd) = ($unpack_low(a, b), $unpack_low(c, d));
                    let (ab_high, cd_high) = ($unpack_high(a, b), $unpack_high(c, d));
                    [
                        $shuffle::<0b01_00_01_00>(ab, cd),
                        $shuffle::<0b11_10_11_10>(ab, cd),
                        $shuffle::<0b01_00_01_00>(ab_high, cd_high),
                        $shuffle::<0b11_10_11_10>(ab_high, cd_high),
                    ]
                }
            }
        }
    };
}

#[rustfmt::skip]
register!(
    __m128, __m128i, 4, 16, one,
    _mm_set1_ps, _mm_loadu_ps, _mm_storeu_ps, _mm_cvtepi32_ps,
    _mm_add_ps, _mm_sub_ps, _mm_mul_ps, _mm_div_ps, _mm_max_ps, _mm_min_ps,
    _mm_castps_si128, _mm_castsi128_ps, _mm_slli_epi32, _mm_add_epi32,
    _mm_unpacklo_ps, _mm_unpackhi_ps, _mm_shuffle_ps,
);

#[rustfmt::skip]
register!(
    __m256, __m256i, 8, 16, two,
    _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_cvtepi32_ps,
    _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps, _mm256_max_ps, _mm256_min_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_slli_epi32, _mm256_add_epi32,
    _mm256_unpacklo_ps, _mm256_unpackhi_ps, _mm256_shuffle_ps,
);

#[rustfmt::skip]
register!(
    __m512, __m512i, 16, 32, four,
    _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_cvtepi32_ps,
    _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps, _mm512_max_ps, _mm512_min_ps,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_slli_epi32, _mm512_add_epi32,
    _mm512_unpacklo_ps, _mm512_unpackhi_ps, _mm512_shuffle_ps,
);

/// Loads four floats of the first row.
///
/// # Safety
/// Contract of [`Vector::transposed`].
#[inline(always)]
unsafe fn one(rows: *const *const f32, at: usize) -> __m128 {
    // SAFETY: the caller guarantees it.
    unsafe { _mm_loadu_ps((*rows).add(at)) }
}

/// Loads four floats of the first and of the fifth row.
///
/// # Safety
/// Contract of [`Vector::transposed`], by a caller that is compiled for AVX2.
#[inline(always)]
unsafe fn two(rows: *const *const f32, at: usize) -> __m256 {
    // SAFETY: the caller guarantees it.
    unsafe {
        _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(one(rows, at)), one(rows.add(4), at))
    }
}

/// Loads four floats of the first, fifth, ninth and thirteenth row.
///
/// # Safety
/// Contract of [`Vector::transposed`], by a caller that is compiled for AVX-512.
#[inline(always)]
unsafe fn four(rows: *const *const f32, at: usize) -> __m512 {
    // SAFETY: the caller guarantees it.
    unsafe {
        let low = _mm512_castps256_ps512(two(rows, at));
        _mm512_insertf32x8::<1>(low, two(rows.add(8), at))
    }
}
