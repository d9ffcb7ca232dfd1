//! Exit policies: rules by which a text leaves the network, from the certainty at an exit.
//!
//! A policy knows no labels: a [`Task`] measures the certainty, and an [`ExitWalk`] lets texts leave.
//!
//! * *confidence*: the largest probability (BranchyNet's successors, e.g. Schwartz et al. 2020,
//!   "The Right Tool for the Job").
//! * *entropy*: the normalized entropy of the probabilities (DeeBERT, Xin et al. 2020).
//! * *margin*: the largest probability less the second largest.
//! * *patience*: the number of exits in a row with the same label (PABEE, Zhou et al. 2020).
//!
//! A threshold at the unreachable end of its scale (confidence 1, entropy 0, margin 1) keeps every
//! sentence, even one whose probability rounds to 1. Thus a policy can skip an exit.

mod walk;

pub use walk::{ExitRule, ExitWalk, Left, Logits};

use crate::Error;
use crate::task::Measure;
#[cfg(doc)]
use crate::task::Task;
use serde::{Deserialize, Serialize};

/// Rule by which a sentence leaves the network. At the last exit all remaining sentences leave.
///
/// In JSON: `{"kind": "confidence", "threshold": 0.9}`, or with one threshold per exit
/// `{"kind": "confidence", "threshold": [0.98, 0.95, 0.9]}`.
///
/// ```
/// use edge_runtime::ExitPolicy;
/// let policy = ExitPolicy::confidence(0.9);
/// assert!(policy.leaves(0, 0.95, 1));
/// assert!(!policy.leaves(0, 0.52, 1));
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

    /// Returns the measure that the policy reads; `None` for policies without one.
    pub fn measure(&self) -> Option<Measure> {
        match self {
            ExitPolicy::Confidence { .. } => Some(Measure::Confidence),
            ExitPolicy::Entropy { .. } => Some(Measure::Entropy),
            ExitPolicy::Margin { .. } => Some(Measure::Margin),
            ExitPolicy::Never | ExitPolicy::Patience { .. } => None,
        }
    }

    /// Decides whether a text leaves at exit number `exit`, counted from 0.
    ///
    /// `certainty` is the value of [`measure`](Self::measure), or any number without one. `agreeing`
    /// is the number of exits in a row with the same answer, this exit included.
    ///
    /// # Panics
    /// If the policy does not pass [`check`](Self::check) for this model.
    pub fn leaves(&self, exit: usize, certainty: f32, agreeing: usize) -> bool {
        match self {
            ExitPolicy::Never => false,
            ExitPolicy::Confidence { threshold } | ExitPolicy::Margin { threshold } => {
                let threshold = threshold.at(exit);
                threshold < 1.0 && certainty >= threshold
            }
            ExitPolicy::Entropy { threshold } => {
                let threshold = threshold.at(exit);
                threshold > 0.0 && certainty <= threshold
            }
            ExitPolicy::Patience { threshold } => agreeing >= *threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::task::Task;
    use crate::task::single_label::{confidence, normalized_entropy};

    const SURE: [f32; 2] = [4.0, -4.0];
    const UNSURE: [f32; 2] = [0.2, -0.2];

    fn leaves(policy: &ExitPolicy, exit: usize, passed: &[[f32; 2]]) -> bool {
        let task = Task::SingleLabel { labels: vec!["no".into(), "yes".into()] };
        ExitRule { task: &task, policy }.leaves(exit, passed)
    }

    #[test]
    fn each_policy_lets_the_sure_leave_and_keeps_the_unsure() {
        for policy in
            [ExitPolicy::confidence(0.9), ExitPolicy::entropy(0.2), ExitPolicy::margin(0.8)]
        {
            assert!(leaves(&policy, 0, &[SURE]), "{policy:?}");
            assert!(!leaves(&policy, 0, &[UNSURE]), "{policy:?}");
        }
        assert!(!leaves(&ExitPolicy::Never, 0, &[SURE]));
    }

    #[test]
    fn patience_counts_agreeing_exits() {
        let patience = ExitPolicy::patience(2);
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert!(!leaves(&patience, 0, &[a]));
        assert!(!leaves(&patience, 1, &[a, b]));
        assert!(leaves(&patience, 2, &[a, b, b]));
    }

    #[test]
    fn a_threshold_per_exit_is_used_at_that_exit() {
        let policy = ExitPolicy::Confidence { threshold: Thresholds::PerExit(vec![1.0, 0.5]) };
        assert!(!leaves(&policy, 0, &[UNSURE]));
        assert!(leaves(&policy, 1, &[UNSURE, UNSURE]));
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
            assert!(!leaves(&policy, 0, &[certain]), "{policy:?}");
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
