//! Losses of a student.
//!
//! * *hard*: cross-entropy with the labels.
//! * *soft*: the KL divergence from the teacher's probabilities at a temperature, times the square
//!   of the temperature (Hinton et al. 2015).
//! * *self*: the same divergence from the student's own last exit to the earlier exits. The last
//!   exit gets no gradient from it (Phuong and Lampert 2019, "Distillation-based training for
//!   multi-exit architectures").
//! * *hidden*: the mean square, or one minus the cosine (Sanh et al. 2019), between hidden states
//!   of mapped layers. A trained projection adapts different widths (Romero et al. 2015).
//! * *attention*: the mean square between attention probabilities of mapped layers (Jiao et al.
//!   2020, "TinyBERT").

use crate::network::{Batch, Linear, Output};
use crate::tasks::TaskTraining;
use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};

/// Weights and settings of the losses; a loss of weight 0 is not computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Losses {
    /// Weight of the cross-entropy with the labels.
    pub hard: f64,
    /// Weight of the KL divergence from the teacher.
    pub soft: f64,
    /// Weight of the KL divergence of the earlier exits from the last one; `self` in a recipe.
    #[serde(rename = "self")]
    pub itself: f64,
    /// Weight of the distance between hidden states.
    pub hidden: f64,
    /// Distance between hidden states.
    pub hidden_distance: Distance,
    /// Weight of the distance between attention probabilities.
    pub attention: f64,
    /// Temperature of both divergences.
    pub temperature: f64,
    /// Weight of every exit in the first three losses; equal weights if empty.
    pub exit_weights: Vec<f64>,
    /// Layer of the teacher, counted from 1, for each layer of the student. If empty, the layers
    /// that the student was copied from.
    pub layer_map: Vec<usize>,
}

impl Default for Losses {
    fn default() -> Self {
        Losses {
            hard: 1.0,
            soft: 0.0,
            itself: 0.0,
            hidden: 0.0,
            hidden_distance: Distance::Mse,
            attention: 0.0,
            temperature: 2.0,
            exit_weights: Vec::new(),
            layer_map: Vec::new(),
        }
    }
}

/// Distance between hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// Mean square of the differences.
    Mse,
    /// One minus the cosine, as a mean over the tokens.
    Cosine,
}

/// Targets of a batch.
pub struct Targets<'a> {
    /// Training of the task.
    pub task: &'a dyn TaskTraining,
    /// Label of every sentence; `None` without a label.
    pub labels: &'a [Option<u32>],
    /// The teacher's logits, `[sentences, labels]`.
    pub teacher_logits: Option<Tensor>,
    /// The teacher's hidden states and attention probabilities, if a loss needs them.
    pub teacher: Option<&'a Output>,
    /// Projections from the student's width to the teacher's, `[teacher, student]` without a bias:
    /// one for every mapped layer, or none.
    pub projections: &'a [Linear],
}

/// Loss of a batch and its parts.
pub struct Loss {
    /// Scalar for the backward pass.
    pub total: Tensor,
    /// Parts by name, before weighting.
    pub parts: Vec<(&'static str, Tensor)>,
}

impl Losses {
    /// True if the teacher's hidden states or attention probabilities are needed.
    pub fn needs_layers(&self) -> bool {
        self.hidden > 0.0 || self.attention > 0.0
    }

    /// Weights of `n` exits.
    fn weights(&self, n: usize) -> Vec<f64> {
        if self.exit_weights.is_empty() { vec![1.0; n] } else { self.exit_weights.clone() }
    }

    /// Loss of a batch.
    ///
    /// # Errors
    /// Errors of candle.
    ///
    /// # Panics
    /// If the target of a loss is missing.
    pub fn of(&self, student: &Output, batch: &Batch, targets: &Targets) -> Result<Loss> {
        let mut parts = Vec::new();
        let mut add = |name, weight: f64, part: &dyn Fn() -> Result<Tensor>| -> Result<()> {
            if weight > 0.0 {
                parts.push((name, weight, part()?));
            }
            Ok(())
        };
        let logits = &student.logits;
        let weights = self.weights(logits.len());
        add("hard", self.hard, &|| {
            weighted(logits, &weights, |logits| targets.task.loss(logits, targets.labels))
        })?;
        add("soft", self.soft, &|| {
            let teacher = targets.teacher_logits.as_ref().expect("the teacher's logits");
            weighted(logits, &weights, |logits| {
                targets.task.divergence(teacher, logits, self.temperature)
            })
        })?;
        if let Some((last, earlier)) = logits.split_last().filter(|(_, e)| !e.is_empty()) {
            let last = last.detach();
            add("self", self.itself, &|| {
                weighted(earlier, &weights, |logits| {
                    targets.task.divergence(&last, logits, self.temperature)
                })
            })?;
        }
        let teacher = || targets.teacher.expect("the teacher's layers");
        add("hidden", self.hidden, &|| {
            let pairs = self.map(student.hidden.len() - 1);
            let distances = pairs.iter().enumerate().map(|(i, (s, t))| {
                let student = match targets.projections.get(i) {
                    None => student.hidden[*s].clone(),
                    Some(p) => student.hidden[*s].matmul(&p.weight.var().t()?)?,
                };
                self.hidden_distance.between(&student, &teacher().hidden[*t])
            });
            mean(distances)
        })?;
        add("attention", self.attention, &|| {
            let pairs = self.map(student.hidden.len() - 1);
            mean(pairs.iter().map(|(s, t)| {
                let (s, t) = (&student.attention[s - 1], &teacher().attention[t - 1]);
                let squares: usize = batch.starts.windows(2).map(|w| (w[1] - w[0]).pow(2)).sum();
                let n = squares * s.dim(1)?;
                // Padded keys have probability 0 in both; padded queries are excluded.
                let rows = query_mask(batch, s)?;
                (s - t)?.sqr()?.broadcast_mul(&rows)?.sum_all()? / n as f64
            }))
        })?;
        let mut total: Option<Tensor> = None;
        for (_, weight, part) in &parts {
            let part = (part * *weight)?;
            total = Some(match total {
                None => part,
                Some(sum) => (sum + part)?,
            });
        }
        let total =
            total.ok_or_else(|| candle_core::Error::Msg("every weight of the loss is 0".into()))?;
        let parts = parts.into_iter().map(|(name, _, part)| (name, part.detach())).collect();
        Ok(Loss { total, parts })
    }

    /// Pairs of hidden states, student's and teacher's.
    fn map(&self, layers: usize) -> Vec<(usize, usize)> {
        (1..=layers).zip(self.layer_map.iter().copied()).collect()
    }
}

impl Distance {
    fn between(self, student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
        match self {
            Distance::Mse => (student - teacher)?.sqr()?.mean_all(),
            Distance::Cosine => {
                let along = (student * teacher)?.sum(D::Minus1)?;
                let length = |x: &Tensor| x.sqr()?.sum(D::Minus1)?.sqrt();
                let cosine = along.div(&((length(student)? * length(teacher)?)? + 1e-8)?)?;
                1.0 - cosine.mean_all()?
            }
        }
    }
}

/// Mask of the queries, `[sentences, 1, tokens, 1]`: 1 for a token, 0 for padding.
fn query_mask(batch: &Batch, like: &Tensor) -> Result<Tensor> {
    let longest = batch.longest();
    let mut mask = vec![0.0f32; batch.sentences() * longest];
    for (span, mask) in batch.starts.windows(2).zip(mask.chunks_exact_mut(longest)) {
        mask[..span[1] - span[0]].fill(1.0);
    }
    Tensor::from_vec(mask, (batch.sentences(), 1, longest, 1), like.device())
}

fn weighted(
    logits: &[Tensor],
    weights: &[f64],
    loss: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let all: f64 = weights[..logits.len()].iter().sum();
    let mut sum: Option<Tensor> = None;
    for (logits, weight) in logits.iter().zip(weights) {
        let part = (loss(logits)? * (*weight / all))?;
        sum = Some(match sum {
            None => part,
            Some(sum) => (sum + part)?,
        });
    }
    sum.ok_or_else(|| candle_core::Error::Msg("a network without exits".into()))
}

fn mean(parts: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let parts = parts.collect::<Result<Vec<_>>>()?;
    Tensor::stack(&parts, 0)?.mean_all()
}
