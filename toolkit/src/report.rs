//! Reports that compare models.
//!
//! A [`suite`] of models is [measured](crate::measure) and timed together, which leaves a [`record`] of
//! each; [`compare`] makes the report of these.

pub mod compare;
pub mod record;
pub mod speed;
pub mod suite;
