//! Sixteen floats side by side, the unit in which the kernels count.
//!
//! Sixteen on every processor: one AVX-512 register, two of AVX2, four of SSE2, NEON or WebAssembly.
//! So sums have the same order everywhere. Kernels are generic over the [`Vector`] that holds them.
//!
//! The types of an instruction set are named only in functions that are compiled for it, those of
//! [`compiled`](super::isa::compiled) and the int8 kernels: their methods are safe only there. All
//! is `#[inline(always)]`, so that it is compiled for the caller's instructions.

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

/// Vectors that long chains of operations, such as a polynomial's, are done for together where there
/// are registers for all: a processor waits for a chain with what comes next, of which it sees no more
/// than some hundred operations ahead.
pub(super) const TOGETHER: usize = 4;

/// Sixteen floats in memory, on one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Line(pub [f32; LANES]);

impl Line {
    /// Zeros.
    pub(super) const ZERO: Line = Line([0.0; LANES]);
}

/// All floats of some lines in a row.
#[inline(always)]
pub(super) fn flat(lines: &[Line]) -> &[f32] {
    // SAFETY: sixteen floats are as large as their alignment, so there is nothing between them.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
}

/// Floats in a register of an instruction set, or in several.
///
/// Operations round as those of `f32` do, lane by lane.
pub(super) trait Vector: Copy {
    /// Number of floats.
    const WIDTH: usize;
    /// How many such there are: what the instruction set has in registers, over what one takes.
    const REGISTERS: usize;
    /// As many integers of 32 bits.
    type Ints: Copy;

    /// One float in all lanes.
    fn splat(x: f32) -> Self;

    /// # Safety
    /// `WIDTH` floats can be read there.
    unsafe fn load(at: *const f32) -> Self;

    /// # Safety
    /// `WIDTH` floats can be written there.
    unsafe fn store(self, at: *mut f32);

    /// The floats nearest to integers.
    fn from_ints(x: Self::Ints) -> Self;

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;

    /// `if self > other { self } else { other }`.
    fn max(self, other: Self) -> Self;

    /// `if self < other { self } else { other }`.
    fn min(self, other: Self) -> Self;

    /// Two to the integer that is in the lowest bits.
    fn exp2_of_low_bits(self) -> Self;

    /// The floats `at..at + 4` of `WIDTH` rows, transposed.
    ///
    /// # Safety
    /// They can be read from where each of `WIDTH` pointers leads.
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
            // SAFETY: the caller's.
            all[i] = unsafe { V::load(at.add(i * V::WIDTH)) };
        }
        all
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        for i in 0..N {
            // SAFETY: the caller's.
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
            // SAFETY: the caller's.
            let columns = unsafe { V::transposed(rows.add(i * V::WIDTH), at) };
            for c in 0..4 {
                all[c][i] = columns[c];
            }
        }
        all
    }
}

/// What kernels compute with: floats in registers, with operators.
#[derive(Clone, Copy)]
pub(super) struct Lanes<V>(pub V);

impl<V: Vector> Lanes<V> {
    /// One float in all lanes.
    #[inline(always)]
    pub(super) fn splat(x: f32) -> Self {
        Lanes(V::splat(x))
    }

    /// The floats nearest to integers.
    #[inline(always)]
    pub(super) fn from_ints(x: V::Ints) -> Self {
        Lanes(V::from_ints(x))
    }

    #[inline(always)]
    pub(super) fn load<const N: usize>(from: &[f32; N]) -> Self {
        const { assert!(V::WIDTH == N) };
        // SAFETY: there are as many floats.
        Lanes(unsafe { V::load(from.as_ptr()) })
    }

    #[inline(always)]
    pub(super) fn store<const N: usize>(self, to: &mut [f32; N]) {
        const { assert!(V::WIDTH == N) };
        // SAFETY: there are as many floats.
        unsafe { self.0.store(to.as_mut_ptr()) };
    }

    /// Fewer than sixteen floats, and zeros.
    #[inline(always)]
    pub(super) fn load_part(from: &[f32]) -> Self {
        let mut lanes = [0.0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        Self::load(&lanes)
    }

    /// The first lanes, as many as there is room for, of less than sixteen.
    #[inline(always)]
    pub(super) fn store_part(self, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        to.copy_from_slice(&lanes[..to.len()]);
    }

    /// The larger one, and `other` if one of them is a NaN.
    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        Lanes(self.0.max(other.0))
    }

    /// Between two bounds. A NaN stays one.
    #[inline(always)]
    pub(super) fn clamp(self, least: f32, most: f32) -> Self {
        Lanes(V::splat(most).min(V::splat(least).max(self.0)))
    }

    /// Two to the integer that is in the lowest bits.
    #[inline(always)]
    pub(super) fn exp2_of_low_bits(self) -> Self {
        Lanes(self.0.exp2_of_low_bits())
    }

    /// The floats `at..at + 4` of sixteen rows, transposed.
    ///
    /// # Safety
    /// They can be read from where each pointer leads.
    #[inline(always)]
    pub(super) unsafe fn transposed(rows: &[*const f32; LANES], at: usize) -> [Self; 4] {
        const { assert!(V::WIDTH == LANES) };
        // SAFETY: there are sixteen pointers; the rest is the caller's.
        let [a, b, c, d] = unsafe { V::transposed(rows.as_ptr(), at) };
        [Lanes(a), Lanes(b), Lanes(c), Lanes(d)]
    }

    /// The sum of the lanes: of halves, of their halves, and so on.
    #[inline(always)]
    pub(super) fn total(self) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        // Step by step: a loop over the halves would keep them in memory.
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

/// Sets every float of `out` to what `value` makes of it and of those beside it in `with`.
///
/// `value` is to be `#[inline(always)]`, as all is here.
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
        // Shortening all to one length spares a bounds check in each step.
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

/// The sum of `value` over `x`, lane by lane. As to `value` see [`update`].
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
        // What was computed of no float counts nothing.
        sums = sums + Lanes::load_part(&values[..rest.len()]);
    }
    sums.total()
}

/// The sum of the products, lane by lane.
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
/// Loops of fixed lengths are unrolled, without which the tile would be in memory, and so it would
/// be if something were called before all of it is stored.
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

/// `R` rows of `a` times `P` columns of lanes of `b`, summed over `depth` elements in their order.
///
/// Element `k` of row `r` is `a[r][k · every]`; what multiplies it stands at
/// `b[k · step + p · apart]`.
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
            // SAFETY: one of the lines up to the last one, which is there.
            columns[p] = Lanes::load(unsafe { &(*column.add(p * apart)).0 });
        }
        for r in 0..R {
            // SAFETY: one of the elements up to the last one, which is there.
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
