//! Data sets: reading, splitting, batching.
//!
//! [`edge_export::data`] reads the files.

mod batches;
mod split;

pub use batches::{batches, in_order};
pub use edge_export::data::{Columns, Dataset, Example, Guess};
pub use split::{Split, hold_out};
