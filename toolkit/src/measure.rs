//! Measuring a classifier and calibrating its exits.
//!
//! The way of the data: [`Examples`] → [`Outcomes`](outcome::Outcomes) (the logits of every exit for every
//! sentence, from one pass at full depth) → [`calibrate`] (choosing the exit policy) →
//! [`evaluation`] (all figures) → [`curve`] and [`table`] (showing them). The network runs once:
//! the effect of a policy follows from the logits.

pub mod calibrate;
pub mod curve;
pub mod evaluation;
mod examples;
pub mod metrics;
pub mod outcome;
pub mod table;

pub use examples::{Examples, calibrate_checkpoint, labels, outcomes, policy};
