//! Batches of texts of similar length.
//!
//! A batch is padded to its longest text, so similar lengths need little padding. Batches contain
//! row numbers; their reader pads the rows to tensors.

use crate::rng::Rng;

/// Number of batches within which rows are sorted by length. It is high enough for little padding,
/// and low enough to mix rows differently in each epoch.
const SORTED: usize = 50;

/// Batches of an epoch: every row of `rows` once, in batches of `batch` (the last may be smaller).
///
/// The rows are shuffled and cut into pieces of 50 batches. Each piece is sorted by length and cut
/// into batches. Finally the batches are shuffled, so an epoch does not go from short to long.
/// `lengths` has a length for every row of the data set. The same key (seed, epoch) gives the same
/// batches.
///
/// # Panics
/// If `batch` is 0 or a row has no length.
pub fn batches(
    lengths: &[usize],
    rows: &[usize],
    batch: usize,
    (seed, epoch): (u64, u64),
) -> Vec<Vec<usize>> {
    assert!(batch > 0, "a batch has a row at least");
    let mut rng = Rng::new(&[seed, epoch]);
    let mut rows = rows.to_vec();
    rng.shuffle(&mut rows);
    let mut batches = Vec::with_capacity(rows.len().div_ceil(batch));
    for piece in rows.chunks_mut(batch.saturating_mul(SORTED)) {
        piece.sort_by_key(|&row| lengths[row]);
        batches.extend(piece.chunks(batch).map(<[usize]>::to_vec));
    }
    rng.shuffle(&mut batches);
    batches
}

/// Batches of all rows, from short to long, for evaluation.
///
/// # Panics
/// If `batch` is 0.
pub fn in_order(lengths: &[usize], batch: usize) -> Vec<Vec<usize>> {
    assert!(batch > 0, "a batch has a row at least");
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.sort_by_key(|&row| lengths[row]);
    rows.chunks(batch).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths() -> Vec<usize> {
        let mut rng = Rng::new(&[9]);
        (0..5_003).map(|_| 3 + rng.below(60)).collect()
    }

    #[test]
    fn every_row_comes_once() {
        let rows: Vec<usize> = (0..5_003).filter(|r| r % 3 != 0).collect();
        let batches = batches(&lengths(), &rows, 32, (1, 0));
        assert_eq!(batches.len(), rows.len().div_ceil(32));
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, rows);
    }

    #[test]
    fn the_key_fixes_the_batches() {
        let rows: Vec<usize> = (0..5_003).collect();
        let make = |key| batches(&lengths(), &rows, 32, key);
        assert_eq!(make((1, 2)), make((1, 2)));
        assert_ne!(make((1, 2)), make((1, 3)));
        assert_ne!(make((1, 2)), make((2, 1)));
    }

    #[test]
    fn padding_is_small() {
        let lengths = lengths();
        let rows: Vec<usize> = (0..5_003).collect();
        let padded: usize = batches(&lengths, &rows, 32, (1, 0))
            .iter()
            .map(|b| b.len() * b.iter().map(|&r| lengths[r]).max().unwrap())
            .sum();
        let plain: usize = lengths.iter().sum();
        assert!(padded * 100 < plain * 106, "{padded} for {plain}");
    }

    #[test]
    fn evaluation_goes_from_short_to_long() {
        assert_eq!(in_order(&[5, 1, 3, 1], 3), [vec![1, 3, 2], vec![0]]);
        assert!(in_order(&[], 3).is_empty());
        assert!(batches(&[], &[], 3, (1, 1)).is_empty());
    }
}
