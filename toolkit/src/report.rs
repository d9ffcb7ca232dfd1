//! Measuring a classifier, calibrating its exits, and showing both.
//!
//! The way of the data: [`Outcomes`](outcome::Outcomes) (the logits of every exit for every
//! sentence, from one pass at full depth) → [`calibrate`] (choosing the exit policy) →
//! [`evaluation`] (all figures) → [`curve`] and [`table`] (showing them). [`measure`] gets them
//! from a checkpoint or a bundle. Nothing of this runs the
//! network again: what a policy would do follows from the logits.
//!
//! Several models: a [`suite`] of them is measured and timed together, which leaves a
//! [`record`] of each; [`compare`] makes the report of these.

pub mod calibrate;
pub mod compare;
pub mod curve;
pub mod evaluation;
pub mod measure;
pub mod metrics;
pub mod outcome;
pub mod record;
pub mod speed;
pub mod suite;
pub mod table;
