//! Training: recipes, losses, the optimizer, the loop and its checkpoints.
