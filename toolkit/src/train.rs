//! Training: recipes, losses, the optimizer, the loop and its checkpoints.
//!
//! [`recipe`] contains every setting; [`train`](train()) produces a checkpoint from a recipe.

mod average;
mod bench;
mod corpus;
mod events;
mod log;
pub mod loss;
pub mod metrics;
pub mod optimizer;
mod options;
mod plan;
pub mod recipe;
mod run;
pub mod sparsity;
mod state;
mod teacher;
mod teacher_layers;

pub use average::average;
pub use bench::StepBench;
pub use corpus::{Corpus, tokenizer};
pub use log::StepLog;
pub use options::{Event, Options, Trained};
pub use run::{train, work_folder};
pub use teacher::predict;

pub(crate) use options::check;
pub(crate) use run::work;
