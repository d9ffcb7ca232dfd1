//! The settings and the events of a run besides its recipe.

use super::log::StepLog;
use crate::{Error, files};
use candle_core::{DType, Device};
use std::sync::atomic::{AtomicBool, Ordering};

/// Settings of a run besides its recipe.
pub struct Options {
    /// Output folder of the checkpoint. The run's own files are in a folder beside it, with the
    /// same name and `.work`.
    pub output: files::Output,
    /// Device of the computation.
    pub device: Device,
    /// Number format of the large matrix products: f32 or bf16.
    pub precision: DType,
    /// Number format of the saved weights.
    pub stored: DType,
    /// True if an interrupted run is resumed; otherwise it begins again.
    pub resume: bool,
}

/// Progress of a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// Message for the user.
    Note(String),
    /// Work outside of training steps: its name, the completed amount and the total.
    Progress(&'static str, usize, usize),
    /// Completed step, and the number of all steps.
    Step(&'a StepLog, usize),
    /// Accuracy of every exit on the held-out rows, 0 to 1.
    HeldOut(&'a [f64]),
}

/// Result of a run.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Number of all steps.
    pub steps: usize,
    /// Accuracy of every exit on the held-out rows, 0 to 1; empty without held-out rows.
    pub held_out: Vec<f64>,
}

/// Returns an error if the run was told to stop.
pub(crate) fn check(stop: &AtomicBool) -> Result<(), Error> {
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted { step: None }) } else { Ok(()) }
}
