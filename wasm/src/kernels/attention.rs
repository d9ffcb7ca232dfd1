//! Multi-head self-attention within each sentence (Vaswani et al. 2017).

use super::isa::{Isa, compiled};
use super::lanes::{LANES, Lanes, largest, product, total};
use super::math::exp;

/// Memory of [`self_attention`], used again by the next call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Keys of a head, transposed: `[d][blocks of 16 tokens]`.
    keys: Vec<Lanes>,
    /// Values of a head: `[tokens][blocks of 16 columns]`.
    values: Vec<Lanes>,
    /// A few queries of a head.
    queries: Vec<f32>,
    /// Of these queries the weights of all tokens, filled up to blocks of 16.
    weights: Vec<f32>,
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

/// One head of one sentence, `R` queries together.
#[inline(always)]
fn attend<const R: usize, const P: usize>(head: Head<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    let Head { qkv, width, d, first } = head;
    let tokens = qkv.len() / (3 * width);
    let (token_blocks, column_blocks) = (tokens.div_ceil(LANES), d.div_ceil(LANES));
    let padded = token_blocks * LANES;
    let keys = at_least(&mut scratch.keys, d * token_blocks, Lanes::ZERO);
    let values = at_least(&mut scratch.values, tokens * column_blocks, Lanes::ZERO);
    let queries = at_least(&mut scratch.queries, R * d, 0.0);
    let weights = at_least(&mut scratch.weights, R * padded, 0.0);
    for j in (0..tokens).step_by(FOUR) {
        transpose(head, j, tokens, &mut keys[j / LANES..], token_blocks);
    }
    // What fills up the last block is no token: its scores become −∞.
    let mut filling = [0.0; LANES];
    for (l, x) in filling.iter_mut().enumerate() {
        *x = if (token_blocks - 1) * LANES + l < tokens { 0.0 } else { f32::NEG_INFINITY };
    }
    for (j, values) in values.chunks_exact_mut(column_blocks).enumerate() {
        for (block, value) in values.iter_mut().zip(head.part(j, 2).chunks(LANES)) {
            block.0[..value.len()].copy_from_slice(value);
        }
    }
    let scale = 1.0 / (d as f32).sqrt();
    for (i, out) in out.chunks_mut(R * width).enumerate() {
        let count = out.len() / width;
        for (r, query) in queries.chunks_exact_mut(d).enumerate() {
            // The last queries are computed again where they do not fill a tile.
            let token = i * R + r.min(count - 1);
            query.iter_mut().zip(head.part(token, 0)).for_each(|(q, x)| *q = x * scale);
        }
        let rows = std::array::from_fn(|r| &queries[r * d..(r + 1) * d]);
        multiply::<R, P>(rows, keys, token_blocks, |r, block, scores| {
            let mut scores = scores.0;
            if block + 1 == token_blocks {
                for l in 0..LANES {
                    scores[l] += filling[l];
                }
            }
            weights[r * padded + block * LANES..][..LANES].copy_from_slice(&scores);
        });
        let mut factors = [0.0; R];
        for (row, factor) in weights.chunks_exact_mut(padded).zip(&mut factors) {
            *factor = 1.0 / exponentials(row);
        }
        let rows = std::array::from_fn(|r| &weights[r * padded..][..tokens]);
        multiply::<R, P>(rows, values, column_blocks, |r, block, sums| {
            if r < count {
                let columns = LANES.min(d - block * LANES);
                let out = &mut out[r * width + first + block * LANES..][..columns];
                out.iter_mut().zip(&sums.0).for_each(|(o, s)| *o = s * factors[r]);
            }
        });
    }
}

/// The product of `R` rows with a matrix of `blocks` blocks a row, handed over block by block.
#[inline(always)]
fn multiply<const R: usize, const P: usize>(
    rows: [&[f32]; R],
    matrix: &[Lanes],
    blocks: usize,
    mut take: impl FnMut(usize, usize, &Lanes),
) {
    let together = blocks / P * P;
    for block in (0..together).step_by(P) {
        let sums = product::<R, P>(rows, &matrix[block..], blocks, 1);
        for (r, sums) in sums.iter().enumerate() {
            for (p, sums) in sums.iter().enumerate() {
                take(r, block + p, sums);
            }
        }
    }
    for block in together..blocks {
        let sums = product::<R, 1>(rows, &matrix[block..], blocks, 1);
        for (r, [sums]) in sums.iter().enumerate() {
            take(r, block, sums);
        }
    }
}

/// Puts `exp(x − max x)` in the place of the scores and gives their sum.
///
/// −∞ becomes a number below 2e-38, too small to change a sum of 1 or more.
#[inline(always)]
fn exponentials(row: &mut [f32]) -> f32 {
    let blocks = row.as_chunks_mut::<LANES>().0;
    let mut most = [f32::NEG_INFINITY; LANES];
    for block in blocks.iter() {
        for l in 0..LANES {
            most[l] = if block[l] > most[l] { block[l] } else { most[l] };
        }
    }
    let most = largest(most);
    let mut sums = [0.0; LANES];
    for block in blocks {
        let mut exponentials = [0.0; LANES];
        for l in 0..LANES {
            exponentials[l] = exp(block[l] - most);
            sums[l] += exponentials[l];
        }
        *block = exponentials;
    }
    total(sums)
}

/// Tokens and columns that are transposed together, in registers of four.
const FOUR: usize = 4;

/// Writes the keys of four tokens to their places in the lanes of `keys`, which has a row of
/// `blocks` for every column. Where tokens end, the last one is written again.
#[inline(always)]
fn transpose(head: Head<'_>, token: usize, tokens: usize, keys: &mut [Lanes], blocks: usize) {
    let lane = token % LANES;
    let row = |t: usize| head.part((token + t).min(tokens - 1), 1).as_chunks::<FOUR>();
    let ((a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)) = (row(0), row(1), row(2), row(3));
    let mut at = 0;
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        for column in 0..FOUR {
            keys[at].0[lane..lane + FOUR]
                .copy_from_slice(&[a[column], b[column], c[column], d[column]]);
            at += blocks;
        }
    }
    for column in 0..a_rest.len() {
        keys[at].0[lane..lane + FOUR].copy_from_slice(&[
            a_rest[column],
            b_rest[column],
            c_rest[column],
            d_rest[column],
        ]);
        at += blocks;
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
