//! Metrics of a classifier, from labels and probabilities.
//!
//! Functions that compare lists return [`Error::Measure`] if the lists differ in length.

use crate::Error;
use crate::rng::Rng;
use edge_runtime::task::single_label::{argmax, softmax};
use serde::{Deserialize, Serialize};

/// 97.5 % point of the normal distribution, for intervals of 95 %.
const Z: f64 = 1.959963984540054;
/// Number of bins of the calibration error.
const BINS: usize = 15;
/// Number of resamples of the bootstrap.
const RESAMPLES: usize = 2000;

/// A share of sentences, 0 to 1, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proportion {
    /// The share.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

impl Proportion {
    /// Computes `count` / `of` with the score interval (Wilson 1927), which also holds near 0 and
    /// 1. With `of` 0 the value is 0 and the interval is 0 to 1.
    pub fn wilson(count: usize, of: usize) -> Self {
        if of == 0 {
            return Proportion { value: 0.0, low: 0.0, high: 1.0 };
        }
        let n = of as f64;
        let value = count as f64 / n;
        let scale = 1.0 + Z * Z / n;
        let centre = (value + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
        // At 0 and 1 the interval touches the value, but for rounding.
        let low = if count == 0 { 0.0 } else { centre - half };
        let high = if count == of { 1.0 } else { centre + half };
        Proportion { value, low, high }
    }
}

/// The share of sentences whose label is right.
///
/// # Errors
/// [`Error::Measure`] if the lists differ in length.
pub fn accuracy(truth: &[u32], predicted: &[u32]) -> Result<Proportion, Error> {
    same_length(truth.len(), predicted.len())?;
    let right = truth.iter().zip(predicted).filter(|(t, p)| t == p).count();
    Ok(Proportion::wilson(right, truth.len()))
}

/// F1: the harmonic mean of precision and recall, 0 to 1, as scikit-learn defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct F1 {
    /// F1 of each label; 0 for a label that is neither true nor predicted.
    pub per_class: Vec<f64>,
    /// Mean over the labels that are true or predicted for some text.
    pub macro_mean: f64,
    /// F1 of the last label, the positive one, if there are two labels.
    pub positive: Option<f64>,
}

/// Computes F1 of each of `labels` labels.
///
/// # Errors
/// [`Error::Measure`] if the lists differ in length.
pub fn f1(truth: &[u32], predicted: &[u32], labels: usize) -> Result<F1, Error> {
    same_length(truth.len(), predicted.len())?;
    let mut occurring = 0;
    let per_class: Vec<f64> = (0..labels as u32)
        .map(|label| {
            let (mut both, mut either) = (0, 0);
            for (t, p) in truth.iter().zip(predicted) {
                both += usize::from(*t == label && *p == label);
                either += usize::from(*t == label) + usize::from(*p == label);
            }
            occurring += usize::from(either > 0);
            2.0 * both as f64 / either.max(1) as f64
        })
        .collect();
    let macro_mean = per_class.iter().sum::<f64>() / occurring.max(1) as f64;
    let positive = (labels == 2).then(|| per_class[1]);
    Ok(F1 { per_class, macro_mean, positive })
}

/// Computes the expected calibration error, 0 to 1: the gap between the largest probability and the
/// accuracy, in 15 bins of equal width (Guo et al. 2017, "On Calibration of Modern Neural
/// Networks"). `logits` is `[sentence][label]`.
///
/// # Errors
/// [`Error::Measure`] if the lists differ in length.
pub fn calibration_error(truth: &[u32], logits: &[&[f32]]) -> Result<f64, Error> {
    same_length(truth.len(), logits.len())?;
    // Each bin contains the sum of the probabilities, less the number of right labels.
    let mut bins = [0.0; BINS];
    for (truth, logits) in truth.iter().zip(logits) {
        let label = argmax(logits);
        let p = softmax(logits).get(label).copied().map_or(0.0, f64::from);
        // A bin includes its upper end.
        let bin = (p * BINS as f64).ceil() as usize;
        bins[bin.clamp(1, BINS) - 1] += p - f64::from(u8::from(label == *truth as usize));
    }
    Ok(bins.iter().map(|gap| gap.abs()).sum::<f64>() / truth.len().max(1) as f64)
}

/// Counts the sentences that leave at each exit.
pub fn histogram(exit: &[usize], exits: usize) -> Vec<usize> {
    let mut counts = vec![0; exits];
    exit.iter().filter(|e| **e < exits).for_each(|e| counts[*e] += 1);
    counts
}

/// McNemar's test for two classifiers that err equally often on the same sentences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Sentences that only the first gets right.
    pub only_first: usize,
    /// Sentences that only the second gets right.
    pub only_second: usize,
    /// Probability of a difference at least as large if both erred equally often.
    pub p: f64,
}

impl McNemar {
    /// Computes the exact two-sided test: a fair coin for each sentence that only one classifier
    /// gets right.
    pub fn exact(only_first: usize, only_second: usize) -> Self {
        let n = only_first + only_second;
        // Logarithms avoid underflow: powers of two underflow from a thousand sentences on.
        let mut term = -(n as f64) * std::f64::consts::LN_2;
        let mut sum = term.exp();
        for k in 0..only_first.min(only_second) {
            term += (((n - k) as f64) / ((k + 1) as f64)).ln();
            sum += term.exp();
        }
        McNemar { only_first, only_second, p: (2.0 * sum).min(1.0) }
    }
}

/// Computes McNemar's exact test of two classifiers on the same sentences.
///
/// # Errors
/// [`Error::Measure`] if the lists differ in length.
pub fn mcnemar(truth: &[u32], first: &[u32], second: &[u32]) -> Result<McNemar, Error> {
    let differences = differences(truth, first, second)?;
    let count = |sign: i64| differences.iter().filter(|d| **d == sign).count();
    Ok(McNemar::exact(count(-1), count(1)))
}

/// Computes the accuracy of the second classifier less that of the first, −1 to 1. The 95 %
/// interval is that of the paired bootstrap, with 2,000 resamples of the sentences (Efron &
/// Tibshirani 1993). The resamples are the same in every run.
///
/// # Errors
/// [`Error::Measure`] if the lists differ in length.
pub fn difference(truth: &[u32], first: &[u32], second: &[u32]) -> Result<Proportion, Error> {
    let differences = differences(truth, first, second)?;
    let n = differences.len();
    if n == 0 {
        return Ok(Proportion { value: 0.0, low: -1.0, high: 1.0 });
    }
    let mean = |sum: i64| sum as f64 / n as f64;
    let mut random = Rng::new(&[1]);
    let mut sums: Vec<i64> =
        (0..RESAMPLES).map(|_| (0..n).map(|_| differences[random.below(n)]).sum()).collect();
    sums.sort_unstable();
    // The same number of resamples is below the interval and above it.
    let outside = RESAMPLES / 40;
    Ok(Proportion {
        value: mean(differences.iter().sum()),
        low: mean(sums[outside]),
        high: mean(sums[RESAMPLES - 1 - outside]),
    })
}

/// Difference of each sentence: 1 if only the second classifier is right, −1 if only the first.
fn differences(truth: &[u32], first: &[u32], second: &[u32]) -> Result<Vec<i64>, Error> {
    same_length(truth.len(), first.len())?;
    same_length(truth.len(), second.len())?;
    let right = |p: &u32, t: &u32| i64::from(p == t);
    Ok((truth.iter().zip(first).zip(second)).map(|((t, a), b)| right(b, t) - right(a, t)).collect())
}

fn same_length(truth: usize, other: usize) -> Result<(), Error> {
    if truth == other {
        return Ok(());
    }
    Err(Error::Measure(format!("{other} answers for {truth} true labels; expected one for each")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1.0)
    }

    /// statsmodels 0.14: `proportion_confint(count, n, method="wilson")`.
    #[test]
    fn wilson_as_in_statsmodels() {
        for (count, n, low, high) in [
            (0, 10, 0.0, 0.27753279986288926),
            (8, 10, 0.49016247153664183, 0.9433178485456247),
            (90, 100, 0.8256343384950865, 0.9447708629393249),
            (871, 872, 0.9935329260468037, 0.9997975348923717),
            (10, 10, 0.7224672001371106, 1.0),
        ] {
            let p = Proportion::wilson(count, n);
            assert!(close(p.low, low) && close(p.high, high), "{count} of {n}: {p:?}");
            assert!(p.low <= p.value && p.value <= p.high);
        }
    }

    /// scikit-learn: `f1_score(truth, predicted, average=None)` and `average="macro"`.
    #[test]
    fn f1_as_in_scikit_learn() {
        let f = f1(&[0, 1, 2, 0, 1, 2, 0, 1, 2, 0], &[0, 2, 1, 0, 0, 2, 0, 1, 2, 1], 3).unwrap();
        for (a, b) in f.per_class.iter().zip([0.75, 1.0 / 3.0, 2.0 / 3.0]) {
            assert!(close(*a, b), "{f:?}");
        }
        assert!(close(f.macro_mean, 0.5833333333333334) && f.positive.is_none());
        let f = f1(&[0, 1, 1, 0, 1, 1], &[0, 1, 0, 1, 1, 1], 2).unwrap();
        assert_eq!((f.per_class, f.positive), (vec![0.5, 0.75], Some(0.75)));
        let absent = f1(&[0, 1], &[0, 0], 3).unwrap();
        assert!(close(absent.per_class[0], 2.0 / 3.0) && absent.per_class[1..] == [0.0, 0.0]);
    }

    /// `tests/goldens/make_metrics.py`: scikit-learn, SciPy and numpy.
    #[test]
    fn figures_are_those_of_scikit_learn_and_scipy() {
        let text = std::fs::read_to_string("../tests/goldens/metrics.json").unwrap();
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let cases = |kind: &str| golden[kind].as_array().unwrap().clone();
        let number = |case: &serde_json::Value, name: &str| case[name].as_f64().unwrap();
        let count = |case: &serde_json::Value, name: &str| case[name].as_u64().unwrap() as usize;
        fn list<T: serde::de::DeserializeOwned>(case: &serde_json::Value, name: &str) -> T {
            serde_json::from_value(case[name].clone()).unwrap()
        }
        for case in cases("f1") {
            let (truth, predicted): (Vec<u32>, Vec<u32>) =
                (list(&case, "truth"), list(&case, "predicted"));
            let ours = f1(&truth, &predicted, count(&case, "labels")).unwrap();
            assert!(close(ours.macro_mean, number(&case, "macro")), "{ours:?}, not {case}");
            assert_eq!(ours.positive.is_some(), case["positive"].is_number());
            if let Some(positive) = ours.positive {
                assert!(close(positive, number(&case, "positive")), "{ours:?}, not {case}");
            }
            let theirs: Vec<f64> = list(&case, "per_class");
            assert_eq!(ours.per_class.len(), theirs.len());
            for (a, b) in ours.per_class.iter().zip(&theirs) {
                assert!(close(*a, *b), "{ours:?}, not {case}");
            }
        }
        for case in cases("wilson") {
            let ours = Proportion::wilson(count(&case, "count"), count(&case, "of"));
            let theirs = (number(&case, "low"), number(&case, "high"));
            assert!(
                close(ours.low, theirs.0) && close(ours.high, theirs.1),
                "{ours:?}, not {case}"
            );
        }
        for case in cases("mcnemar") {
            let ours = McNemar::exact(count(&case, "only_first"), count(&case, "only_second"));
            assert!((ours.p / number(&case, "p") - 1.0).abs() < 1e-9, "{ours:?}, not {case}");
        }
        for case in cases("calibration") {
            let (truth, logits): (Vec<u32>, Vec<Vec<f32>>) =
                (list(&case, "truth"), list(&case, "logits"));
            let rows: Vec<&[f32]> = logits.iter().map(Vec::as_slice).collect();
            let ours = calibration_error(&truth, &rows).unwrap();
            assert!((ours - number(&case, "error")).abs() < 1e-6, "{ours}, not {case}");
        }
    }

    /// numpy, with the bins of the authors' code: `(conf > low) & (conf <= high)`.
    #[test]
    fn calibration_error_as_in_the_paper() {
        let confidence = [0.55f32, 0.62, 0.71, 0.93, 0.97, 0.99, 0.51, 0.88, 0.90, 0.66];
        let right = [1u32, 0, 1, 1, 1, 1, 0, 1, 0, 1];
        let logits: Vec<[f32; 2]> =
            confidence.iter().map(|p| [(p / (1.0 - p)).ln(), 0.0]).collect();
        let rows: Vec<&[f32]> = logits.iter().map(|l| l.as_slice()).collect();
        let truth: Vec<u32> = right.iter().map(|r| 1 - r).collect();
        let error = calibration_error(&truth, &rows).unwrap();
        assert!((error - 0.228).abs() < 1e-6, "{error}");
        // A confident right answer has error 0, a confident wrong answer error 1.
        let sure: [&[f32]; 1] = [&[200.0, -200.0]];
        assert_eq!(calibration_error(&[0], &sure).unwrap(), 0.0);
        assert_eq!(calibration_error(&[1], &sure).unwrap(), 1.0);
    }

    /// scipy 1: `binomtest(b, b + c).pvalue`.
    #[test]
    fn mcnemar_as_in_scipy() {
        for (b, c, p) in [
            (1, 8, 0.0390625),
            (6, 6, 1.0),
            (120, 161, 0.016869296340143808),
            (700, 810, 0.005014536344358142),
        ] {
            let test = McNemar::exact(b, c);
            assert!((test.p / p - 1.0).abs() < 1e-9, "{test:?}");
            assert_eq!(McNemar::exact(c, b).p, test.p, "either way round");
        }
        assert_eq!(McNemar::exact(0, 0).p, 1.0);
        assert!(McNemar::exact(0, 100_000).p == 0.0);
        let near = McNemar::exact(100_000, 100_000).p;
        assert!((near - 1.0).abs() < 1e-6, "{near}");
    }

    #[test]
    fn the_bootstrap_agrees_with_the_normal_interval() {
        let n = 2000;
        let truth = vec![0u32; n];
        let first: Vec<u32> = (0..n).map(|i| u32::from(i % 10 == 0)).collect();
        let second: Vec<u32> = (0..n).map(|i| u32::from(i % 8 == 3)).collect();
        let d = difference(&truth, &first, &second).unwrap();
        assert!(close(d.value, -0.025));
        let test = mcnemar(&truth, &first, &second).unwrap();
        let (b, c) = (test.only_first as f64, test.only_second as f64);
        let n = n as f64;
        let half = Z * ((b + c) / n - (d.value * d.value)).sqrt() / n.sqrt();
        assert!((d.low - (d.value - half)).abs() < 0.002, "{d:?} {half}");
        assert!((d.high - (d.value + half)).abs() < 0.002, "{d:?} {half}");
        assert_eq!(difference(&truth, &first, &second).unwrap(), d, "the same in every run");
        let same = difference(&truth, &first, &first).unwrap();
        assert_eq!((same.value, same.low, same.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn lists_must_be_equally_long() {
        let error = accuracy(&[1, 0], &[1]).unwrap_err().to_string();
        assert!(error.contains("1 answers for 2"), "{error}");
        assert!(f1(&[1], &[], 2).is_err() && calibration_error(&[1], &[]).is_err());
        assert!(mcnemar(&[1], &[1], &[]).is_err() && difference(&[1], &[1, 1], &[1]).is_err());
        assert_eq!(histogram(&[0, 2, 2, 9], 3), [1, 0, 2]);
        assert_eq!(accuracy(&[1, 0, 1, 1], &[1, 0, 0, 1]).unwrap().value, 0.75);
    }
}
