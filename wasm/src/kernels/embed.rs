//! Word and position embeddings.

use super::norm::layer_norm;
use crate::graph::{Elements, Matrix, Norm};

/// The sum of the word's row and the position's, normalized.
///
/// Positions count from 0 in each sentence. `out` is `[ids.len(), words.columns]`.
///
/// # Errors
/// A message, if an id has no word or a sentence is longer than there are positions.
pub fn embed(
    ids: &[u32],
    offsets: &[usize],
    words: &Matrix,
    positions: &Matrix,
    norm: &Norm,
    out: &mut [f32],
) -> Result<(), String> {
    let width = words.columns;
    for sentence in offsets.windows(2) {
        let length = sentence[1] - sentence[0];
        if length > positions.rows {
            return Err(format!(
                "a sentence of {length} tokens, the model takes {} at most",
                positions.rows
            ));
        }
        for (position, row) in (sentence[0]..sentence[1]).enumerate() {
            let id = ids[row] as usize;
            if id >= words.rows {
                return Err(format!("token id {id}, the model has {} word pieces", words.rows));
            }
            let out = &mut out[row * width..][..width];
            out.fill(0.0);
            add_row(out, words, id);
            add_row(out, positions, position);
        }
    }
    layer_norm(out, norm);
    Ok(())
}

fn add_row(out: &mut [f32], table: &Matrix, row: usize) {
    let at = row * table.columns..(row + 1) * table.columns;
    match &table.elements {
        Elements::F32(values) => out.iter_mut().zip(&values[at]).for_each(|(o, v)| *o += v),
        Elements::I8 { values, scales } => {
            let scale = scales[row];
            out.iter_mut().zip(&values[at]).for_each(|(o, v)| *o += f32::from(*v as i8) * scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn int8_rows_are_scaled_and_positions_start_again_in_each_sentence() {
        let words = Matrix {
            rows: 2,
            columns: 2,
            elements: Elements::I8 {
                values: Bytes::from_static(&[1, 0xff, 100, 0x81]),
                scales: vec![1.0, 0.5],
            },
        };
        let positions =
            Matrix { rows: 2, columns: 2, elements: Elements::F32(vec![0.0, 0.0, 7.0, 3.0]) };
        // epsilon so large that the norm only divides by 1000 and centres
        let norm = Norm { gamma: vec![1000.0; 2], beta: vec![0.0; 2], epsilon: 1e6 };
        let mut out = [0.0; 6];
        embed(&[0, 1, 1], &[0, 2, 3], &words, &positions, &norm, &mut out).unwrap();
        let expected = [1.0, -1.0, 58.75, -58.75, 56.75, -56.75];
        for (a, b) in out.iter().zip(expected) {
            assert!((a - b).abs() < 0.2, "{out:?}");
        }
        let error = embed(&[2], &[0, 1], &words, &positions, &norm, &mut out[..2]).unwrap_err();
        assert!(error.contains("token id 2"));
        let error = embed(&[0; 3], &[0, 3], &words, &positions, &norm, &mut out).unwrap_err();
        assert!(error.contains("3 tokens"));
    }
}
