//! Vectors of sixteen floats, the unit of all kernels.
//!
//! Sixteen floats are one register of AVX-512, two of AVX2, and four of SSE2, NEON or WebAssembly.
//! The number is the same everywhere, and so is the order of sums. Kernels are generic over the
//! [`Vector`] that holds them.
//!
//! Only functions compiled for an instruction set name its types: those of
//! [`compiled`](super::isa::compiled) and the int8 kernels. The methods are safe only there.
//! Everything is `#[inline(always)]`, and so compiled for the caller's instructions.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Add, Div, Mul, Sub};

/// Number of lanes.
pub(super) const LANES: usize = 16;

/// Number of vectors that go through a long chain of operations together, where registers allow.
///
/// While a chain, such as a polynomial, waits for a result, the processor works on the others. It
/// looks only some hundred operations ahead.
pub(super) const TOGETHER: usize = 4;

/// Sixteen floats in memory, on one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Line(pub [f32; LANES]);

impl Line {
    /// Zeros.
    pub(super) const ZERO: Line = Line([0.0; LANES]);
}

/// Returns all floats of consecutive lines.
#[inline(always)]
pub(super) fn flat(lines: &[Line]) -> &[f32] {
    // SAFETY: a line is as large as its alignment, so lines have no padding between them.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
}

/// Floats in a register of an instruction set, or in several.
///
/// Operations round lane by lane as those of `f32`.
pub(super) trait Vector: Copy {
    /// Number of floats.
    const WIDTH: usize;
    /// Number of values of this type that fit in the registers of the instruction set.
    const REGISTERS: usize;
    /// Vector of 32-bit integers with as many lanes.
    type Ints: Copy;

    /// Returns a vector with one float in all lanes.
    fn splat(x: f32) -> Self;

    /// # Safety
    /// `WIDTH` floats can be read from `at`.
    unsafe fn load(at: *const f32) -> Self;

    /// # Safety
    /// `WIDTH` floats can be written to `at`.
    unsafe fn store(self, at: *mut f32);

    /// Converts integers to the nearest floats.
    fn from_ints(x: Self::Ints) -> Self;

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;

    /// `if self > other { self } else { other }`.
    fn max(self, other: Self) -> Self;

    /// `if self < other { self } else { other }`.
    fn min(self, other: Self) -> Self;

    /// Returns two to the power of the integer in the lowest bits.
    fn exp2_of_low_bits(self) -> Self;

    /// Transposes the floats `at..at + 4` of `WIDTH` rows.
    ///
    /// # Safety
    /// These floats of each of the `WIDTH` rows can be read.
    unsafe fn transposed(rows: *const *const f32, at: usize) -> [Self; 4];
}

impl<V: Vector, const N: usize> Vector for [V; N] {
    const WIDTH: usize = V::WIDTH * N;
    const REGISTERS: usize = V::REGISTERS / N;
    type Ints = [V::Ints; N];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        [V::splat(x); N]
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        let mut all = [V::splat(0.0); N];
        for i in 0..N {
            // SAFETY: the caller guarantees it.
            all[i] = unsafe { V::load(at.add(i * V::WIDTH)) };
        }
        all
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        for i in 0..N {
            // SAFETY: the caller guarantees it.
            unsafe { self[i].store(at.add(i * V::WIDTH)) };
        }
    }

    #[inline(always)]
    fn from_ints(x: Self::Ints) -> Self {
        let mut all = [V::splat(0.0); N];
        for i in 0..N {
            all[i] = V::from_ints(x[i]);
        }
        all
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] = self[i].add(other[i]);
        }
        self
    }

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] = self[i].sub(other[i]);
        }
        self
    }

    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] = self[i].mul(other[i]);
        }
        self
    }

    #[inline(always)]
    fn div(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] = self[i].div(other[i]);
        }
        self
    }

    #[inline(always)]
    fn max(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] = self[i].max(other[i]);
        }
        self
    }

    #[inline(always)]
    fn min(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] = self[i].min(other[i]);
        }
        self
    }

    #[inline(always)]
    fn exp2_of_low_bits(mut self) -> Self {
        for i in 0..N {
            self[i] = self[i].exp2_of_low_bits();
        }
        self
    }

    #[inline(always)]
    unsafe fn transposed(rows: *const *const f32, at: usize) -> [Self; 4] {
        let mut all = [[V::splat(0.0); N]; 4];
        for i in 0..N {
            // SAFETY: the caller guarantees it.
            let columns = unsafe { V::transposed(rows.add(i * V::WIDTH), at) };
            for c in 0..4 {
                all[c][i] = columns[c];
            }
        }
        all
    }
}

/// Floats in registers, with operators: the numbers of all kernels.
#[derive(Clone, Copy)]
pub(super) struct Lanes<V>(pub V);

impl<V: Vector> Lanes<V> {
    /// Returns a vector with one float in all lanes.
    #[inline(always)]
    pub(super) fn splat(x: f32) -> Self {
        Lanes(V::splat(x))
    }

    /// Converts integers to the nearest floats.
    #[inline(always)]
    pub(super) fn from_ints(x: V::Ints) -> Self {
        Lanes(V::from_ints(x))
    }

    #[inline(always)]
    pub(super) fn load<const N: usize>(from: &[f32; N]) -> Self {
        const { assert!(V::WIDTH == N) };
        // SAFETY: the array has `WIDTH` floats.
        Lanes(unsafe { V::load(from.as_ptr()) })
    }

    #[inline(always)]
    pub(super) fn store<const N: usize>(self, to: &mut [f32; N]) {
        const { assert!(V::WIDTH == N) };
        // SAFETY: the array has `WIDTH` floats.
        unsafe { self.0.store(to.as_mut_ptr()) };
    }

    /// Loads fewer than sixteen floats and fills the other lanes with zeros.
    #[inline(always)]
    pub(super) fn load_part(from: &[f32]) -> Self {
        let mut lanes = [0.0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        Self::load(&lanes)
    }

    /// Stores the first `to.len()` lanes, fewer than sixteen.
    #[inline(always)]
    pub(super) fn store_part(self, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        to.copy_from_slice(&lanes[..to.len()]);
    }

    /// Returns the larger value; `other` if either value is a NaN.
    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        Lanes(self.0.max(other.0))
    }

    /// Limits the lanes to the range `least..=most`. A NaN stays a NaN.
    #[inline(always)]
    pub(super) fn clamp(self, least: f32, most: f32) -> Self {
        Lanes(V::splat(most).min(V::splat(least).max(self.0)))
    }

    /// Returns two to the power of the integer in the lowest bits.
    #[inline(always)]
    pub(super) fn exp2_of_low_bits(self) -> Self {
        Lanes(self.0.exp2_of_low_bits())
    }

    /// Transposes the floats `at..at + 4` of sixteen rows.
    ///
    /// # Safety
    /// These floats of each row can be read.
    #[inline(always)]
    pub(super) unsafe fn transposed(rows: &[*const f32; LANES], at: usize) -> [Self; 4] {
        const { assert!(V::WIDTH == LANES) };
        // SAFETY: `rows` has sixteen pointers; the caller guarantees the rest.
        let [a, b, c, d] = unsafe { V::transposed(rows.as_ptr(), at) };
        [Lanes(a), Lanes(b), Lanes(c), Lanes(d)]
    }

    /// Sums the lanes: the two halves, then the halves of the result, and so on.
    #[inline(always)]
    pub(super) fn total(self) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        // Written out: a loop over the halves would keep them in memory.
        let mut eight = [0.0; 8];
        for l in 0..8 {
            eight[l] = lanes[l] + lanes[l + 8];
        }
        let mut four = [0.0; 4];
        for l in 0..4 {
            four[l] = eight[l] + eight[l + 4];
        }
        (four[0] + four[2]) + (four[1] + four[3])
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident),*) => {$(
        impl<V: Vector> $operator for Lanes<V> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Lanes(Vector::$method(self.0, other.0))
            }
        }

        impl<V: Vector> $operator<f32> for Lanes<V> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: f32) -> Self {
                Lanes(Vector::$method(self.0, V::splat(other)))
            }
        }
    )*};
}

operators!(Add add, Sub sub, Mul mul, Div div);

/// Replaces every float of `out` by `value` of itself and of the floats at its index in `with`.
///
/// `value` must be `#[inline(always)]`.
#[inline(always)]
pub(super) fn update<V: Vector, const N: usize>(
    out: &mut [f32],
    with: [&[f32]; N],
    value: impl Fn(Lanes<V>, [Lanes<V>; N]) -> Lanes<V>,
) {
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let whole = blocks.len() * LANES;
    let mut chunks: [&[[f32; LANES]]; N] = [&[]; N];
    for n in 0..N {
        // Slices of equal length need no bounds check in each step.
        chunks[n] = &with[n].as_chunks().0[..blocks.len()];
    }
    for (i, out) in blocks.iter_mut().enumerate() {
        let mut lanes = [Lanes::splat(0.0); N];
        for n in 0..N {
            lanes[n] = Lanes::load(&chunks[n][i]);
        }
        value(Lanes::load(out), lanes).store(out);
    }
    if !rest.is_empty() {
        let mut lanes = [Lanes::splat(0.0); N];
        for n in 0..N {
            lanes[n] = Lanes::load_part(&with[n][whole..]);
        }
        value(Lanes::load_part(rest), lanes).store_part(rest);
    }
}

/// Sums `value` over `x`, lane by lane. `value` must be `#[inline(always)]`.
#[inline(always)]
pub(super) fn sum_of<V: Vector>(x: &[f32], value: impl Fn(Lanes<V>) -> Lanes<V>) -> f32 {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut sums = Lanes::<V>::splat(0.0);
    for block in blocks {
        sums = sums + value(Lanes::load(block));
    }
    if !rest.is_empty() {
        let mut values = [0.0; LANES];
        value(Lanes::load_part(rest)).store(&mut values);
        // Lanes without an input do not count.
        sums = sums + Lanes::load_part(&values[..rest.len()]);
    }
    sums.total()
}

/// Sums the products of two slices, lane by lane.
#[inline(always)]
pub(super) fn dot<V: Vector>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = Lanes::<V>::splat(0.0);
    for (a, b) in a.iter().zip(b) {
        sums = sums + Lanes::load(a) * Lanes::load(b);
    }
    if !a_rest.is_empty() {
        sums = sums + Lanes::load_part(a_rest) * Lanes::load_part(b_rest);
    }
    sums.total()
}

/// Writes the first `columns` floats of the first `rows` rows of a tile, a row every `width` floats
/// of `out`.
///
/// Loops of fixed length are unrolled; otherwise the tile would be in memory. A call before the
/// whole tile is stored would also move it to memory.
#[inline(always)]
pub(super) fn write<V: Vector, const R: usize, const P: usize>(
    tile: [[Lanes<V>; P]; R],
    rows: usize,
    columns: usize,
    out: &mut [f32],
    width: usize,
) {
    if columns == P * LANES {
        for r in 0..R {
            if r < rows {
                let out = out[r * width..][..P * LANES].as_chunks_mut::<LANES>().0;
                for p in 0..P {
                    tile[r][p].store(&mut out[p]);
                }
            }
        }
    } else {
        let mut stored = [[[0.0; LANES]; P]; R];
        for r in 0..R {
            for p in 0..P {
                tile[r][p].store(&mut stored[r][p]);
            }
        }
        for (out, row) in out.chunks_mut(width).zip(&stored).take(rows) {
            out[..columns].copy_from_slice(&row.as_flattened()[..columns]);
        }
    }
}

/// Multiplies `R` rows of `a` by `P` columns of lanes of `b`, summed over `depth` elements in their
/// order.
///
/// Element `k` of row `r` is `a[r][k · every]`. Its factor is `b[k · step + p · apart]`.
///
/// # Panics
/// If `a` or `b` is too short.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub(super) fn product<V: Vector, const R: usize, const P: usize>(
    depth: usize,
    a: [&[f32]; R],
    every: usize,
    b: &[Line],
    step: usize,
    apart: usize,
) -> [[Lanes<V>; P]; R] {
    let mut sums = [[Lanes(V::splat(0.0)); P]; R];
    let last = depth.saturating_sub(1);
    assert!(b.len() > last * step + (P - 1) * apart);
    let mut rows = [std::ptr::null(); R];
    for r in 0..R {
        assert!(a[r].len() > last * every);
        rows[r] = a[r].as_ptr();
    }
    let mut column = b.as_ptr();
    for _ in 0..depth {
        let mut columns = [Lanes(V::splat(0.0)); P];
        for p in 0..P {
            // SAFETY: `b` has the last of these lines, as asserted above.
            columns[p] = Lanes::load(unsafe { &(*column.add(p * apart)).0 });
        }
        for r in 0..R {
            // SAFETY: `a[r]` has the last of these elements, as asserted above.
            let x = unsafe { *rows[r] };
            for p in 0..P {
                sums[r][p] = sums[r][p] + columns[p] * x;
            }
            rows[r] = rows[r].wrapping_add(every);
        }
        column = column.wrapping_add(step);
    }
    sums
}
