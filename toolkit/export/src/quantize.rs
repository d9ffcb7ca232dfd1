//! Number formats of the weights, and rounding to them.
//!
//! A linear layer is a [`Site`]; [`Sites`] are sets of them. [`Int8`] contains the number of bits
//! of each part; [`int8`] and [`int4`] round.

mod bits;
pub mod int4;
pub mod int8;
mod linear;
pub mod rounding;
mod scheme;
mod sites;

pub use bits::{EMBEDDING_GROUP, EmbeddingBits, Grid, Int8, Precision, WeightBits};
pub use linear::linear;
pub use scheme::{Bits, Quantize};
pub use sites::{Site, Sites};
