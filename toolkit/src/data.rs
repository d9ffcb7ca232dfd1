//! Data sets: reading, splitting, batching, fetching.
//!
//! [`edge_export::data`] reads the files.

mod batches;
pub mod hub;
mod split;

pub use batches::{batches, in_order};
pub use edge_export::data::{Columns, Dataset, Example, Guess};
pub use split::{Split, hold_out};
