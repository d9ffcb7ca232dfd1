//! Multi-head self-attention within each sentence (Vaswani et al. 2017).

/// `out[i] = Σⱼ softmaxⱼ(qᵢ·kⱼ / √d) vⱼ` for every head of every sentence.
///
/// `qkv` is `[rows, 3 · width]`, queries, keys and values side by side; `out` is `[rows, width]`,
/// the heads side by side.
pub fn self_attention(qkv: &[f32], offsets: &[usize], heads: usize, out: &mut [f32]) {
    let rows = offsets.last().copied().unwrap_or(0);
    if rows == 0 {
        return;
    }
    let width = out.len() / rows;
    let d = width / heads;
    let scale = 1.0 / (d as f32).sqrt();
    let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
    let mut weights = vec![0.0f32; longest];
    for sentence in offsets.windows(2) {
        let tokens = sentence[0]..sentence[1];
        let weights = &mut weights[..tokens.len()];
        for head in 0..heads {
            let part = |row: usize, which: usize| {
                let at = row * 3 * width + which * width + head * d;
                &qkv[at..at + d]
            };
            for i in tokens.clone() {
                let q = part(i, 0);
                for (w, j) in weights.iter_mut().zip(tokens.clone()) {
                    *w = dot(q, part(j, 1)) * scale;
                }
                softmax(weights);
                let out = &mut out[i * width + head * d..][..d];
                out.fill(0.0);
                for (w, j) in weights.iter().zip(tokens.clone()) {
                    for (o, v) in out.iter_mut().zip(part(j, 2)) {
                        *o += w * v;
                    }
                }
            }
        }
    }
}

/// Eight sums side by side, so that the compiler can vectorize a sum it may not reorder.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for (s, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *s += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

fn softmax(x: &mut [f32]) {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = libm::expf(*x - largest);
        sum += *x;
    }
    x.iter_mut().for_each(|x| *x /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

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
                    let e: Vec<f64> = (s[0]..s[1])
                        .map(|j| {
                            let dot: f64 =
                                (0..d).map(|c| at(i, 0, head, c) * at(j, 1, head, c)).sum();
                            (dot / (d as f64).sqrt()).exp()
                        })
                        .collect();
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
        for (offsets, heads, width) in
            [(vec![0, 1], 1, 1), (vec![0, 3, 4, 9], 2, 6), (vec![0, 7, 20], 4, 48)]
        {
            let rows = offsets[offsets.len() - 1];
            let qkv: Vec<f32> =
                (0..rows * 3 * width).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
            let mut out = vec![f32::NAN; rows * width];
            self_attention(&qkv, &offsets, heads, &mut out);
            for (a, b) in out.iter().zip(reference(&qkv, &offsets, heads, width)) {
                assert!((f64::from(*a) - b).abs() < 1e-5, "{a} is not {b}");
            }
        }
    }
}
