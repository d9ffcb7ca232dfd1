//! Search for thresholds.
//!
//! A policy with a threshold per exit is a point in the plane of errors and layers. For a given
//! price of a layer in errors, coordinate descent finds thresholds with a small total. It holds all
//! thresholds but one; the best value of that one follows from a single pass over the sentences in
//! the order of their scores. A ladder of prices, each started from its neighbours' thresholds,
//! gives the front.

use super::super::outcome::Outcomes;
use super::{Found, PolicyKind};
use edge_runtime::task::single_label::{argmax, confidence, margin, normalized_entropy};
use edge_runtime::{ExitPolicy, Thresholds};

/// Number of values tried for a threshold; a finer grid would only follow single sentences.
const GRID: usize = 200;
/// Number of prices on the ladder.
const PRICES: usize = 64;
/// Largest number of passes over the exits; thresholds settle after three or four.
const PASSES: usize = 20;

/// Score of a kind of policy. The score of entropy is negated, so that sentences leave at high
/// scores.
pub(super) struct Scale {
    kind: PolicyKind,
    score: fn(&[f32]) -> f32,
    /// Threshold at which all sentences leave.
    all: f32,
    /// Least threshold at which no sentence leaves.
    none: f32,
}

impl Scale {
    /// Returns the scale of a kind; `None` for patience, which has no score.
    pub(super) fn of(kind: PolicyKind) -> Option<Self> {
        match kind {
            PolicyKind::Confidence => Some(Scale { kind, score: confidence, all: 0.0, none: 1.0 }),
            PolicyKind::Margin => Some(Scale { kind, score: margin, all: 0.0, none: 1.0 }),
            PolicyKind::Entropy => {
                Some(Scale { kind, score: |l| -normalized_entropy(l), all: -1.0, none: 0.0 })
            }
            PolicyKind::Patience => None,
        }
    }

    fn policy(&self, cuts: &[f32]) -> ExitPolicy {
        // The last exit takes all remaining sentences; its threshold agrees.
        let cuts = cuts.iter().copied().chain([self.all]);
        match self.kind {
            PolicyKind::Entropy => ExitPolicy::Entropy {
                // Subtracting from 0 avoids a negative zero in the output.
                threshold: Thresholds::PerExit(cuts.map(|c| 0.0 - c).collect()),
            },
            PolicyKind::Margin => {
                ExitPolicy::Margin { threshold: Thresholds::PerExit(cuts.collect()) }
            }
            _ => ExitPolicy::Confidence { threshold: Thresholds::PerExit(cuts.collect()) },
        }
    }
}

/// Returns a more cautious policy: every threshold's distance from its unreachable end is
/// multiplied by `factor`, `steps` times. Patience grows by one per step.
pub(super) fn cautious(policy: &ExitPolicy, factor: f32, steps: usize) -> ExitPolicy {
    let factor = factor.powi(steps as i32);
    let moved = |threshold: &Thresholds, end: f32| {
        let moved = |t: f32| end + (t - end) * factor;
        match threshold {
            Thresholds::Common(t) => Thresholds::Common(moved(*t)),
            Thresholds::PerExit(ts) => Thresholds::PerExit(
                // The last exit takes all sentences; its threshold stays.
                ts.iter()
                    .enumerate()
                    .map(|(i, t)| if i + 1 == ts.len() { *t } else { moved(*t) })
                    .collect(),
            ),
        }
    };
    match policy {
        ExitPolicy::Confidence { threshold } => {
            ExitPolicy::Confidence { threshold: moved(threshold, 1.0) }
        }
        ExitPolicy::Entropy { threshold } => {
            ExitPolicy::Entropy { threshold: moved(threshold, 0.0) }
        }
        ExitPolicy::Margin { threshold } => ExitPolicy::Margin { threshold: moved(threshold, 1.0) },
        ExitPolicy::Patience { threshold } => ExitPolicy::patience(threshold + steps),
        other => other.clone(),
    }
}

/// Scores of the outcomes, computed once. The first index is the exit.
struct Scores {
    scale: Scale,
    score: Vec<Vec<f32>>,
    wrong: Vec<Vec<bool>>,
    /// Sentences in the order of falling scores.
    order: Vec<Vec<usize>>,
    /// Layer before each exit.
    layers: Vec<usize>,
    sentences: usize,
}

/// Searches the policies that contain the front; `outcomes` were checked before.
pub(super) fn policies(outcomes: &Outcomes, scale: Scale) -> Vec<Found> {
    let scores = Scores::new(outcomes, scale);
    let mut found = scores.common();
    let sentences = scores.sentences as f64;
    // Prices range from all layers of all sentences per error to one layer of one sentence per
    // error.
    let cheapest = 1.0 / (sentences * outcomes.layers_total as f64);
    let prices: Vec<f64> =
        (0..PRICES).map(|i| cheapest.powf(1.0 - i as f64 / (PRICES - 1) as f64)).collect();
    let common = found.len();
    let up: Vec<usize> = (0..PRICES).collect();
    let down: Vec<usize> = up.iter().rev().copied().collect();
    let mut cuts = vec![scores.scale.none; outcomes.exits.len() - 1];
    for price in up.into_iter().chain(down).map(|i| prices[i]) {
        // Starts from the neighbour on the ladder, and from the best common threshold.
        cuts = scores.descend(cuts, price, &mut found);
        let total = |f: &Keep| f.errors as f64 + price * f.layers as f64;
        let best = found[..common].iter().min_by(|a, b| total(a).total_cmp(&total(b)));
        if let Some(start) = best.map(|f| f.cuts.clone()) {
            let other = scores.descend(start, price, &mut found);
            let (a, b) = (scores.measure(cuts), scores.measure(other));
            cuts = if total(&b) < total(&a) { b.cuts } else { a.cuts };
        }
    }
    let found = found.into_iter();
    found
        .map(|f| Found { policy: scores.scale.policy(&f.cuts), errors: f.errors, layers: f.layers })
        .collect()
}

/// Thresholds with their errors and layers.
struct Keep {
    cuts: Vec<f32>,
    errors: usize,
    layers: usize,
}

impl Scores {
    fn new(outcomes: &Outcomes, scale: Scale) -> Self {
        let sentences = outcomes.sentences();
        let mut scores = Scores {
            scale,
            score: Vec::new(),
            wrong: Vec::new(),
            order: Vec::new(),
            layers: outcomes.exits.clone(),
            sentences,
        };
        for exit in 0..outcomes.exits.len() {
            let logits = || outcomes.logits.iter().map(|l| l[exit].as_slice());
            let score: Vec<f32> = logits().map(scores.scale.score).collect();
            let wrong = logits().zip(&outcomes.truth).map(|(l, t)| argmax(l) != *t as usize);
            scores.wrong.push(wrong.collect());
            let mut order: Vec<usize> = (0..sentences).collect();
            order.sort_by(|a, b| score[*b].total_cmp(&score[*a]));
            scores.order.push(order);
            scores.score.push(score);
        }
        scores
    }

    fn leaves(&self, exit: usize, sentence: usize, cut: f32) -> bool {
        cut < self.scale.none && self.score[exit][sentence] >= cut
    }

    /// First exit at or after `from` that takes the sentence.
    fn exit(&self, sentence: usize, from: usize, cuts: &[f32]) -> usize {
        (from..cuts.len()).find(|e| self.leaves(*e, sentence, cuts[*e])).unwrap_or(cuts.len())
    }

    fn measure(&self, cuts: Vec<f32>) -> Keep {
        let (mut errors, mut layers) = (0, 0);
        for sentence in 0..self.sentences {
            let exit = self.exit(sentence, 0, &cuts);
            errors += usize::from(self.wrong[exit][sentence]);
            layers += self.layers[exit];
        }
        Keep { cuts, errors, layers }
    }

    /// Measures common thresholds for all exits, at the quantiles of all scores and at both ends.
    fn common(&self) -> Vec<Keep> {
        let exits = self.layers.len() - 1;
        let mut all: Vec<f32> = self.score[..exits].iter().flatten().copied().collect();
        all.sort_by(f32::total_cmp);
        all.dedup();
        let step = all.len().div_ceil(2 * GRID).max(1);
        let inner = all.windows(2).step_by(step).filter_map(|pair| self.between(pair[0], pair[1]));
        let ends = [self.scale.all, self.scale.none];
        ends.into_iter().chain(inner).map(|cut| self.measure(vec![cut; exits])).collect()
    }

    /// Returns a threshold midway: sentences with scores up to `below` stay, from `above` on they
    /// leave. `None` if there is no such number on the scale.
    fn between(&self, below: f32, above: f32) -> Option<f32> {
        let middle = below + (above - below) / 2.0;
        // Neighbouring floats have no middle.
        let cut = if middle > below { middle } else { above };
        (cut > below && cut >= self.scale.all && cut < self.scale.none).then_some(cut)
    }

    /// Moves one threshold after the other to its best value until none moves. Keeps the
    /// intermediate thresholds, because they lie between points of the front.
    fn descend(&self, mut cuts: Vec<f32>, price: f64, found: &mut Vec<Keep>) -> Vec<f32> {
        for _ in 0..PASSES {
            let mut moved = false;
            // The last exit comes first, because earlier exits depend on later ones.
            for exit in (0..cuts.len()).rev() {
                if let Some(cut) = self.best_cut(exit, &cuts, price) {
                    cuts[exit] = cut;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
            found.push(self.measure(cuts.clone()));
        }
        cuts
    }

    /// Best threshold of one exit while the others are held; `None` if no threshold is better than
    /// the current one.
    fn best_cut(&self, exit: usize, cuts: &[f32], price: f64) -> Option<f32> {
        let total = |exit: usize, sentence: usize| {
            f64::from(u8::from(self.wrong[exit][sentence])) + price * self.layers[exit] as f64
        };
        // Sentences that arrive here, with the loss if they leave here.
        let arrived: Vec<(usize, f64)> = self.order[exit]
            .iter()
            .filter(|s| self.exit(**s, 0, &cuts[..exit]) == exit)
            .map(|s| (*s, total(exit, *s) - total(self.exit(*s, exit + 1, cuts), *s)))
            .collect();
        let now: f64 =
            arrived.iter().filter(|(s, _)| self.leaves(exit, *s, cuts[exit])).map(|a| a.1).sum();
        let mut best = (0.0, self.scale.none);
        let (mut sum, mut next) = (0.0, 0);
        let step = arrived.len().div_ceil(GRID).max(1);
        for (i, (sentence, loss)) in arrived.iter().enumerate() {
            sum += loss;
            let score = self.score[exit][*sentence];
            let cut = match arrived.get(i + 1) {
                None => (score >= self.scale.all).then_some(self.scale.all),
                Some((below, _)) if i >= next => self.between(self.score[exit][*below], score),
                Some(_) => None,
            };
            let Some(cut) = cut else { continue };
            next = i + step;
            if sum < best.0 {
                best = (sum, cut);
            }
        }
        // A gain below rounding error would repeat for ever.
        (best.0 < now - 1e-9).then_some(best.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caution_goes_to_the_unreachable_end() {
        let per_exit = |ts: [f32; 3]| Thresholds::PerExit(ts.into());
        let confidence = ExitPolicy::Confidence { threshold: per_exit([0.5, 1.0, 0.0]) };
        assert_eq!(cautious(&confidence, 0.5, 0), confidence);
        assert_eq!(
            cautious(&confidence, 0.5, 2),
            ExitPolicy::Confidence { threshold: per_exit([0.875, 1.0, 0.0]) }
        );
        let entropy = ExitPolicy::Entropy { threshold: per_exit([0.5, 0.0, 1.0]) };
        assert_eq!(
            cautious(&entropy, 0.5, 1),
            ExitPolicy::Entropy { threshold: per_exit([0.25, 0.0, 1.0]) }
        );
        assert_eq!(cautious(&ExitPolicy::patience(2), 0.5, 3), ExitPolicy::patience(5));
    }
}
