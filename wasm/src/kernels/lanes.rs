//! Sixteen floats side by side, the unit in which the kernels count.
//!
//! Sixteen on every processor: one AVX-512 register, two of AVX2, four of SSE, NEON or WebAssembly.
//! So sums have the same order everywhere. The loops over lanes are for the compiler to vectorize.

/// Number of lanes.
pub(super) const LANES: usize = 16;

/// Sixteen floats on one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Zeros.
    pub(super) const ZERO: Lanes = Lanes([0.0; LANES]);

    /// Each lane times a factor.
    #[inline(always)]
    pub(super) fn times(&self, factor: f32) -> Lanes {
        // Into lanes of its own: in place the compiler makes gathers and scatters of it.
        let mut product = Lanes::ZERO;
        for l in 0..LANES {
            product.0[l] = self.0[l] * factor;
        }
        product
    }

    /// `self += factor · x`, rounded twice: a fused multiply-add is not there on all processors.
    #[inline(always)]
    pub(super) fn add_product(&mut self, factor: f32, x: &Lanes) {
        for (sum, x) in self.0.iter_mut().zip(&x.0) {
            *sum += factor * x;
        }
    }
}

/// All lanes in a row.
#[inline(always)]
pub(super) fn flat(lanes: &[Lanes]) -> &[f32] {
    // SAFETY: sixteen floats are as large as their alignment, so there is nothing between them.
    unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len() * LANES) }
}

/// The sum of the lanes.
///
/// Step by step: a loop over the halves would keep them in memory.
#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
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

/// The sum of `value` over `x`, lane by lane.
#[inline(always)]
pub(super) fn sum_of(x: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *sum += value(*x);
        }
    }
    if !rest.is_empty() {
        let mut block = [0.0; LANES];
        for (b, x) in block.iter_mut().zip(rest) {
            *b = value(*x);
        }
        add(&mut sums, &block);
    }
    total(sums)
}

/// The sum of the products, lane by lane.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for l in 0..LANES {
            sums[l] += a[l] * b[l];
        }
    }
    if !a_rest.is_empty() {
        let mut block = [0.0; LANES];
        for (product, (a, b)) in block.iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *product = a * b;
        }
        add(&mut sums, &block);
    }
    total(sums)
}

/// `sums += x`. Where only some lanes have something, adding zeros to the others keeps the sums in
/// registers.
#[inline(always)]
fn add(sums: &mut [f32; LANES], x: &[f32; LANES]) {
    for l in 0..LANES {
        sums[l] += x[l];
    }
}

/// `R` rows of `a` times `P` columns of lanes of `b`, summed in the order of `a`'s elements.
///
/// What multiplies element `k` of a row stands at `b[k · step + p · apart]`.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub(super) fn product<const R: usize, const P: usize>(
    a: [&[f32]; R],
    b: &[Lanes],
    step: usize,
    apart: usize,
) -> [[Lanes; P]; R] {
    let mut sums = [[Lanes::ZERO; P]; R];
    let depth = a[0].len();
    // Shortening all to one length spares a bounds check in each step.
    let a = a.map(|row| &row[..depth]);
    for k in 0..depth {
        let b: [Lanes; P] = std::array::from_fn(|p| b[k * step + p * apart]);
        for r in 0..R {
            for p in 0..P {
                sums[r][p].add_product(a[r][k], &b[p]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_take_every_length() {
        for n in 0..50 {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(sum_of(&x, |x| x + 1.0), x.iter().map(|x| x + 1.0).sum::<f32>());
            assert_eq!(dot(&x, &x), x.iter().map(|x| x * x).sum::<f32>());
        }
    }

    #[test]
    fn a_product_takes_its_columns_from_where_they_stand() {
        let b: Vec<Lanes> =
            (0..6).map(|i| Lanes(std::array::from_fn(|l| (i * 100 + l) as f32))).collect();
        let rows: [&[f32]; 2] = [&[1.0, 2.0, 3.0], &[0.0, 1.0, 0.0]];
        let [[first, second], [row, _]] = product::<2, 2>(rows, &b, 2, 1);
        assert_eq!((first.0[1], second.0[15]), (1606.0, 2290.0));
        assert_eq!(row, b[2]);
        let [[_, apart], _] = product::<2, 2>(rows, &b, 1, 3);
        assert_eq!(apart.0[2], 302.0 + 2.0 * 402.0 + 3.0 * 502.0);
    }
}
