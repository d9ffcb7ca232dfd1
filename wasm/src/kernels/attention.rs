//! Multi-head self-attention within each sentence (Vaswani et al. 2017).

use super::isa::{Isa, compiled};
use super::lanes::{LANES, Lanes, Line, TOGETHER, Vector, flat, product, update, write};
use super::math::exp;

/// Memory of [`self_attention`], reused by the next call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Keys of a head: `[tokens][d]`.
    keys: Vec<f32>,
    /// Values of a head: `[tokens][blocks of 16 columns]`.
    values: Vec<Line>,
    /// Queries of a head that are computed together, transposed: `[d][blocks of 16 queries]`.
    queries: Vec<Line>,
    /// Scores of these queries for each token, later their softmax weights:
    /// `[tokens][blocks of 16 queries]`.
    weights: Vec<Line>,
}

/// Computes `out[i] = Σⱼ softmaxⱼ(qᵢ·kⱼ / √d) vⱼ` for every head and sentence.
///
/// A sentence gets the first `queries` tokens computed, or all tokens if it has fewer.
/// `qkv` is `[rows, 3 · width]`, queries, keys and values side by side. `out` is
/// `[queries, width]`, the heads side by side.
pub fn self_attention(
    isa: Isa,
    qkv: &[f32],
    offsets: &[usize],
    heads: usize,
    queries: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    compiled!(
        isa,
        sentences(
            qkv: &[f32],
            offsets: &[usize],
            heads: usize,
            queries: usize,
            scratch: &mut Scratch,
            out: &mut [f32],
        )
    );
}

#[inline(always)]
fn sentences<V: Vector>(
    qkv: &[f32],
    offsets: &[usize],
    heads: usize,
    queries: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let rows = offsets.last().copied().unwrap_or(0);
    if rows == 0 {
        return;
    }
    let width = qkv.len() / rows / 3;
    let mut out = out;
    for sentence in offsets.windows(2) {
        let qkv = &qkv[sentence[0] * 3 * width..sentence[1] * 3 * width];
        let (first, rest) = out.split_at_mut((sentence[1] - sentence[0]).min(queries) * width);
        out = rest;
        for head in 0..heads {
            let head =
                AttentionHead { qkv, width, d: width / heads, first: head * (width / heads) };
            // A tile fills half of the registers; the other half is for the factors.
            match V::REGISTERS {
                32.. => attend::<V, 4, 2>(head, scratch, first),
                8.. => attend::<V, 4, 1>(head, scratch, first),
                _ => attend::<V, 2, 1>(head, scratch, first),
            }
        }
    }
}

/// One head of one sentence.
#[derive(Clone, Copy)]
struct AttentionHead<'a> {
    qkv: &'a [f32],
    width: usize,
    d: usize,
    /// First column of the head.
    first: usize,
}

impl AttentionHead<'_> {
    /// The query (0), key (1) or value (2) of a token.
    #[inline(always)]
    fn part(&self, token: usize, which: usize) -> &[f32] {
        &self.qkv[token * 3 * self.width + which * self.width + self.first..][..self.d]
    }
}

/// Computes one head of one sentence, in steps of up to `P` blocks of 16 queries.
///
/// `out` has a row for each query.
#[inline(always)]
fn attend<V: Vector, const R: usize, const P: usize>(
    head: AttentionHead<'_>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let AttentionHead { qkv, width, d, .. } = head;
    let tokens = qkv.len() / (3 * width);
    let blocks = d.div_ceil(LANES);
    // Side by side: in `qkv` keys are so far apart that caches hold few of them.
    let keys = at_least(&mut scratch.keys, tokens * d, 0.0);
    for (token, key) in keys.chunks_exact_mut(d).enumerate() {
        update::<V, 1>(
            key,
            [head.part(token, 1)],
            #[inline(always)]
            |_, [key]| key,
        );
    }
    let values = at_least(&mut scratch.values, tokens * blocks, Line::ZERO);
    for (token, value) in values.chunks_exact_mut(blocks).enumerate() {
        let (parts, rest) = head.part(token, 2).as_chunks::<LANES>();
        for (part, block) in parts.iter().zip(&mut *value) {
            block.0 = *part;
        }
        if !rest.is_empty() {
            Lanes::<V>::load_part(rest).store(&mut value[parts.len()].0);
        }
    }
    let queries = out.len() / width;
    let mut first = 0;
    while first < queries {
        let (together, out) = (queries - first, &mut out[first * width..]);
        first += if together > LANES {
            block::<V, R, P, P>(head, first, tokens, scratch, out)
        } else {
            block::<V, R, 1, P>(head, first, tokens, scratch, out)
        };
    }
}

/// Computes `Q` blocks of queries, or as many queries as `out` has rows, and returns their number.
///
/// `R` and `P` are the rows and blocks of a tile. Scores of 16 queries are computed side by side,
/// so the maximum and the sum are taken across registers.
#[inline(always)]
fn block<V: Vector, const R: usize, const Q: usize, const P: usize>(
    head: AttentionHead<'_>,
    query: usize,
    tokens: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
) -> usize {
    let AttentionHead { width, d, first, .. } = head;
    let blocks = d.div_ceil(LANES);
    let (keys, values) = (&scratch.keys[..tokens * d], &scratch.values[..tokens * blocks]);
    let queries = at_least(&mut scratch.queries, d * Q, Line::ZERO);
    let weights = at_least(&mut scratch.weights, tokens.next_multiple_of(R) * Q, Line::ZERO);
    let count = (out.len() / width).min(Q * LANES);
    transpose::<V>(head, query, count, queries, Q);
    let scale = 1.0 / (d as f32).sqrt();

    let mut most = [Lanes::<V>::splat(f32::NEG_INFINITY); Q];
    for token in (0..tokens).step_by(R) {
        let rows = std::array::from_fn(|r| &keys[(token + r).min(tokens - 1) * d..][..d]);
        let scores = product::<V, R, Q>(d, rows, 1, queries, Q, 1);
        let weights = &mut weights[token * Q..][..R * Q];
        for r in 0..R {
            for q in 0..Q {
                let score = scores[r][q] * scale;
                most[q] = score.max(most[q]);
                score.store(&mut weights[r * Q + q].0);
            }
        }
    }

    let weights = &mut weights[..tokens * Q];
    let mut sums = [Lanes::<V>::splat(0.0); Q];
    let mut rest = &mut *weights;
    if V::REGISTERS >= 32 {
        let (together, few) = rest.as_chunks_mut::<TOGETHER>();
        for scores in together {
            exponentials(scores, &most, &mut sums);
        }
        rest = few;
    }
    for scores in rest.as_chunks_mut::<Q>().0 {
        exponentials(scores, &most, &mut sums);
    }
    let mut factors = [[0.0; LANES]; Q];
    for q in 0..Q {
        (Lanes::splat(1.0) / sums[q]).store(&mut factors[q]);
    }

    let weights = flat(weights);
    for row in (0..count).step_by(R) {
        let of_row = std::array::from_fn(|r| &weights[row + r..]);
        let factors = &factors.as_flattened()[row..][..R];
        let out = &mut out[row * width + first..];
        let together = blocks / P * P;
        for block in (0..together).step_by(P) {
            let values = &values[block..];
            let tile = product::<V, R, P>(tokens, of_row, Q * LANES, values, blocks, 1);
            let (column, rows) = (block * LANES, R.min(count - row));
            write(
                scaled(tile, factors),
                rows,
                (d - column).min(P * LANES),
                &mut out[column..],
                width,
            );
        }
        for block in together..blocks {
            let values = &values[block..];
            let tile = product::<V, R, 1>(tokens, of_row, Q * LANES, values, blocks, 1);
            let (column, rows) = (block * LANES, R.min(count - row));
            write(scaled(tile, factors), rows, (d - column).min(LANES), &mut out[column..], width);
        }
    }
    count
}

/// Replaces scores by `exp(score - most)` and adds these to `sums`. Scores of the blocks of queries
/// alternate.
#[inline(always)]
fn exponentials<V: Vector, const N: usize, const Q: usize>(
    scores: &mut [Line; N],
    most: &[Lanes<V>; Q],
    sums: &mut [Lanes<V>; Q],
) {
    let mut below = [V::splat(0.0); N];
    for i in 0..N {
        below[i] = (Lanes::load(&scores[i].0) - most[i % Q]).0;
    }
    let weights = exp(Lanes(below)).0;
    for i in 0..N {
        let weight = Lanes(weights[i]);
        sums[i % Q] = sums[i % Q] + weight;
        weight.store(&mut scores[i].0);
    }
}

/// Multiplies every row of a tile by its factor.
#[inline(always)]
fn scaled<V: Vector, const R: usize, const P: usize>(
    mut tile: [[Lanes<V>; P]; R],
    factors: &[f32],
) -> [[Lanes<V>; P]; R] {
    for r in 0..R {
        for p in 0..P {
            tile[r][p] = tile[r][p] * factors[r];
        }
    }
    tile
}

/// Number of columns that are transposed together.
const FOUR: usize = 4;

/// Writes `count` queries to the lanes of `to`, which has a row of `blocks` for every column. The
/// last query fills the lanes after it.
#[inline(always)]
fn transpose<V: Vector>(
    head: AttentionHead<'_>,
    first: usize,
    count: usize,
    to: &mut [Line],
    blocks: usize,
) {
    for block in 0..blocks {
        let mut rows = [std::ptr::null(); LANES];
        for (lane, row) in rows.iter_mut().enumerate() {
            *row = head.part(first + (block * LANES + lane).min(count - 1), 0).as_ptr();
        }
        let whole = head.d / FOUR * FOUR;
        let (fours, rest) = to.split_at_mut(whole * blocks);
        for (step, columns) in fours.chunks_exact_mut(FOUR * blocks).enumerate() {
            // SAFETY: a row has `head.d` floats, which include these four.
            let four = unsafe { Lanes::<V>::transposed(&rows, step * FOUR) };
            for c in 0..FOUR {
                four[c].store(&mut columns[c * blocks + block].0);
            }
        }
        for (i, columns) in rest.chunks_exact_mut(blocks).enumerate() {
            for (lane, row) in columns[block].0.iter_mut().zip(rows) {
                // SAFETY: the float is one of the last columns of a row of `head.d` floats.
                *lane = unsafe { *row.add(whole + i) };
            }
        }
    }
}

/// Returns the first `length` elements of a buffer, which grows if it has fewer.
#[inline(always)]
fn at_least<T: Copy>(buffer: &mut Vec<T>, length: usize, filling: T) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, filling);
    }
    &mut buffer[..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, same_everywhere};

    /// Attention by its definition, in f64, one sentence and one head at a time.
    fn reference(qkv: &[f32], offsets: &[usize], heads: usize, width: usize) -> Vec<f64> {
        let d = width / heads;
        let at = |row: usize, which: usize, head: usize, c: usize| {
            f64::from(qkv[row * 3 * width + which * width + head * d + c])
        };
        let mut out = vec![0.0; offsets[offsets.len() - 1] * width];
        for s in offsets.windows(2) {
            for head in 0..heads {
                for i in s[0]..s[1] {
                    let scores: Vec<f64> = (s[0]..s[1])
                        .map(|j| {
                            let dot: f64 =
                                (0..d).map(|c| at(i, 0, head, c) * at(j, 1, head, c)).sum();
                            dot / (d as f64).sqrt()
                        })
                        .collect();
                    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let e: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                    let sum: f64 = e.iter().sum();
                    for c in 0..d {
                        out[i * width + head * d + c] =
                            (s[0]..s[1]).zip(&e).map(|(j, e)| e / sum * at(j, 2, head, c)).sum();
                    }
                }
            }
        }
        out
    }

    #[test]
    fn equals_the_definition_on_ragged_batches() {
        let mut scratch = Scratch::default();
        for (offsets, heads, width) in [
            (vec![0, 1], 1, 1),
            (vec![0, 3, 4, 9], 2, 6),
            (vec![0, 7, 20], 4, 48),
            (vec![0, 33, 34, 50], 2, 66),
            (vec![0, 16, 17, 80], 3, 96),
            (vec![0, 5, 140], 1, 64),
        ] {
            let rows = offsets[offsets.len() - 1];
            let qkv = floats(rows * 3 * width, 9);
            let out = same_everywhere(rows * width, |isa, out| {
                self_attention(isa, &qkv, &offsets, heads, usize::MAX, &mut scratch, out);
            });
            for (a, b) in out.iter().zip(reference(&qkv, &offsets, heads, width)) {
                assert!((f64::from(*a) - b).abs() < 1e-5, "{a} is not {b}");
            }
            let sentences = offsets.len() - 1;
            let firsts = same_everywhere(sentences * width, |isa, out| {
                self_attention(isa, &qkv, &offsets, heads, 1, &mut scratch, out);
            });
            for (first, start) in firsts.chunks(width).zip(&offsets) {
                assert_eq!(first, &out[start * width..][..width]);
            }
        }
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let qkv: Vec<f32> = floats(20 * 3 * 8, 3).iter().map(|x| x * 100.0).collect();
        let mut out = vec![f32::NAN; 20 * 8];
        self_attention(
            Isa::detect(),
            &qkv,
            &[0, 20],
            2,
            usize::MAX,
            &mut Scratch::default(),
            &mut out,
        );
        for (a, b) in out.iter().zip(reference(&qkv, &[0, 20], 2, 8)) {
            assert!((f64::from(*a) - b).abs() < 0.2, "{a} is not {b}");
        }
    }
}
