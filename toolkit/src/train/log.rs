//! Measurements of a training step.

use super::metrics::Record;
use crate::Error;
use candle_core::Tensor;
use std::collections::BTreeMap;

/// Measurements of a training step.
#[derive(Clone, Debug, Default)]
pub struct StepLog {
    /// Step, counted from 1.
    pub step: usize,
    /// Epoch, counted from 0.
    pub epoch: usize,
    /// Loss.
    pub loss: f64,
    /// Parts of the loss, before weighting.
    pub parts: BTreeMap<&'static str, f64>,
    /// Learning rate.
    pub rate: f64,
    /// Norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Accuracy of the last exit on this batch, 0 to 1, if it has labels.
    pub accuracy: Option<f64>,
    /// Number of tokens of this step.
    pub tokens: usize,
    /// Tokens per second since the last logged step.
    pub tokens_per_second: f64,
}

impl StepLog {
    /// Adds a batch to the means over `of` batches.
    pub(super) fn add(
        &mut self,
        loss: f64,
        parts: &[(&'static str, Tensor)],
        of: usize,
    ) -> Result<(), Error> {
        self.loss += loss / of as f64;
        for (name, part) in parts {
            *self.parts.entry(name).or_default() += f64::from(part.to_scalar::<f32>()?) / of as f64;
        }
        Ok(())
    }

    /// Record of the step for the log.
    pub(super) fn record(&self, steps_per_epoch: usize) -> Record {
        let mut more = BTreeMap::from([("gradient_norm".to_owned(), self.gradient_norm)]);
        more.extend(self.accuracy.map(|a| ("batch_accuracy".to_owned(), a)));
        Record {
            step: self.step as u64,
            epoch: self.step as f64 / steps_per_epoch as f64,
            loss: Some(self.loss),
            parts: self.parts.iter().map(|(name, part)| ((*name).to_owned(), *part)).collect(),
            lr: Some(self.rate),
            tokens_per_second: Some(self.tokens_per_second),
            accuracy: None,
            more,
        }
    }
}
