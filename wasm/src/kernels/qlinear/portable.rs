//! Kernel in plain Rust: the reference for the other kernels.

use super::driver::{Ahead, Kernel, Sums};
use super::pack::{LANES, Line};

/// Kernel for pairs of inputs, widened to 16 bits.
pub(super) struct Portable;

impl Kernel<1> for Portable {
    const ROWS: usize = 1;
    type Lanes = [f32; LANES];

    #[inline(always)]
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; 1]],
        _: Ahead<1>,
    ) -> Sums<Self::Lanes, R, 1> {
        let mut sums = starts.map(|start| [[start; LANES]]);
        for (step, [line]) in block.iter().enumerate() {
            for (half, weights) in line.0.as_chunks::<{ LANES * 2 }>().0.iter().enumerate() {
                for (sums, q) in sums.iter_mut().zip(q) {
                    let [a, b, c, d] = q[step * 2 + half];
                    let first = i32::from(i16::from_ne_bytes([a, b]));
                    let second = i32::from(i16::from_ne_bytes([c, d]));
                    for (sum, w) in sums[0].iter_mut().zip(weights.as_chunks::<2>().0) {
                        *sum += first * i32::from(w[0] as i8) + second * i32::from(w[1] as i8);
                    }
                }
            }
        }
        sums
    }
}
