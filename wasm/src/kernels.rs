//! Kernels of the CPU engine, on plain slices: one file per kernel.
//!
//! Rows are the tokens of all sentences of a batch, side by side and without padding.
//! `offsets[s]..offsets[s + 1]` are the rows of sentence `s`.
//!
//! A kernel is written once, over the registers of any instruction set (`lanes`), and compiled for
//! each [`isa::Isa`].
//!
//! Every build and every instruction set computes the same bits. Sums have a fixed order, nothing
//! is contracted to fused multiply-adds, and the crate has its own `exp` and `tanh`. Otherwise
//! machines would round an activation between two int8 values differently. Then answers would
//! differ by far more than the last bit.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over lanes and over the rows of a tile are unrolled and vectorized best by index"
)]

pub mod activation;
pub mod attention;
pub mod embed;
pub mod isa;
mod lanes;
pub mod linear;
pub mod math;
pub mod norm;
pub mod pool;
pub mod qlinear;
#[cfg(test)]
mod testing;
