//! Calibration of the exit policy: the fewest layers within an accuracy budget.

mod search;

use super::outcome::Outcomes;
use crate::Error;
use crate::rng::Rng;
use edge_runtime::ExitPolicy;
use serde::Serialize;

/// Factor by which a step of caution multiplies the distance of every threshold from its
/// unreachable end.
const CAUTION: f32 = 0.9;

/// Parts of the budget for choosing a policy that is then made cautious.
const PARTS: [f64; 5] = [1.0, 0.5, 0.25, 0.125, 0.0];
/// Number of steps of caution before full depth is taken.
const STEPS: usize = 40;

/// The kinds of policy that are calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyKind {
    /// [`ExitPolicy::Confidence`].
    Confidence,
    /// [`ExitPolicy::Entropy`].
    Entropy,
    /// [`ExitPolicy::Margin`].
    Margin,
    /// [`ExitPolicy::Patience`].
    Patience,
}

impl PolicyKind {
    /// All kinds.
    pub const ALL: [PolicyKind; 4] =
        [PolicyKind::Confidence, PolicyKind::Entropy, PolicyKind::Margin, PolicyKind::Patience];

    /// Name in the JSON of a policy.
    pub fn name(self) -> &'static str {
        match self {
            PolicyKind::Confidence => "confidence",
            PolicyKind::Entropy => "entropy",
            PolicyKind::Margin => "margin",
            PolicyKind::Patience => "patience",
        }
    }
}

/// A policy with its accuracy and its computed layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The policy.
    pub policy: ExitPolicy,
    /// The share of sentences whose label is right, 0 to 1.
    pub accuracy: f64,
    /// The layers computed, as a share of those at full depth, 0 to 1.
    pub share: f64,
}

/// Expected figures on sentences that did not choose the policy. The policy is chosen on each half
/// of the sentences and measured on the other half (cross-fitting). Half the sentences choose
/// slightly worse than all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// The share of sentences whose label is right, 0 to 1.
    pub accuracy: f64,
    /// The layers computed, as a share of those at full depth, 0 to 1.
    pub share: f64,
}

/// A calibrated policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// The kind of the policy.
    pub kind: PolicyKind,
    /// Percentage points of accuracy that the policy may lose.
    pub budget_points: f64,
    /// Steps of caution added to the policy that the sentences chose, so that other sentences keep
    /// to the budget too. `None` if only full depth keeps to it.
    pub caution: Option<usize>,
    /// Policy with one threshold per exit; [`ExitPolicy::Never`] if only full depth keeps to the
    /// budget.
    pub policy: ExitPolicy,
    /// Accuracy on the sentences that chose the policy, 0 to 1.
    pub accuracy: f64,
    /// Accuracy of the same model at full depth, 0 to 1.
    pub full_accuracy: f64,
    /// Layers computed on the sentences that chose the policy, as a share of those at full depth, 0
    /// to 1.
    pub share: f64,
    /// Expected figures on other sentences.
    pub held_out: HeldOut,
    /// Policies that are not beaten by another of their kind in both accuracy and share, by
    /// ascending share. Caution takes the calibrated policy slightly off this curve.
    pub curve: Vec<Point>,
}

/// All kinds of policy, calibrated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Calibrated policies, one for each of [`PolicyKind::ALL`].
    pub all: Vec<Calibrated>,
    /// Index of the policy with the smallest share, the first of equals.
    pub best: usize,
}

impl Choice {
    /// Returns the best calibrated policy.
    pub fn best(&self) -> &Calibrated {
        &self.all[self.best]
    }
}

/// Chooses the policy of a kind that computes the fewest layers within the budget. Its accuracy is
/// at most `budget_points` percentage points below that of the model's full depth.
///
/// The thresholds of all exits are chosen together. For a ladder of prices of a layer, coordinate
/// descent finds the thresholds with the fewest errors plus priced layers. An exit that does not
/// pay off gets the unreachable threshold.
///
/// The best of many policies is also the luckiest, so it is made more cautious step by step. It
/// stops when policies chosen on half the sentences, with the same caution, keep to the budget on
/// the other half. A step takes every threshold a tenth of the way to its unreachable end, or adds
/// one exit of patience. The search starts from the policy of the whole budget and from those of
/// parts of it. Of all that keep to the budget, the policy with the fewest layers is taken.
///
/// # Errors
/// [`Error::Measure`] if the outcomes are inconsistent or have fewer than 2 sentences, or if the
/// budget is not between 0 and 100.
pub fn calibrate(
    outcomes: &Outcomes,
    kind: PolicyKind,
    budget_points: f64,
) -> Result<Calibrated, Error> {
    outcomes.check()?;
    check_budget(budget_points)?;
    let sentences = outcomes.sentences();
    if sentences < 2 {
        return Err(Error::Measure("1 sentence; calibration needs 2 or more".into()));
    }
    let front = Front::of(outcomes, kind)?;
    let accuracy = |errors: usize| 1.0 - errors as f64 / sentences as f64;
    let share = |layers: usize| layers as f64 / (sentences * outcomes.layers_total) as f64;
    let point = |found: &Found| Point {
        policy: found.policy.clone(),
        accuracy: accuracy(found.errors),
        share: share(found.layers),
    };
    let Cautious { steps, found, held_out } = cautious(outcomes, kind, &front, budget_points)?;
    let chosen = point(&found);
    Ok(Calibrated {
        kind,
        budget_points,
        caution: steps,
        policy: chosen.policy,
        accuracy: chosen.accuracy,
        full_accuracy: accuracy(front.full.errors),
        share: chosen.share,
        held_out: HeldOut { accuracy: accuracy(held_out.0), share: share(held_out.1) },
        curve: front.found.iter().map(point).collect(),
    })
}

/// Checks a budget, before anything is trained for it.
///
/// # Errors
/// [`Error::Measure`] if it is not between 0 and 100 points.
pub fn check_budget(points: f64) -> Result<(), Error> {
    if (0.0..=100.0).contains(&points) {
        return Ok(());
    }
    Err(Error::Measure(format!("a budget of {points} points; expected a number between 0 and 100")))
}

/// Calibrates every kind of policy. The best one has the smallest share of layers.
///
/// # Errors
/// Errors of [`calibrate`].
pub fn best(outcomes: &Outcomes, budget_points: f64) -> Result<Choice, Error> {
    let all: Vec<Calibrated> = PolicyKind::ALL
        .into_iter()
        .map(|kind| calibrate(outcomes, kind, budget_points))
        .collect::<Result<_, _>>()?;
    let best = (0..all.len()).reduce(|a, b| if all[b].share < all[a].share { b } else { a });
    Ok(Choice { all, best: best.unwrap_or(0) })
}

/// A policy with its errors and its computed layers, over all sentences.
struct Found {
    policy: ExitPolicy,
    errors: usize,
    layers: usize,
}

fn measure(outcomes: &Outcomes, policy: ExitPolicy) -> Result<Found, Error> {
    let walked = outcomes.walk(&policy)?;
    let errors = walked.predicted.iter().zip(&outcomes.truth).filter(|(p, t)| p != t).count();
    Ok(Found { policy, errors, layers: walked.layers })
}

/// Policies that are not beaten in both errors and layers.
struct Front {
    /// Policies by ascending layers and falling errors.
    found: Vec<Found>,
    /// Errors and layers of full depth.
    full: Found,
    sentences: usize,
}

impl Front {
    fn of(outcomes: &Outcomes, kind: PolicyKind) -> Result<Self, Error> {
        let found = match search::Scale::of(kind) {
            Some(scale) => search::policies(outcomes, scale),
            // Patience of the number of exits is full depth.
            None => (1..=outcomes.exits.len())
                .map(|exits| measure(outcomes, ExitPolicy::patience(exits)))
                .collect::<Result<_, _>>()?,
        };
        Ok(Front {
            found: undominated(found),
            full: measure(outcomes, ExitPolicy::Never)?,
            sentences: outcomes.sentences(),
        })
    }

    /// Policy with the fewest layers within the budget. Full depth is always within it, and the
    /// front has a policy at least as good.
    fn choose(&self, budget: f64) -> &Found {
        let most = most(self.full.errors, budget, self.sentences);
        let chosen = self.found.iter().find(|f| f.errors as f64 <= most);
        chosen.unwrap_or(&self.full)
    }
}

/// Number of errors that a budget permits. The small addend covers rounding: 0.1 points of 1,000
/// sentences are 1 sentence.
fn most(full: usize, budget: f64, sentences: usize) -> f64 {
    full as f64 + budget / 100.0 * sentences as f64 + 1e-6
}

fn undominated(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|f| (f.layers, f.errors));
    let mut fewest = usize::MAX;
    found.retain(|f| {
        let better = f.errors < fewest;
        fewest = fewest.min(f.errors);
        better
    });
    found
}

/// Chosen policy with the necessary caution.
struct Cautious {
    steps: Option<usize>,
    found: Found,
    /// Errors and layers on sentences that did not choose: the sum over both halves.
    held_out: (usize, usize),
}

fn cautious(
    outcomes: &Outcomes,
    kind: PolicyKind,
    front: &Front,
    budget: f64,
) -> Result<Cautious, Error> {
    let sentences = outcomes.sentences();
    let most = most(front.full.errors, budget, sentences);
    // Shuffled, because data is often sorted.
    let mut order: Vec<usize> = (0..sentences).collect();
    Rng::new(&[2]).shuffle(&mut order);
    let (a, b) = order.split_at(sentences / 2);
    let halves = [(a, b), (b, a)].map(|(choosing, measuring)| {
        Ok((Front::of(&outcomes.some(choosing), kind)?, outcomes.some(measuring)))
    });
    let halves = halves.into_iter().collect::<Result<Vec<_>, Error>>()?;
    let mut best: Option<Cautious> = None;
    for part in PARTS {
        let chosen = |front: &Front| front.choose(part * budget).policy.clone();
        for steps in 0..=STEPS {
            let mut held_out = (0, 0);
            for (front, measuring) in &halves {
                let policy = search::cautious(&chosen(front), CAUTION, steps);
                let found = measure(measuring, policy)?;
                held_out = (held_out.0 + found.errors, held_out.1 + found.layers);
            }
            let found = measure(outcomes, search::cautious(&chosen(front), CAUTION, steps))?;
            if held_out.0.max(found.errors) as f64 <= most {
                if best.as_ref().is_none_or(|best| found.layers < best.found.layers) {
                    best = Some(Cautious { steps: Some(steps), found, held_out });
                }
                break;
            }
        }
    }
    if let Some(best) = best {
        return Ok(best);
    }
    let found = measure(outcomes, ExitPolicy::Never)?;
    let held_out = (found.errors, found.layers);
    Ok(Cautious { steps: None, found, held_out })
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::random;
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_walk() {
        for (labels, seed) in [(2, 1), (3, 2)] {
            let outcomes = random(300, 5, labels, seed);
            for kind in PolicyKind::ALL {
                let c = calibrate(&outcomes, kind, 1.0).unwrap();
                for point in &c.curve {
                    let found = measure(&outcomes, point.policy.clone()).unwrap();
                    let accuracy = 1.0 - found.errors as f64 / 300.0;
                    let share = found.layers as f64 / 1200.0;
                    assert_eq!((point.accuracy, point.share), (accuracy, share), "{point:?}");
                }
                let found = measure(&outcomes, c.policy.clone()).unwrap();
                assert_eq!(c.share, found.layers as f64 / 1200.0);
                assert!(c.held_out.accuracy >= c.full_accuracy - 0.01 - 1e-9, "{c:?}");
                assert!(c.accuracy >= c.full_accuracy - 0.01 - 1e-9, "{c:?}");
                assert!(c.curve.is_sorted_by(|a, b| a.share < b.share && a.accuracy < b.accuracy));
            }
        }
    }

    #[test]
    fn budgets_reach_from_full_depth_to_the_first_exit() {
        let outcomes = random(400, 6, 2, 3);
        for kind in PolicyKind::ALL {
            let shares: Vec<f64> = [0.0, 0.5, 1.0, 3.0, 100.0]
                .map(|budget| calibrate(&outcomes, kind, budget).unwrap().share)
                .into();
            // Caution has steps, so a slightly larger budget may compute slightly more.
            assert!(shares.is_sorted_by(|a, b| a + 0.2 >= *b), "{kind:?}: {shares:?}");
            assert!(shares[0] >= shares[3], "{kind:?}: {shares:?}");
            assert_eq!(shares[4], 0.0, "any accuracy will do, and an exit follows the embeddings");
        }
    }

    #[test]
    fn a_threshold_per_exit_is_as_good_as_a_common_one() {
        let outcomes = random(400, 6, 2, 4);
        let c = calibrate(&outcomes, PolicyKind::Confidence, 1.0).unwrap();
        for step in 0..=1000 {
            let common = ExitPolicy::confidence(step as f32 / 1000.0);
            let found = measure(&outcomes, common).unwrap();
            let share = found.layers as f64 / 2000.0;
            let accuracy = 1.0 - found.errors as f64 / 400.0;
            // The sweep of common thresholds is a grid.
            let better = c.curve.iter().find(|p| p.accuracy >= accuracy - 0.0025 - 1e-9);
            assert!(better.is_some_and(|p| p.share <= share + 0.01), "{step}: {share}");
        }
    }

    /// With two labels, each score is a monotonic function of the others, so their curves agree.
    #[test]
    fn the_scores_of_two_labels_are_equivalent() {
        let outcomes = random(200, 4, 2, 5);
        let choice = best(&outcomes, 2.0).unwrap();
        let [confidence, entropy, margin, patience] = choice.all.as_slice() else {
            panic!("four kinds");
        };
        let share = |c: &Calibrated| {
            let found = c.curve.iter().find(|p| p.accuracy >= c.full_accuracy - 0.02 - 1e-9);
            found.expect("full depth is on the curve, or what betters it").share
        };
        assert!((share(confidence) - share(entropy)).abs() < 0.02);
        assert!((share(confidence) - share(margin)).abs() < 0.02);
        assert!(choice.best().share <= patience.share);
        assert_eq!(best(&outcomes, 2.0).unwrap(), choice, "the same in every run");
    }

    #[test]
    fn an_exit_that_errs_is_passed_over() {
        let mut outcomes = random(200, 3, 2, 6);
        for (truth, logits) in outcomes.truth.iter().zip(&mut outcomes.logits) {
            let right = |sure: f32| if *truth == 0 { vec![sure, -sure] } else { vec![-sure, sure] };
            // So large a logit of the wrong label that its probability rounds to 1.
            *logits = vec![right(-50.0), right(3.0), right(5.0)];
        }
        for kind in [PolicyKind::Confidence, PolicyKind::Entropy, PolicyKind::Margin] {
            let c = calibrate(&outcomes, kind, 0.0).unwrap();
            assert_eq!((c.accuracy, c.share), (1.0, 0.5), "{c:?}");
            assert_eq!((c.held_out.accuracy, c.held_out.share), (1.0, 0.5), "{c:?}");
            assert!(c.policy.check(3).is_ok());
        }
    }

    #[test]
    fn the_budget_is_kept_on_sentences_that_did_not_choose() {
        for seed in 10..14 {
            let outcomes = random(1000, 6, 2, seed);
            let other = random(4000, 6, 2, 100 + seed);
            let full = measure(&other, ExitPolicy::Never).unwrap().errors as f64;
            let c = calibrate(&outcomes, PolicyKind::Confidence, 1.0).unwrap();
            assert!(c.held_out.accuracy >= c.full_accuracy - 0.01 - 1e-9, "{c:?}");
            let early = measure(&other, c.policy.clone()).unwrap();
            let lost = (early.errors as f64 - full) / 4000.0;
            // A standard deviation of a thousand sentences is about a point here.
            assert!(lost < 0.02, "lost {lost} with {:?}", c.policy);
            let share = early.layers as f64 / 20_000.0;
            assert!((share - c.share).abs() < 0.05, "{share}, expected {}", c.share);
        }
    }

    #[test]
    fn what_cannot_be_calibrated_is_refused() {
        let outcomes = random(10, 3, 2, 1);
        for budget in [-1.0, 101.0, f64::NAN] {
            let error = calibrate(&outcomes, PolicyKind::Margin, budget).unwrap_err().to_string();
            assert!(error.contains("between 0 and 100"), "{error}");
        }
        assert!(calibrate(&random(1, 3, 2, 1), PolicyKind::Margin, 1.0).is_err());
        let single = calibrate(&random(10, 2, 2, 1).single(), PolicyKind::Entropy, 1.0).unwrap();
        assert_eq!((single.share, single.accuracy), (1.0, single.full_accuracy));
    }

    impl Outcomes {
        /// Keeps only the last exit.
        fn single(mut self) -> Self {
            self.exits = vec![self.layers_total];
            self.logits.iter_mut().for_each(|l| drop(l.drain(..l.len() - 1)));
            self
        }
    }
}
