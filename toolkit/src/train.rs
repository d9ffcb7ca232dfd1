//! Training: recipes, losses, the optimizer, the loop and its checkpoints.
//!
//! [`recipe`] holds every setting; [`train`](train()) makes a checkpoint from it.

mod average;
mod corpus;
mod events;
mod layers;
mod log;
pub mod loss;
pub mod metrics;
pub mod optimizer;
mod plan;
pub mod recipe;
mod run;
mod state;
mod step;
mod teacher;

pub use average::average;
pub use corpus::{Corpus, tokenizer};
pub use log::Step;
pub use plan::load;
pub(crate) use run::work;
pub use run::{Event, Options, Trained, train, work_folder};
pub use step::StepBench;
pub use teacher::predict;

use crate::Error;
use std::sync::atomic::{AtomicBool, Ordering};

/// An error if the run was told to stop.
pub(crate) fn check(stop: &AtomicBool) -> Result<(), Error> {
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted { step: None }) } else { Ok(()) }
}
