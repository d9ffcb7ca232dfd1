//! Sparse weights: the choice of weights that are zero, and their masks during training.
//!
//! * *magnitude*: the smallest weights become zero (Han et al. 2015), more and more of them along a
//!   cubic schedule (Zhu and Gupta 2017, "To prune, or not to prune").
//! * *movement*: the weights that training moves towards zero become zero, by the sums of −w ·
//!   ∂L/∂w (Sanh et al. 2020, "Movement Pruning"). A masked weight may come back.
//! * *fixed*: weights that are zero at the start stay zero.
//!
//! The choice is made in each whole matrix, or N of every M consecutive inputs are kept (Mishra et
//! al. 2021, "Accelerating Sparse Deep Neural Networks").

use crate::Error;
use crate::network::Network;
use crate::network::{Gradient, Parameter, Values};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Pruning schedule of the weights in the encoder's linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sparsity {
    /// Measure of a weight's importance.
    pub method: Method,
    /// Share of every matrix that is zero in the end, 0 or more and below 1. A `pattern` replaces
    /// it.
    pub share: f64,
    /// Pattern `N:M`, for example `2:4`: N of every M consecutive inputs are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Part of the run after which the first weights become zero, 0 to 1.
    pub begin: f64,
    /// Part of the run after which the masks are final, 0 to 1.
    pub end: f64,
    /// Steps between two choices of the masks.
    pub every: usize,
}

/// Measure of a weight's importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Absolute value of the weight.
    Magnitude,
    /// Distance by which training moved the weight away from zero.
    Movement,
    /// Zero or nonzero at the start; zero weights stay zero.
    Fixed,
}

impl Default for Sparsity {
    fn default() -> Self {
        Sparsity {
            method: Method::Magnitude,
            share: 0.5,
            pattern: None,
            begin: 0.0,
            end: 0.7,
            every: 20,
        }
    }
}

impl Sparsity {
    /// Checks the values.
    ///
    /// # Errors
    /// A message with the wrong value and the expected one.
    pub fn check(&self) -> Result<(), String> {
        self.n_of_m()?;
        if !(0.0..1.0).contains(&self.share) {
            return Err(format!(
                "sparsity.share is {}; expected 0 or more and below 1",
                self.share
            ));
        }
        if !(0.0 <= self.begin && self.begin <= self.end && self.end <= 1.0) {
            return Err(format!(
                "sparsity.begin is {} and sparsity.end is {}; expected 0 <= begin <= end <= 1",
                self.begin, self.end
            ));
        }
        if self.every == 0 {
            return Err("sparsity.every must be greater than 0".into());
        }
        Ok(())
    }

    fn n_of_m(&self) -> Result<Option<(usize, usize)>, String> {
        let Some(pattern) = &self.pattern else { return Ok(None) };
        let parsed =
            pattern.split_once(':').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok()?)));
        match parsed {
            Some((n, m)) if 0 < n && n < m => Ok(Some((n, m))),
            _ => Err(format!(
                "sparsity.pattern is `{pattern}`; expected N:M with N below M, as `2:4`"
            )),
        }
    }

    /// Share of weights that are zero at `step` of `steps`, counted from 1.
    fn share_at(&self, step: usize, steps: usize) -> f64 {
        let (begin, end) = (self.begin * steps as f64, self.end * steps as f64);
        let left = ((end - step as f64) / (end - begin)).clamp(0.0, 1.0);
        if step as f64 >= end { self.share } else { self.share * (1.0 - left.powi(3)) }
    }
}

/// Masks of the encoder's linear layers during a run.
pub struct Masks {
    sparsity: Sparsity,
    pattern: Option<(usize, usize)>,
    weights: Vec<Masked>,
}

struct Masked {
    weight: Arc<Parameter>,
    /// Scores of movement pruning, trained like parameters.
    scores: Option<Arc<Parameter>>,
    /// True for each element that is kept; empty while all are kept.
    mask: Vec<bool>,
}

impl Masks {
    /// Creates the masks for a network at the start of its training.
    ///
    /// # Errors
    /// [`Error::Unfit`] if the number of inputs of a matrix is not a multiple of M,
    /// [`Error::Compute`].
    pub fn new(network: &Network, sparsity: &Sparsity) -> Result<Self, Error> {
        let pattern = sparsity.n_of_m().map_err(Error::Unfit)?;
        let mut weights = Vec::new();
        for b in &network.blocks {
            let linears =
                [&b.query, &b.key, &b.value, &b.attention_output, &b.intermediate, &b.output];
            for weight in linears.map(|l| l.weight.clone()) {
                let (outputs, inputs) = weight.var().dims2()?;
                if let Some((_, m)) = pattern.filter(|(_, m)| inputs % m != 0) {
                    return Err(Error::Unfit(format!(
                        "sparsity.pattern: {} has {inputs} inputs; expected a multiple of {m}",
                        weight.name()
                    )));
                }
                let scores = || {
                    let name = format!("scores.{}", weight.name());
                    let zeros = vec![0.0; outputs * inputs];
                    Parameter::new(name, zeros, &[outputs, inputs], weight.var().device())
                };
                let scores = (sparsity.method == Method::Movement).then(scores).transpose()?;
                weights.push(Masked { weight, scores, mask: Vec::new() });
            }
        }
        let mut masks = Masks { sparsity: sparsity.clone(), pattern, weights };
        if sparsity.method == Method::Fixed {
            for w in &mut masks.weights {
                w.mask = values(&w.weight)?.iter().map(|v| *v != 0.0).collect();
            }
        }
        Ok(masks)
    }

    /// Parameters that the optimizer trains besides those of the network.
    pub fn parameters(&self) -> impl Iterator<Item = Arc<Parameter>> + '_ {
        self.weights.iter().filter_map(|w| w.scores.clone())
    }

    /// Restores the masks from the network's masked weights, after a stored state was loaded.
    ///
    /// # Errors
    /// [`Error::Compute`].
    pub fn restore(&mut self) -> Result<(), Error> {
        for w in &mut self.weights {
            if let Some(masked) = w.weight.masked() {
                let values = masked.as_detached_tensor().flatten_all()?.to_vec1::<f32>()?;
                w.mask = values.iter().map(|v| *v != 0.0).collect();
            }
        }
        Ok(())
    }

    /// Chooses new masks after `step` steps if a choice is due, then sets the masked weights to
    /// zero in the weights that the network uses.
    ///
    /// # Errors
    /// [`Error::Compute`].
    pub fn hide(&mut self, step: usize, steps: usize) -> Result<(), Error> {
        let s = &self.sparsity;
        let (begin, end) = (s.begin * steps as f64, s.end * steps as f64);
        let within = step as f64 >= begin && (step as f64) < end + s.every as f64;
        let known = match s.method {
            Method::Magnitude => true,
            Method::Movement => step > 0,
            Method::Fixed => false,
        };
        let due = within && known && step.is_multiple_of(s.every);
        for w in &mut self.weights {
            let mut seen = values(&w.weight)?;
            if due {
                let worth: Vec<f32> = match &w.scores {
                    Some(scores) => values(scores)?,
                    None => seen.iter().map(|v| v.abs()).collect(),
                };
                w.mask = match self.pattern {
                    Some((n, m)) => n_of_m(&worth, n, m),
                    None => largest(&worth, s.share_at(step, steps)),
                };
            }
            if !w.mask.is_empty() {
                seen.iter_mut().zip(&w.mask).filter(|(_, m)| !**m).for_each(|(v, _)| *v = 0.0);
                w.weight.set_masked(seen)?;
            }
        }
        Ok(())
    }

    /// Sets the gradients of masked weights to zero after the backward pass, and computes the
    /// gradients of the scores.
    ///
    /// # Errors
    /// [`Error::Compute`].
    pub fn pass_on(&self) -> Result<(), Error> {
        for w in &self.weights {
            let Some(gradient) = w.weight.take_gradient() else { continue };
            let Gradient::Dense(gradient) = gradient else {
                unreachable!("only embeddings have gradients of rows")
            };
            let mut gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            if let Some(scores) = &w.scores {
                let products =
                    values(&w.weight)?.iter().zip(&gradient).map(|(w, g)| w * g).collect();
                scores.add_gradient(products)?;
            }
            gradient.iter_mut().zip(&w.mask).filter(|(_, m)| !**m).for_each(|(g, _)| *g = 0.0);
            w.weight.add_gradient(gradient)?;
        }
        Ok(())
    }
}

fn values(parameter: &Parameter) -> Result<Vec<f32>, Error> {
    let value = parameter.var().as_detached_tensor().to_device(&candle_core::Device::Cpu)?;
    Ok(Values::of(&value)?.to_vec())
}

/// Mask that removes the given share of the elements, those of the lowest importance.
pub fn largest(worth: &[f32], share: f64) -> Vec<bool> {
    let gone = (share * worth.len() as f64).round() as usize;
    let mut mask = vec![true; worth.len()];
    if gone == 0 {
        return mask;
    }
    let mut order: Vec<u32> = (0..worth.len() as u32).collect();
    let by_worth =
        |a: &u32, b: &u32| worth[*a as usize].total_cmp(&worth[*b as usize]).then(a.cmp(b));
    order.select_nth_unstable_by(gone - 1, by_worth);
    order[..gone].iter().for_each(|i| mask[*i as usize] = false);
    mask
}

/// Mask that keeps the `n` most important of every `m` elements.
pub fn n_of_m(worth: &[f32], n: usize, m: usize) -> Vec<bool> {
    let gone = (m - n) as f64 / m as f64;
    worth.chunks_exact(m).flat_map(|group| largest(group, gone)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_along_a_cube() {
        let s = Sparsity { share: 0.8, begin: 0.2, end: 0.7, ..Sparsity::default() };
        let at = |step| s.share_at(step, 100);
        assert_eq!((at(10), at(20), at(70), at(100)), (0.0, 0.0, 0.8, 0.8));
        assert!((at(45) - 0.8 * (1.0 - 0.125)).abs() < 1e-12);
        let at_once = Sparsity { begin: 0.0, end: 0.0, ..s };
        assert_eq!(at_once.share_at(1, 100), 0.8);
    }

    #[test]
    fn of_every_four_two_stay() {
        let worth = [0.1, 4.0, 3.0, 0.2, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(n_of_m(&worth, 2, 4), [false, true, true, false, false, false, true, true]);
        assert_eq!(largest(&worth, 0.25).iter().filter(|m| !**m).count(), 2);
        assert!(largest(&worth, 0.0).iter().all(|m| *m));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let with =
            |pattern: &str| Sparsity { pattern: Some(pattern.into()), ..Sparsity::default() };
        assert!(with("2:4").check().is_ok());
        for pattern in ["4:4", "0:4", "2", "a:b"] {
            assert!(with(pattern).check().unwrap_err().contains(pattern));
        }
        let late = Sparsity { begin: 0.9, ..Sparsity::default() };
        assert!(late.check().unwrap_err().contains("0.9"));
    }
}
