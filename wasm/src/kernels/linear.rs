//! The linear layer in f32: product, bias, activation.

use super::activation::activated;
use super::isa::{Isa, compiled};
use super::lanes::{LANES, Lanes, Line, Vector, dot, product, write};
use crate::graph::Activation;

/// Weights of a linear layer, packed for [`linear`].
///
/// Whole panels of 16 outputs are side by side, `[panels][inputs][16]`. The remaining outputs are
/// `[outputs][inputs]`. Without padding, packed weights take no more memory than those in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    inputs: usize,
    panels: Vec<Line>,
    rest: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    /// Packs weights of the shape `[inputs, bias.len()]`.
    ///
    /// # Panics
    /// If the lengths contradict one another.
    pub fn new(inputs: usize, values: &[f32], bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        assert_eq!(values.len(), inputs * outputs);
        let whole = outputs / LANES * LANES;
        let mut panels = Vec::with_capacity(whole / LANES * inputs);
        for first in (0..whole).step_by(LANES) {
            panels.extend(values.chunks_exact(outputs).map(|row| {
                Line(row[first..first + LANES].try_into().expect("it has sixteen elements"))
            }));
        }
        let rest = (whole..outputs).flat_map(|o| (0..inputs).map(move |i| i * outputs + o));
        let rest = rest.map(|at| values[at]).collect();
        Weights { inputs, panels, rest, bias }
    }

    /// Width of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of an output row.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }
}

/// Computes `out = activation(x · W + bias)`. `x` is `[rows, inputs]`, `out` `[rows, outputs]`.
pub fn linear(isa: Isa, x: &[f32], weights: &Weights, activation: Activation, out: &mut [f32]) {
    compiled!(isa, layer(x: &[f32], weights: &Weights, activation: Activation, out: &mut [f32]));
}

#[inline(always)]
fn layer<V: Vector>(x: &[f32], w: &Weights, activation: Activation, out: &mut [f32]) {
    // A tile fills half of the registers; the other half is for the factors.
    match V::REGISTERS {
        32.. => tiled::<V, 8, 2>(x, w, activation, out),
        8.. => tiled::<V, 4, 1>(x, w, activation, out),
        _ => tiled::<V, 2, 1>(x, w, activation, out),
    }
}

/// Computes the layer in tiles of `R` rows by `P` panels: a panel is read from memory once for all
/// rows.
#[inline(always)]
fn tiled<V: Vector, const R: usize, const P: usize>(
    x: &[f32],
    w: &Weights,
    activation: Activation,
    out: &mut [f32],
) {
    let panels = w.panels.len() / w.inputs;
    let together = panels / P * P;
    for panel in (0..together).step_by(P) {
        column::<V, R, P>(x, w, panel, activation, out);
    }
    for panel in together..panels {
        column::<V, R, 1>(x, w, panel, activation, out);
    }
    let (k, n, first) = (w.inputs, w.bias.len(), panels * LANES);
    if first < n {
        for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
            let out = &mut out[first..];
            for ((out, column), bias) in
                out.iter_mut().zip(w.rest.chunks_exact(k)).zip(&w.bias[first..])
            {
                *out = dot::<V>(x, column) + bias;
            }
            activated::<V>(out, activation);
        }
    }
}

/// Multiplies all rows by `P` panels.
#[inline(always)]
fn column<V: Vector, const R: usize, const P: usize>(
    x: &[f32],
    w: &Weights,
    panel: usize,
    activation: Activation,
    out: &mut [f32],
) {
    let rows = x.len() / w.inputs;
    let mut row = 0;
    while row < rows {
        row += match rows - row {
            1 => tile::<V, 1, P>(x, w, row, panel, activation, out),
            _ => tile::<V, R, P>(x, w, row, panel, activation, out),
        };
    }
}

/// Multiplies up to `R` rows by `P` panels and returns the number of rows. If fewer than `R` rows
/// are left, the last row is computed several times.
#[inline(always)]
fn tile<V: Vector, const R: usize, const P: usize>(
    x: &[f32],
    w: &Weights,
    row: usize,
    panel: usize,
    activation: Activation,
    out: &mut [f32],
) -> usize {
    let (k, n) = (w.inputs, w.bias.len());
    let rows = R.min(x.len() / k - row);
    let x = std::array::from_fn(|r| &x[(row + r.min(rows - 1)) * k..][..k]);
    let mut tile = product::<V, R, P>(k, x, 1, &w.panels[panel * k..], 1, k);
    let (first, columns) = (panel * LANES, P * LANES);
    let bias = &w.bias[first..][..columns].as_chunks::<LANES>().0;
    for r in 0..R {
        for p in 0..P {
            tile[r][p] = tile[r][p] + Lanes::load(&bias[p]);
        }
    }
    let out = &mut out[row * n..][..rows * n];
    write(tile, rows, columns, &mut out[first..], n);
    for out in out.chunks_exact_mut(n) {
        activated::<V>(&mut out[first..][..columns], activation);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, same_everywhere};

    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (rows, k, n) in [
            (1, 1, 1),
            (3, 5, 2),
            (2, 40, 16),
            (9, 33, 35),
            (17, 64, 48),
            (1, 384, 130),
            (5, 7, 81),
        ] {
            let (x, w, bias) = (floats(rows * k, 1), floats(k * n, 2), floats(n, 3));
            let weights = Weights::new(k, &w, bias.clone());
            assert_eq!((weights.inputs(), weights.outputs()), (k, n));
            let out = same_everywhere(rows * n, |isa, out| {
                linear(isa, &x, &weights, Activation::Identity, out);
            });
            for (i, out) in out.iter().enumerate() {
                let (row, o) = (i / n, i % n);
                let exact = (0..k)
                    .map(|j| f64::from(x[row * k + j]) * f64::from(w[j * n + o]))
                    .sum::<f64>()
                    + f64::from(bias[o]);
                let error = (f64::from(*out) - exact).abs();
                assert!(error < 1e-6 * k as f64 + 1e-6, "{rows} x {k} x {n}: {out}, not {exact}");
            }
            let mut relu = vec![f32::NAN; rows * n];
            linear(Isa::detect(), &x, &weights, Activation::Relu, &mut relu);
            assert!(relu.iter().zip(&out).all(|(relu, x)| *relu == x.max(0.0)));
        }
    }

    #[test]
    fn a_row_does_not_depend_on_those_beside_it() {
        let (k, n) = (37, 50);
        let (x, weights) = (floats(19 * k, 1), Weights::new(k, &floats(k * n, 2), floats(n, 3)));
        let mut together = vec![0.0; 19 * n];
        linear(Isa::detect(), &x, &weights, Activation::Gelu, &mut together);
        for (x, expected) in x.chunks(k).zip(together.chunks(n)) {
            let mut alone = vec![0.0; n];
            linear(Isa::detect(), x, &weights, Activation::Gelu, &mut alone);
            assert_eq!(alone, expected);
        }
    }
}
