//! Word and position embeddings.

use super::isa::{Isa, compiled};
use super::lanes::Vector;
use super::norm::normalize;
use crate::graph::{Elements, Matrix, Norm};

/// The tables of the embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// One row per word piece.
    pub words: Matrix,
    /// One row per position.
    pub positions: Matrix,
    /// The normalization.
    pub norm: Norm,
}

/// Adds the row of the word and the row of the position, and normalizes the sum.
///
/// Positions count from 0 in each sentence. `out` is `[ids.len(), words.columns]`.
///
/// # Errors
/// A message, if an id is not in the vocabulary or a sentence has more tokens than positions.
pub fn embed(
    isa: Isa,
    ids: &[u32],
    offsets: &[usize],
    tables: &Tables,
    out: &mut [f32],
) -> Result<(), String> {
    let (words, positions) = (tables.words.rows, tables.positions.rows);
    if let Some(sentence) = offsets.windows(2).find(|w| w[1] - w[0] > positions) {
        let length = sentence[1] - sentence[0];
        return Err(format!("a sentence of {length} tokens; the model takes at most {positions}"));
    }
    if let Some(id) = ids.iter().find(|id| **id as usize >= words) {
        return Err(format!("token id {id}; the model has {words} word pieces"));
    }
    compiled!(isa, rows(ids: &[u32], offsets: &[usize], tables: &Tables, out: &mut [f32]));
    Ok(())
}

#[inline(always)]
fn rows<V: Vector>(ids: &[u32], offsets: &[usize], tables: &Tables, out: &mut [f32]) {
    let mut out = out.chunks_exact_mut(tables.words.columns);
    for sentence in offsets.windows(2) {
        let ids = &ids[sentence[0]..sentence[1]];
        for ((position, id), out) in ids.iter().enumerate().zip(&mut out) {
            out.fill(0.0);
            add_row(out, &tables.words, *id as usize);
            add_row(out, &tables.positions, position);
            normalize::<V>(out, &tables.norm);
        }
    }
}

#[inline(always)]
fn add_row(out: &mut [f32], table: &Matrix, row: usize) {
    let at = row * table.columns..(row + 1) * table.columns;
    match &table.elements {
        Elements::F32(values) => out.iter_mut().zip(&values[at]).for_each(|(o, v)| *o += v),
        Elements::I8 { values, scales } => {
            let scale = scales[row];
            out.iter_mut().zip(&values[at]).for_each(|(o, v)| *o += f32::from(*v as i8) * scale);
        }
        Elements::Packed { .. } => unreachable!("tables are not packed"),
        Elements::I4 { values, scales } => {
            let half = table.columns / 2;
            let values = &values[row * half..(row + 1) * half];
            let groups = scales.len() / table.rows;
            let group = table.columns / groups;
            let scales = &scales[row * groups..(row + 1) * groups];
            let (low, high) = out.split_at_mut(half);
            let (low_scales, high_scales) = scales.split_at(groups / 2);
            for (out, scales, shift) in [(low, low_scales, 0), (high, high_scales, 4)] {
                let groups = out.chunks_exact_mut(group).zip(values.chunks_exact(group));
                for ((out, values), scale) in groups.zip(scales) {
                    out.iter_mut().zip(values).for_each(|(o, v)| {
                        *o += (f32::from((v >> shift) & 15) - 8.0) * scale;
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, same_everywhere};
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
        // The epsilon is so large that the norm only divides by 1000 and centres.
        let norm = Norm { gamma: vec![1000.0; 2], beta: vec![0.0; 2], epsilon: 1e6 };
        let tables = Tables { words, positions, norm };
        let isa = Isa::detect();
        let mut out = [0.0; 6];
        embed(isa, &[0, 1, 1], &[0, 2, 3], &tables, &mut out).unwrap();
        let expected = [1.0, -1.0, 58.75, -58.75, 56.75, -56.75];
        for (a, b) in out.iter().zip(expected) {
            assert!((a - b).abs() < 0.2, "{out:?}");
        }
        let error = embed(isa, &[2], &[0, 1], &tables, &mut out[..2]).unwrap_err();
        assert!(error.contains("token id 2"));
        let error = embed(isa, &[0; 3], &[0, 3], &tables, &mut out).unwrap_err();
        assert!(error.contains("3 tokens"));
    }

    #[test]
    fn halves_equal_the_floats_that_they_stand_for() {
        // Rows of 12 columns in 4 groups; byte j of a row contains columns j and j + 6.
        let bytes: Vec<u8> = (0..5 * 6).map(|i| (i * 37 + 11) as u8).collect();
        let scales = floats(5 * 4, 1);
        let value = |i: usize| {
            let (row, column) = (i / 12, i % 12);
            let byte = bytes[row * 6 + column % 6];
            let half = if column < 6 { byte & 15 } else { byte >> 4 };
            (f32::from(half) - 8.0) * scales[row * 4 + column / 3]
        };
        let plain = Elements::F32((0..5 * 12).map(value).collect());
        let halves = Elements::I4 { values: bytes.clone().into(), scales: scales.clone() };
        let [plain, halves] = [plain, halves].map(|elements| {
            let tables = Tables {
                words: Matrix { rows: 5, columns: 12, elements },
                positions: Matrix { rows: 3, columns: 12, elements: Elements::F32(floats(36, 2)) },
                norm: Norm { gamma: floats(12, 3), beta: floats(12, 4), epsilon: 1e-5 },
            };
            same_everywhere(4 * 12, |isa, out| {
                embed(isa, &[4, 0, 2, 1], &[0, 3, 4], &tables, out).unwrap();
            })
        });
        assert_eq!(plain, halves);
    }

    #[test]
    fn equals_the_definition() {
        for width in [5, 16, 99, 384] {
            let bytes: Vec<u8> =
                floats(7 * width, 1).iter().map(|x| (x * 60.0) as i8 as u8).collect();
            let words = Elements::I8 { values: bytes.clone().into(), scales: floats(7, 2) };
            let tables = Tables {
                words: Matrix { rows: 7, columns: width, elements: words },
                positions: Matrix {
                    rows: 4,
                    columns: width,
                    elements: Elements::F32(floats(4 * width, 3)),
                },
                norm: Norm { gamma: floats(width, 4), beta: floats(width, 5), epsilon: 1e-3 },
            };
            let (ids, scales) = ([6, 0, 3, 3, 1], floats(7, 2));
            let out = same_everywhere(5 * width, |isa, out| {
                embed(isa, &ids, &[0, 4, 5], &tables, out).unwrap();
            });
            let (places, norm) = (floats(4 * width, 3), &tables.norm);
            for (row, (id, position)) in ids.iter().zip([0, 1, 2, 3, 0]).enumerate() {
                let (id, at) = (*id as usize, position * width);
                let sums: Vec<f64> = (0..width)
                    .map(|c| {
                        f64::from(bytes[id * width + c] as i8) * f64::from(scales[id])
                            + f64::from(places[at + c])
                    })
                    .collect();
                let mean = sums.iter().sum::<f64>() / width as f64;
                let variance = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / width as f64;
                for (c, s) in sums.iter().enumerate() {
                    let exact = (s - mean) / (variance + 1e-3).sqrt() * f64::from(norm.gamma[c])
                        + f64::from(norm.beta[c]);
                    assert!((f64::from(out[row * width + c]) - exact).abs() < 2e-5);
                }
            }
        }
    }
}
