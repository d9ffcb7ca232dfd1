//! One label for each text: probabilities by softmax.

use super::Measure;

/// Measures how sure a model is of its logits.
pub fn measure(measure: Measure, logits: &[f32]) -> f32 {
    match measure {
        Measure::Confidence => confidence(logits),
        Measure::Entropy => normalized_entropy(logits),
        Measure::Margin => margin(logits),
    }
}

/// Probabilities from logits.
///
/// ```
/// let p = edge_runtime::task::single_label::softmax(&[1000.0, 1000.0]);
/// assert_eq!(p, [0.5, 0.5]);
/// ```
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    probabilities(logits).collect()
}

/// Probabilities from logits, without an allocation.
pub(crate) fn probabilities(logits: &[f32]) -> impl Iterator<Item = f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials = logits.iter().map(move |l| libm::expf(l - largest));
    let sum: f32 = exponentials.clone().sum();
    exponentials.map(move |e| e / sum)
}

/// The index of the largest logit; the first one of equal logits.
pub fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, l) in logits.iter().enumerate() {
        if *l > logits[best] {
            best = i;
        }
    }
    best
}

/// The largest probability.
pub fn confidence(logits: &[f32]) -> f32 {
    probabilities(logits).fold(0.0, f32::max)
}

/// The entropy of the probabilities, divided by the logarithm of their number.
pub fn normalized_entropy(logits: &[f32]) -> f32 {
    if logits.len() < 2 {
        return 0.0;
    }
    let entropy: f32 =
        probabilities(logits).map(|p| if p > 0.0 { -p * libm::logf(p) } else { 0.0 }).sum();
    entropy / libm::logf(logits.len() as f32)
}

/// The largest probability less the second largest.
pub fn margin(logits: &[f32]) -> f32 {
    let (mut first, mut second) = (0.0f32, 0.0f32);
    for p in probabilities(logits) {
        if p > first {
            (first, second) = (p, first);
        } else {
            second = second.max(p);
        }
    }
    first - second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert!((margin(&[0.0, 0.0, -1e9]) - 0.0).abs() < 1e-6);
        assert!((normalized_entropy(&[0.0, 0.0, 0.0]) - 1.0).abs() < 1e-6);
        let p = softmax(&[2.0f32.ln(), 0.0]);
        assert!((p[0] - 2.0 / 3.0).abs() < 1e-6);
        assert!((margin(&[2.0f32.ln(), 0.0]) - 1.0 / 3.0).abs() < 1e-6);
    }
}
