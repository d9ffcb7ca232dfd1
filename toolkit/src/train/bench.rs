//! A training step for benchmarks.

use super::loss::{Losses, Targets};
use super::optimizer::AdamW;
use crate::Error;
use crate::checkpoint::{Checkpoint, Pooling};
use crate::network::Network;
use crate::network::{Batch, Heads, Mode, Start, start};
use crate::rng::Rng;
use crate::tasks;
use candle_core::Device;
use edge_export::families::DISTILBERT;
use std::path::Path;
use std::time::{Duration, Instant};

/// A DistilBERT with an exit after every layer, trained on random batches.
pub struct StepBench {
    network: Network,
    optimizer: AdamW,
    steps: u64,
}

impl StepBench {
    /// Starts from a checkpoint.
    ///
    /// # Errors
    /// Errors of [`start`].
    pub fn new(checkpoint: &Path) -> Result<Self, Error> {
        let from = Checkpoint::open(checkpoint)?;
        let mut config = from.config.clone();
        config.set_family(&DISTILBERT);
        let layers = (0..config.encoder.layers).collect();
        let heads = Heads::Exits(
            (1..=config.encoder.layers).collect(),
            Pooling::Mean,
            config.encoder.hidden,
        );
        let network =
            start(&Start { from: &from, config, layers, heads, seed: 1, device: Device::Cpu })?;
        let optimizer = AdamW::new(network.parameters(), (0.9, 0.999), 1e-8, 0.01)?;
        Ok(StepBench { network, optimizer, steps: 0 })
    }

    /// Runs forward pass, backward pass, clipping and AdamW for sentences of these lengths, with
    /// dropout.
    ///
    /// # Errors
    /// [`Error::Compute`].
    pub fn run(&mut self, lengths: &[usize]) -> Result<Duration, Error> {
        let mut rng = Rng::new(&[self.steps]);
        let vocabulary = self.network.config.encoder.vocabulary;
        let batch = Batch::new(
            lengths
                .iter()
                .map(|n| (0..*n).map(|_| rng.below(vocabulary) as u32).collect::<Vec<_>>()),
        );
        let labels: Vec<_> = lengths.iter().map(|_| Some(rng.below(2) as u32)).collect();
        let targets = Targets {
            task: tasks::of(&self.network.config.task)?,
            labels: &labels,
            teacher_logits: None,
            teacher: None,
            projections: &[],
        };
        let begun = Instant::now();
        let mode = Mode { training: Some((0.1, self.steps)), ..Mode::predict() };
        let output = self.network.forward(&batch, &mode)?;
        let loss = Losses::default().of(&output, &batch, &targets)?;
        let mut gradients = loss.total.backward()?;
        self.network.absorb(&mut gradients)?;
        self.optimizer.step(1e-6, 1.0, Some(1.0))?;
        self.steps += 1;
        Ok(begun.elapsed())
    }
}
