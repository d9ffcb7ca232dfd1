//! A tile in plain Rust: what the others must give.

use super::{LANES, ROWS, Tile};

/// The sums of rows of `q` by one panel of weights.
#[inline(always)]
pub(super) fn tile(q: [&[i16]; ROWS], panel: &[i8]) -> Tile {
    let mut sums = [[0i32; LANES]; ROWS];
    for (pair, weights) in panel.as_chunks::<{ LANES * 2 }>().0.iter().enumerate() {
        for (sums, q) in sums.iter_mut().zip(q) {
            let (first, second) = (i32::from(q[pair * 2]), i32::from(q[pair * 2 + 1]));
            for (sum, w) in sums.iter_mut().zip(weights.as_chunks::<2>().0) {
                *sum += first * i32::from(w[0]) + second * i32::from(w[1]);
            }
        }
    }
    sums
}
