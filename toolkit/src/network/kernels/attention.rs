//! Self-attention (Vaswani et al. 2017) over concatenated sentences without padding.

use super::dropout::Dropout;
use super::{axpy, dot, exp};
use multiversion::multiversion;
use rayon::prelude::*;

/// Positions of the sentences, and settings of the attention.
pub struct Sentences<'a> {
    /// First row of every sentence, followed by the number of all rows.
    pub starts: &'a [usize],
    /// Number of attention heads.
    pub heads: usize,
    /// Dropout of the attention probabilities.
    pub dropout: Option<Dropout>,
}

impl Sentences<'_> {
    /// Position, for dropout, of the probability from row `query` to the first row of its sentence
    /// in `head`. Positions are distinct for sentences of up to 512 tokens.
    pub fn position(heads: usize, query: usize, head: usize) -> u32 {
        ((query * heads + head) as u32).wrapping_mul(512)
    }
}

/// One sentence; each slice is `[tokens, width]`.
struct SentenceRows<'a> {
    first: usize,
    width: usize,
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
}

/// Computes the weighted sums of the values, `[rows, width]`, the shape of `query`, `key` and
/// `value`.
pub fn forward(
    sentences: &Sentences,
    query: &[f32],
    key: &[f32],
    value: &[f32],
    width: usize,
) -> Vec<f32> {
    let mut out = vec![0.0; query.len()];
    let mut parts = Vec::with_capacity(sentences.starts.len());
    let mut rest = out.as_mut_slice();
    for span in sentences.starts.windows(2) {
        let (of_this, of_others) = rest.split_at_mut((span[1] - span[0]) * width);
        parts.push((part(span, query, key, value, width), of_this));
        rest = of_others;
    }
    parts.into_par_iter().for_each_init(Vec::new, |scratch, (part, out)| {
        forward_part(&part, sentences.heads, sentences.dropout.as_ref(), scratch, out);
    });
    out
}

fn part<'a>(
    span: &[usize],
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    width: usize,
) -> SentenceRows<'a> {
    let range = span[0] * width..span[1] * width;
    SentenceRows {
        first: span[0],
        width,
        query: &query[range.clone()],
        key: &key[range.clone()],
        value: &value[range],
    }
}

/// Computes the probabilities from row `i` to the rows of its sentence, in head `head`.
#[inline(always)]
fn probabilities(part: &SentenceRows, size: usize, head: usize, i: usize, out: &mut [f32]) {
    let scale = 1.0 / (size as f32).sqrt();
    let at = |row: usize| row * part.width + head * size..row * part.width + (head + 1) * size;
    let query = &part.query[at(i)];
    let mut largest = f32::NEG_INFINITY;
    for (j, score) in out.iter_mut().enumerate() {
        *score = dot(query, &part.key[at(j)]) * scale;
        largest = largest.max(*score);
    }
    let mut sum = 0.0;
    for score in out.iter_mut() {
        *score = exp(*score - largest);
        sum += *score;
    }
    let inverse = 1.0 / sum;
    out.iter_mut().for_each(|p| *p *= inverse);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn forward_part(
    part: &SentenceRows,
    heads: usize,
    dropout: Option<&Dropout>,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
) {
    let width = part.width;
    let (size, tokens) = (width / heads, out.len() / width);
    scratch.clear();
    scratch.resize(tokens, 0.0);
    for head in 0..heads {
        for i in 0..tokens {
            probabilities(part, size, head, i, scratch);
            if let Some(dropout) = dropout {
                let first = Sentences::position(heads, part.first + i, head);
                for (j, p) in scratch.iter_mut().enumerate() {
                    *p *= dropout.factor(first.wrapping_add(j as u32));
                }
            }
            let out = &mut out[i * width + head * size..][..size];
            for (j, p) in scratch.iter().enumerate() {
                axpy(out, *p, &part.value[j * width + head * size..][..size]);
            }
        }
    }
}

/// Computes the gradients of queries, keys and values, `[rows, width]` each, from that of the
/// result.
pub fn backward(
    sentences: &Sentences,
    query: &[f32],
    key: &[f32],
    value: &[f32],
    gradient: &[f32],
    width: usize,
) -> [Vec<f32>; 3] {
    let mut out = [vec![0.0; query.len()], vec![0.0; query.len()], vec![0.0; query.len()]];
    let mut parts = Vec::with_capacity(sentences.starts.len());
    let [mut d_query, mut d_key, mut d_value] = out.each_mut().map(|d| d.as_mut_slice());
    for span in sentences.starts.windows(2) {
        let range = span[0] * width..span[1] * width;
        let (q, q_rest) = d_query.split_at_mut(range.len());
        let (k, k_rest) = d_key.split_at_mut(range.len());
        let (v, v_rest) = d_value.split_at_mut(range.len());
        parts.push((part(span, query, key, value, width), &gradient[range], [q, k, v]));
        (d_query, d_key, d_value) = (q_rest, k_rest, v_rest);
    }
    parts.into_par_iter().for_each_init(Vec::new, |scratch, (part, gradient, out)| {
        let dropout = sentences.dropout.as_ref();
        backward_part(&part, sentences.heads, dropout, gradient, scratch, out);
    });
    out
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn backward_part(
    part: &SentenceRows,
    heads: usize,
    dropout: Option<&Dropout>,
    gradient: &[f32],
    scratch: &mut Vec<f32>,
    out: [&mut [f32]; 3],
) {
    let width = part.width;
    let (size, tokens) = (width / heads, gradient.len() / width);
    let scale = 1.0 / (size as f32).sqrt();
    let [d_query, d_key, d_value] = out;
    scratch.clear();
    scratch.resize(2 * tokens, 0.0);
    let (p, d) = scratch.split_at_mut(tokens);
    for head in 0..heads {
        let at = |row: usize| row * width + head * size..row * width + (head + 1) * size;
        for i in 0..tokens {
            probabilities(part, size, head, i, p);
            let gradient = &gradient[at(i)];
            let first = Sentences::position(heads, part.first + i, head);
            // `d` becomes the gradient of the probabilities.
            let mut weighted = 0.0;
            for j in 0..tokens {
                let factor = dropout.map_or(1.0, |d| d.factor(first.wrapping_add(j as u32)));
                axpy(&mut d_value[at(j)], p[j] * factor, gradient);
                d[j] = dot(gradient, &part.value[at(j)]) * factor;
                weighted += d[j] * p[j];
            }
            for j in 0..tokens {
                let score = p[j] * (d[j] - weighted) * scale;
                axpy(&mut d_query[at(i)], score, &part.key[at(j)]);
                axpy(&mut d_key[at(j)], score, &part.query[at(i)]);
            }
        }
    }
}
