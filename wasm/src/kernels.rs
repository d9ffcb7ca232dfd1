//! What the tract engine computes, on plain slices: one file per kernel.
//!
//! Rows are the tokens of all sentences of a batch, side by side and without padding;
//! `offsets[s]..offsets[s + 1]` are the rows of sentence `s`.

pub mod activation;
pub mod attention;
pub mod embed;
pub mod norm;
pub mod pool;
pub mod qlinear;
