//! The settings and the events of a run besides its recipe.

use super::log::Step;
use crate::{Error, files};
use candle_core::{DType, Device};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a run is given besides its recipe.
pub struct Options {
    /// Where the checkpoint goes. What the run needs for itself goes beside it, into a folder of
    /// the same name with `.work`.
    pub output: files::Output,
    /// Where it is computed.
    pub device: Device,
    /// Of the large matrix products: f32 or bf16.
    pub precision: DType,
    /// Of the stored weights.
    pub stored: DType,
    /// Whether a run that was stopped goes on; otherwise it begins again.
    pub resume: bool,
}

/// What happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something that the user is told.
    Note(String),
    /// Work apart from steps: a name for it, how much is done, and of how much.
    Progress(&'static str, usize, usize),
    /// A step was made, of so many.
    Step(&'a Step, usize),
    /// The accuracy on the held-out rows of every exit, 0 to 1.
    HeldOut(&'a [f64]),
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Steps made in all.
    pub steps: usize,
    /// Accuracy on the held-out rows of every exit, 0 to 1; empty if none were held out.
    pub held_out: Vec<f64>,
}

/// Returns an error if the run was told to stop.
pub(crate) fn check(stop: &AtomicBool) -> Result<(), Error> {
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted { step: None }) } else { Ok(()) }
}
