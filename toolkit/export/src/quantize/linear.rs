//! Weights of a linear layer on the grid of its bits.

use super::rounding::Quantized;
use super::{Grid, int4, int8};

/// Weights of a linear layer, `[inputs, outputs]`, as the runtime multiplies them. Weights of 4
/// bits are signed bytes like the others.
pub fn linear(values: &[f32], outputs: usize, grid: Grid) -> Quantized {
    match grid {
        Grid::Integers(bits) => int8::per_column(values, outputs, bits.largest()),
        Grid::Products(bits) => int4::halves(values, outputs, bits).expanded,
    }
}
