//! Training: recipes, losses, the optimizer, the loop and its checkpoints.

pub mod loss;
pub mod optimizer;
mod step;

pub use step::StepBench;
