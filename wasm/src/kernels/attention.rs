//! Multi-head self-attention within each sentence (Vaswani et al. 2017).

use super::isa::{Isa, compiled};
use super::lanes::{LANES, Lanes, flat, product};
use super::math::exp;

/// Memory of [`self_attention`], used again by the next call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Keys of a head: `[tokens][d]`.
    keys: Vec<f32>,
    /// Values of a head: `[tokens][blocks of 16 columns]`.
    values: Vec<Lanes>,
    /// Some queries of a head, transposed: `[d][blocks of 16 queries]`.
    queries: Vec<Lanes>,
    /// What these queries give to each token, first scores and then weights:
    /// `[tokens][blocks of 16 queries]`.
    weights: Vec<Lanes>,
}

/// `out[i] = Σⱼ softmaxⱼ(qᵢ·kⱼ / √d) vⱼ` for every head of the first `queries` tokens of every
/// sentence; all tokens if it has fewer.
///
/// `qkv` is `[rows, 3 · width]`, queries, keys and values side by side; `out` is `[queries, width]`,
/// the heads side by side.
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
fn sentences<const BLOCKS: usize>(
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
            let head = Head { qkv, width, d: width / heads, first: head * (width / heads) };
            match BLOCKS {
                16 => attend::<4, 2>(head, scratch, first),
                4 => attend::<4, 1>(head, scratch, first),
                _ => attend::<2, 1>(head, scratch, first),
            }
        }
    }
}

/// One head of one sentence.
#[derive(Clone, Copy)]
struct Head<'a> {
    qkv: &'a [f32],
    width: usize,
    d: usize,
    /// Its first column.
    first: usize,
}

impl Head<'_> {
    /// The query (0), key (1) or value (2) of a token.
    #[inline(always)]
    fn part(&self, token: usize, which: usize) -> &[f32] {
        &self.qkv[token * 3 * self.width + which * self.width + self.first..][..self.d]
    }
}

/// One head of one sentence, by up to `P` blocks of 16 queries: as many as `out` has rows.
#[inline(always)]
fn attend<const R: usize, const P: usize>(head: Head<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    let Head { qkv, width, d, .. } = head;
    let tokens = qkv.len() / (3 * width);
    let blocks = d.div_ceil(LANES);
    // Side by side: in `qkv` they are so far apart that caches hold few of them.
    let keys = at_least(&mut scratch.keys, tokens * d, 0.0);
    for (token, key) in keys.chunks_exact_mut(d).enumerate() {
        copy(head.part(token, 1), key);
    }
    let values = at_least(&mut scratch.values, tokens * blocks, Lanes::ZERO);
    for (token, value) in values.chunks_exact_mut(blocks).enumerate() {
        for (block, part) in value.iter_mut().zip(head.part(token, 2).chunks(LANES)) {
            copy(part, &mut block.0[..part.len()]);
        }
    }
    let queries = out.len() / width;
    let mut first = 0;
    while first < queries {
        let (together, out) = (queries - first, &mut out[first * width..]);
        first += if together > LANES {
            block::<R, P, P>(head, first, tokens, scratch, out)
        } else {
            block::<R, 1, P>(head, first, tokens, scratch, out)
        };
    }
}

/// `Q` blocks of queries, or as many as `out` has rows; gives their number. `R` and `P` are the rows
/// and blocks of a tile.
///
/// Scores are computed for 16 queries side by side, so that neither the largest one nor the sum is
/// looked for within a register.
#[inline(always)]
fn block<const R: usize, const Q: usize, const P: usize>(
    head: Head<'_>,
    query: usize,
    tokens: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
) -> usize {
    let Head { width, d, first, .. } = head;
    let blocks = d.div_ceil(LANES);
    let (keys, values) = (&scratch.keys[..tokens * d], &scratch.values[..tokens * blocks]);
    let queries = at_least(&mut scratch.queries, d * Q, Lanes::ZERO);
    let weights = at_least(&mut scratch.weights, tokens.next_multiple_of(R) * Q, Lanes::ZERO);
    let count = (out.len() / width).min(Q * LANES);
    transpose(head, query, count, queries, Q);
    let scale = 1.0 / (d as f32).sqrt();

    for token in (0..tokens).step_by(R) {
        let rows = std::array::from_fn(|r| &keys[(token + r).min(tokens - 1) * d..][..d]);
        let scores = product::<R, Q>(rows, queries, Q, 1);
        let weights = &mut weights[token * Q..][..R * Q];
        for r in 0..R {
            for q in 0..Q {
                weights[r * Q + q] = scores[r][q].times(scale);
            }
        }
    }

    let weights = &mut weights[..tokens * Q];
    let mut most = [[f32::NEG_INFINITY; LANES]; Q];
    for scores in weights.as_chunks::<Q>().0 {
        for q in 0..Q {
            for l in 0..LANES {
                most[q][l] = if scores[q].0[l] > most[q][l] { scores[q].0[l] } else { most[q][l] };
            }
        }
    }
    let mut sums = [[0.0; LANES]; Q];
    for scores in weights.as_chunks_mut::<Q>().0 {
        for q in 0..Q {
            for l in 0..LANES {
                scores[q].0[l] = exp(scores[q].0[l] - most[q][l]);
                sums[q][l] += scores[q].0[l];
            }
        }
    }

    for row in (0..count).step_by(R) {
        let factors = std::array::from_fn(|r| 1.0 / sums.as_flattened()[row + r]);
        let out = &mut out[row * width..];
        let together = blocks / P * P;
        for block in (0..together).step_by(P) {
            let tile = sum::<R, Q, P>(weights, row, &values[block..], blocks);
            write(&tile, factors, out, width, first + block * LANES, d - block * LANES);
        }
        for block in together..blocks {
            let tile = sum::<R, Q, 1>(weights, row, &values[block..], blocks);
            write(&tile, factors, out, width, first + block * LANES, d - block * LANES);
        }
    }
    count
}

/// Of `R` queries the values, each times its weight, summed up: `P` blocks of columns.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn sum<const R: usize, const Q: usize, const P: usize>(
    weights: &[Lanes],
    query: usize,
    values: &[Lanes],
    step: usize,
) -> [[Lanes; P]; R] {
    let mut sums = [[Lanes::ZERO; P]; R];
    let weights = flat(weights);
    // Weights of neighbours are loaded one by one: shown that they stand side by side, the compiler
    // shuffles whole tiles to load them together.
    let rows: [&[f32]; R] = std::array::from_fn(|r| std::hint::black_box(&weights[query + r..]));
    for token in 0..weights.len() / (Q * LANES) {
        let values: [Lanes; P] = std::array::from_fn(|p| values[token * step + p]);
        for r in 0..R {
            for p in 0..P {
                sums[r][p].add_product(rows[r][token * Q * LANES], &values[p]);
            }
        }
    }
    sums
}

/// Writes the rows of a tile that `out` has, each times its factor, from `column` on, of which the head has `columns` more.
#[inline(always)]
fn write<const R: usize, const P: usize>(
    tile: &[[Lanes; P]; R],
    factors: [f32; R],
    out: &mut [f32],
    width: usize,
    column: usize,
    columns: usize,
) {
    let rows = out.len() / width;
    // Loops of fixed lengths are unrolled, without which the tile would be in memory all the time.
    for r in 0..R {
        for p in 0..P {
            if r < rows {
                let columns = LANES.min(columns - p * LANES);
                copy(
                    &tile[r][p].times(factors[r]).0[..columns],
                    &mut out[r * width + column + p * LANES..][..columns],
                );
            }
        }
    }
}

/// Copies as many by sixteens, which are moved by registers and not by a call.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) =
        (from.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
    for (from, to) in from.iter().zip(to) {
        *to = *from;
    }
    to_rest[..from_rest.len()].copy_from_slice(from_rest);
}

/// Tokens and columns that are transposed together, in registers of four.
const FOUR: usize = 4;

/// Writes `count` queries to the lanes of `to`, which has a row of `blocks` for every column. Where
/// queries end, the last one is written again.
#[inline(always)]
fn transpose(head: Head<'_>, first: usize, count: usize, to: &mut [Lanes], blocks: usize) {
    for query in (0..blocks * LANES).step_by(FOUR) {
        let lane = query % LANES;
        let row = |i: usize| head.part(first + (query + i).min(count - 1), 0).as_chunks::<FOUR>();
        let ((a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)) = (row(0), row(1), row(2), row(3));
        let mut at = query / LANES;
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            for column in 0..FOUR {
                let queries = [a[column], b[column], c[column], d[column]];
                to[at].0[lane..lane + FOUR].copy_from_slice(&queries);
                at += blocks;
            }
        }
        for column in 0..a_rest.len() {
            let queries = [a_rest[column], b_rest[column], c_rest[column], d_rest[column]];
            to[at].0[lane..lane + FOUR].copy_from_slice(&queries);
            at += blocks;
        }
    }
}

/// The first `length` elements of a buffer, which grows if it has fewer.
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

    /// Straight from the definition, in f64, one sentence and one head at a time.
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
