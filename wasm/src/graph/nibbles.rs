//! Multiplication of 4-bit codes and multipliers to signed bytes.

/// Multiplies codes, stored as `code + 8` in a nibble each, with their multipliers.
///
/// A row of codes gives two rows of bytes: its low nibbles in the first half of the rows, its high
/// nibbles in the second half. `groups` is the number of rows of multipliers, each for the same
/// number of rows of codes. `None` if a nibble is 0, which is neither a code nor a multiplier.
///
/// # Panics
/// If a row is incomplete, or the rows of codes are not a multiple of `groups`.
pub(super) fn multiply_codes(
    codes: &[u8],
    multipliers: &[u8],
    groups: usize,
    columns: usize,
) -> Option<Vec<u8>> {
    assert_eq!((multipliers.len(), codes.len() % multipliers.len()), (groups * columns, 0));
    let rows = codes.len() / multipliers.len();
    let mut values = vec![0; 2 * codes.len()];
    let (first, second) = values.split_at_mut(codes.len());
    let mut zero = false;
    let of_group = rows * columns;
    let parts = first.chunks_exact_mut(of_group).zip(second.chunks_exact_mut(of_group));
    let stored = codes.chunks_exact(of_group).zip(multipliers.chunks_exact(columns));
    for ((first, second), (codes, multipliers)) in parts.zip(stored) {
        let parts = first.chunks_exact_mut(columns).zip(second.chunks_exact_mut(columns));
        for ((first, second), codes) in parts.zip(codes.chunks_exact(columns)) {
            let outputs = first.iter_mut().zip(second).zip(codes.iter().zip(multipliers));
            for ((first, second), (code, multiplier)) in outputs {
                // Modulo 256, which is exact: −7 · 15 … 7 · 15 are signed bytes.
                *first = (code & 15).wrapping_sub(8).wrapping_mul(multiplier & 15);
                *second = (code >> 4).wrapping_sub(8).wrapping_mul(multiplier >> 4);
                zero |= code & 15 == 0 || *code < 16 || multiplier & 15 == 0 || *multiplier < 16;
            }
        }
    }
    (!zero).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes one weight by the definition of the format.
    fn weight(codes: &[u8], multipliers: &[u8], (k, n): (usize, usize), columns: usize) -> i32 {
        let half = codes.len() / columns;
        let of_one = codes.len() / multipliers.len();
        let (row, high) = (k % half, k >= half);
        let digit = |byte: u8| i32::from(if high { byte / 16 } else { byte % 16 });
        (digit(codes[row * columns + n]) - 8) * digit(multipliers[row / of_one * columns + n])
    }

    #[test]
    fn every_code_meets_its_multiplier() {
        let mut state = 7u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (1 + (state >> 8) % 15 + 16 * (1 + (state >> 20) % 15)) as u8
        };
        for (groups, of_one, columns) in [(1, 1, 1), (2, 3, 5), (6, 32, 40), (3, 16, 17)] {
            let codes: Vec<u8> = (0..groups * of_one * columns).map(|_| byte()).collect();
            let multipliers: Vec<u8> = (0..groups * columns).map(|_| byte()).collect();
            let values = multiply_codes(&codes, &multipliers, groups, columns).unwrap();
            assert_eq!(values.len(), 2 * codes.len());
            for (i, value) in values.iter().enumerate() {
                let at = (i / columns, i % columns);
                assert_eq!(i32::from(*value as i8), weight(&codes, &multipliers, at, columns));
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        let values = multiply_codes(&[0xf1, 0x1f], &[0xff], 1, 1).unwrap();
        assert_eq!(values.iter().map(|v| *v as i8).collect::<Vec<_>>(), [-105, 105, 105, -105]);
    }

    #[test]
    fn half_a_byte_of_zero_is_refused() {
        for (code, multiplier) in [(0x80, 0x11), (0x08, 0x11), (0x88, 0x10), (0x88, 0x01)] {
            assert_eq!(multiply_codes(&[code], &[multiplier], 1, 1), None);
        }
    }
}
