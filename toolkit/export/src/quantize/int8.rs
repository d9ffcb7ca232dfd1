//! Symmetric int8 quantization of weights.

use super::rounding::{Quantized, scale};

/// Quantizes `[rows, width]` to −127…127 with one scale per row.
pub fn per_row(values: &[f32], width: usize) -> Quantized {
    let scales: Vec<f32> = values
        .chunks_exact(width)
        .map(|row| scale(row.iter().fold(0.0, |m: f32, v| m.max(v.abs())), 127))
        .collect();
    let values = values
        .chunks_exact(width)
        .zip(&scales)
        .flat_map(|(row, s)| row.iter().map(|v| round(*v, *s)))
        .collect();
    Quantized { values, scales }
}

/// Quantizes two elements to a byte, −7…7 around 8, in the layout of the runtime's `Q4Embed`.
/// `width` is even; the first half of a row is in the low bits. Each scale covers `group` columns.
pub fn halves(values: &[f32], width: usize, group: usize) -> Quantized {
    let scales: Vec<f32> = values
        .chunks_exact(group)
        .map(|columns| scale(columns.iter().fold(0.0, |m: f32, v| m.max(v.abs())), 7))
        .collect();
    let digits: Vec<u8> = values
        .chunks_exact(group)
        .zip(&scales)
        .flat_map(|(columns, s)| columns.iter().map(|v| round(*v, *s).wrapping_add(8)))
        .collect();
    let bytes = digits.chunks_exact(width).flat_map(|row| {
        let (low, high) = row.split_at(width / 2);
        low.iter().zip(high).map(|(low, high)| high << 4 | low)
    });
    Quantized { values: bytes.collect(), scales }
}

/// Quantizes `[inputs, outputs]` to −`largest`…`largest` with one scale per column.
pub fn per_column(values: &[f32], outputs: usize, largest: i8) -> Quantized {
    let mut maxima = vec![0.0f32; outputs];
    for row in values.chunks_exact(outputs) {
        maxima.iter_mut().zip(row).for_each(|(m, v)| *m = m.max(v.abs()));
    }
    let scales: Vec<f32> = maxima.into_iter().map(|m| scale(m, largest)).collect();
    let values = values
        .chunks_exact(outputs)
        .flat_map(|row| row.iter().zip(&scales).map(|(v, s)| round(*v, *s)))
        .collect();
    Quantized { values, scales }
}

fn round(value: f32, scale: f32) -> u8 {
    (value / scale).round_ties_even() as i8 as u8
}

#[cfg(test)]
mod tests {
    use super::super::rounding::group;
    use super::*;

    fn signed(q: &Quantized) -> Vec<i8> {
        q.values.iter().map(|v| *v as i8).collect()
    }

    #[test]
    fn the_largest_of_each_row_or_column_becomes_the_largest_byte() {
        let w = [1.0, -8.0, 0.0, -0.6, 4.2, 0.0];
        assert_eq!(signed(&per_row(&w, 3)), [16, -127, 0, -18, 127, 0]);
        let q = per_column(&w, 3, 63);
        assert_eq!(signed(&q), [63, -63, 0, -38, 33, 0]);
        assert_eq!(q.scales, [1.0 / 63.0, 8.0 / 63.0, 1.0]);
    }

    #[test]
    fn errors_are_at_most_half_a_step() {
        let w: Vec<f32> = (0..600).map(|i| ((i * 7919 % 1000) as f32 - 500.0) / 77.0).collect();
        for (largest, width) in [(127, 12), (63, 12), (63, 1)] {
            let q = per_column(&w, width, largest);
            for (i, (v, b)) in w.iter().zip(signed(&q)).enumerate() {
                let s = q.scales[i % width];
                assert!((v - f32::from(b) * s).abs() <= s * 0.501);
                assert!(b.unsigned_abs() <= largest as u8);
            }
        }
    }

    #[test]
    fn halves_of_a_row_share_bytes_and_columns_of_a_group_a_scale() {
        let w = [7.0, -3.4, 0.0, 14.0, 0.7, 0.1, -7.0, 0.0];
        let q = halves(&w, 8, 2);
        assert_eq!(q.scales, [1.0, 2.0, 0.1, 1.0]);
        assert_eq!(q.values, [0xff, 0x95, 0x18, 0x8f]);
        assert_eq!([group(384, 64), group(10, 64), group(768, 64), group(6, 2)], [64, 5, 64, 1]);
    }

    #[test]
    fn tiny_weights_do_not_divide_by_zero() {
        let q = per_row(&[1e-42, 0.0], 2);
        assert_eq!((signed(&q), q.scales), (vec![0, 0], vec![1.0]));
    }
}
