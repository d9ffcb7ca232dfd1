//! Exit policies: pure functions of the logits of the exits passed so far, to leave or to stay.
//!
//! * *confidence*: the largest probability (BranchyNet's successors, e.g. Schwartz et al. 2020,
//!   "The Right Tool for the Job").
//! * *entropy*: the normalized entropy of the probabilities (DeeBERT, Xin et al. 2020).
//! * *margin*: the largest probability less the second largest.
//! * *patience*: the number of exits in a row with the same label (PABEE, Zhou et al. 2020).
//!
//! A threshold at the unreachable end of its scale (confidence 1, entropy 0, margin 1) keeps every
//! sentence, even one whose probability rounds to 1. Thus a policy can skip an exit.

use crate::Error;
use serde::{Deserialize, Serialize};

/// Rule by which a sentence leaves the network. At the last exit all remaining sentences leave.
///
/// In JSON: `{"kind": "confidence", "threshold": 0.9}`, or with one threshold per exit
/// `{"kind": "confidence", "threshold": [0.98, 0.95, 0.9]}`.
///
/// ```
/// use edge_runtime::ExitPolicy;
/// let policy = ExitPolicy::confidence(0.9);
/// assert_eq!(policy.leaves(0, &[&[3.0, -3.0]]), true);
/// assert_eq!(policy.leaves(0, &[&[0.1, -0.1]]), false);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExitPolicy {
    /// Full depth for every sentence.
    #[default]
    Never,
    /// Leave if the largest probability is at least the threshold, 0 to 1; at 1 all stay.
    Confidence {
        /// The smallest probability that leaves.
        threshold: Thresholds,
    },
    /// Leave if the entropy, divided by the logarithm of the number of labels, is at most the
    /// threshold, 0 to 1; at 0 all stay.
    Entropy {
        /// The largest normalized entropy that leaves.
        threshold: Thresholds,
    },
    /// Leave if the largest probability exceeds the second by at least the threshold, 0 to 1; at 1
    /// all stay.
    Margin {
        /// The smallest margin that leaves.
        threshold: Thresholds,
    },
    /// Leave if a number of exits in a row, this exit included, gave the same label.
    Patience {
        /// The number of exits, 1 or more.
        threshold: usize,
    },
}

/// One threshold for all exits, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Thresholds {
    /// One threshold for every exit.
    Common(f32),
    /// One threshold per exit, in the exits' order.
    PerExit(Vec<f32>),
}

impl Thresholds {
    fn at(&self, exit: usize) -> f32 {
        match self {
            Thresholds::Common(t) => *t,
            Thresholds::PerExit(ts) => ts[exit],
        }
    }

    fn check(&self, exits: usize) -> Result<(), Error> {
        let values = match self {
            Thresholds::Common(t) => std::slice::from_ref(t),
            Thresholds::PerExit(ts) if ts.len() == exits => ts,
            Thresholds::PerExit(ts) => {
                return Err(Error::Policy(format!(
                    "{} thresholds for a model with {exits} exits; give one number, or {exits}",
                    ts.len()
                )));
            }
        };
        match values.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            Some(t) => Err(Error::Policy(format!("threshold {t} is not between 0 and 1"))),
            None => Ok(()),
        }
    }
}

impl ExitPolicy {
    /// [`ExitPolicy::Confidence`] with one threshold for all exits.
    pub fn confidence(threshold: f32) -> Self {
        ExitPolicy::Confidence { threshold: Thresholds::Common(threshold) }
    }

    /// [`ExitPolicy::Entropy`] with one threshold for all exits.
    pub fn entropy(threshold: f32) -> Self {
        ExitPolicy::Entropy { threshold: Thresholds::Common(threshold) }
    }

    /// [`ExitPolicy::Margin`] with one threshold for all exits.
    pub fn margin(threshold: f32) -> Self {
        ExitPolicy::Margin { threshold: Thresholds::Common(threshold) }
    }

    /// [`ExitPolicy::Patience`].
    pub fn patience(exits: usize) -> Self {
        ExitPolicy::Patience { threshold: exits }
    }

    /// Checks that the policy fits a model with a number of exits.
    ///
    /// # Errors
    /// [`Error::Policy`] with the number that is out of range.
    pub fn check(&self, exits: usize) -> Result<(), Error> {
        match self {
            ExitPolicy::Never => Ok(()),
            ExitPolicy::Confidence { threshold }
            | ExitPolicy::Entropy { threshold }
            | ExitPolicy::Margin { threshold } => threshold.check(exits),
            ExitPolicy::Patience { threshold: 0 } => {
                Err(Error::Policy("patience 0; expected 1 exit or more".into()))
            }
            ExitPolicy::Patience { .. } => Ok(()),
        }
    }

    /// Returns true if a sentence leaves at exit number `exit`, counted from 0. `passed` has the
    /// logits of the exits that the sentence has passed, ending with `exit`.
    ///
    /// # Panics
    /// If `passed` is empty, or if [`check`](Self::check) refuses the policy for this model.
    pub fn leaves<L: AsRef<[f32]>>(&self, exit: usize, passed: &[L]) -> bool {
        let here = passed.last().expect("the logits of this exit").as_ref();
        match self {
            ExitPolicy::Never => false,
            ExitPolicy::Confidence { threshold } => {
                let threshold = threshold.at(exit);
                threshold < 1.0 && confidence(here) >= threshold
            }
            ExitPolicy::Entropy { threshold } => {
                let threshold = threshold.at(exit);
                threshold > 0.0 && normalized_entropy(here) <= threshold
            }
            ExitPolicy::Margin { threshold } => {
                let threshold = threshold.at(exit);
                threshold < 1.0 && margin(here) >= threshold
            }
            ExitPolicy::Patience { threshold } => {
                let label = argmax(here);
                passed.len() >= *threshold
                    && passed[passed.len() - threshold..]
                        .iter()
                        .all(|logits| argmax(logits.as_ref()) == label)
            }
        }
    }
}

/// Probabilities from logits.
///
/// ```
/// let p = edge_runtime::exit::softmax(&[1000.0, 1000.0]);
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

    const SURE: [f32; 2] = [4.0, -4.0];
    const UNSURE: [f32; 2] = [0.2, -0.2];

    #[test]
    fn each_policy_lets_the_sure_leave_and_keeps_the_unsure() {
        for policy in
            [ExitPolicy::confidence(0.9), ExitPolicy::entropy(0.2), ExitPolicy::margin(0.8)]
        {
            assert!(policy.leaves(0, &[SURE]), "{policy:?}");
            assert!(!policy.leaves(0, &[UNSURE]), "{policy:?}");
        }
        assert!(!ExitPolicy::Never.leaves(0, &[SURE]));
    }

    #[test]
    fn known_values() {
        assert!((margin(&[0.0, 0.0, -1e9]) - 0.0).abs() < 1e-6);
        assert!((normalized_entropy(&[0.0, 0.0, 0.0]) - 1.0).abs() < 1e-6);
        let p = softmax(&[2.0f32.ln(), 0.0]);
        assert!((p[0] - 2.0 / 3.0).abs() < 1e-6);
        assert!((margin(&[2.0f32.ln(), 0.0]) - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn patience_counts_agreeing_exits() {
        let patience = ExitPolicy::patience(2);
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert!(!patience.leaves(0, &[a]));
        assert!(!patience.leaves(1, &[a, b]));
        assert!(patience.leaves(2, &[a, b, b]));
    }

    #[test]
    fn a_threshold_per_exit_is_used_at_that_exit() {
        let policy = ExitPolicy::Confidence { threshold: Thresholds::PerExit(vec![1.0, 0.5]) };
        assert!(!policy.leaves(0, &[UNSURE]));
        assert!(policy.leaves(1, &[UNSURE, UNSURE]));
        assert!(policy.check(2).is_ok());
        assert!(policy.check(3).unwrap_err().to_string().contains("2 thresholds"));
    }

    #[test]
    fn nothing_leaves_at_the_unreachable_end() {
        let certain = [200.0, -200.0];
        assert_eq!((confidence(&certain), normalized_entropy(&certain)), (1.0, 0.0));
        for policy in
            [ExitPolicy::confidence(1.0), ExitPolicy::entropy(0.0), ExitPolicy::margin(1.0)]
        {
            assert!(!policy.leaves(0, &[certain]), "{policy:?}");
        }
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        for bad in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
            assert!(ExitPolicy::confidence(bad).check(1).is_err(), "{bad}");
        }
        assert!(ExitPolicy::patience(0).check(1).is_err());
    }

    #[test]
    fn json_round_trip() {
        let json = r#"{"kind":"margin","threshold":[0.5,0.25]}"#;
        let policy: ExitPolicy = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<ExitPolicy>(r#"{"kind":"patience","threshold":2}"#).unwrap(),
            ExitPolicy::patience(2)
        );
    }
}
