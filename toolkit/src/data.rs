//! Data sets: reading, splitting, batching.
//!
//! Files are read by [`edge_export::data`].

mod batches;
mod split;

pub use batches::{batches, in_order};
pub use edge_export::data::{Columns, Dataset, Example, Guess};
pub use split::{Split, hold_out};
