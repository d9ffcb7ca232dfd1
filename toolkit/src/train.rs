//! Training: recipes, losses, the optimizer, the loop and its checkpoints.

mod events;
pub mod metrics;
