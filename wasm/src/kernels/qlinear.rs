//! The int8 linear layer: quantize each row, integer product, rescale, bias, activation.
//!
//! One driver serves all instruction sets; a [`Kernel`] multiplies a tile of rows by a block of
//! outputs and keeps the sums in registers while it does. All kernels give the same integers: where
//! an instruction takes unsigned weights, a constant is added to each weight at packing and its
//! share, the constant times the sum of the row, is where the sums start from.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod pack;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod portable;
mod quantize;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(test)]
mod tests;

pub use pack::PackedWeights;

use super::activation::activate;
use crate::graph::Activation;
use pack::{LANES, Line, Method};
use quantize::{Quantized, quantize};

/// Buffers of [`qlinear`], kept between calls so that nothing is allocated after warm-up.
#[derive(Default, Debug)]
pub struct Scratch {
    quantized: Quantized,
}

/// `out = activation((q · W) · scale · (max|x| / 127) + bias)` for every row of `x`, where
/// `q = round(x · 127 / max|x|)`, ties to even. A row with a NaN gives NaNs.
///
/// `x` is `[rows, inputs]`, `out` `[rows, outputs]`.
///
/// # Panics
/// If the lengths contradict one another.
pub fn qlinear(
    x: &[f32],
    weights: &PackedWeights,
    activation: Activation,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    assert_eq!(x.len() % weights.inputs(), 0);
    assert_eq!(x.len() / weights.inputs() * weights.outputs(), out.len());
    let layer = Layer { x, weights, activation, quantized: &mut scratch.quantized, out };
    match weights.method {
        #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
        Method::Portable => layer.run::<portable::Portable, _>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: weights are packed only for what the processor has.
        Method::Avx2Pairs => unsafe { avx2::pairs(layer) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Method::Avx2Bytes => unsafe { avx2::bytes(layer) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Method::AvxVnni => unsafe { avx_vnni::bytes(layer) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Method::Avx512Vnni => unsafe { avx512::bytes(layer) },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Method::Simd128Pairs => layer.run::<simd128::Pairs, _>(),
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        Method::RelaxedBytes => layer.run::<simd128::RelaxedBytes, _>(),
    }
}

/// The sums of `R` rows by a block of `P` panels.
type Sums<const R: usize, const P: usize> = [[[i32; LANES]; P]; R];

/// How an instruction set multiplies; `P` panels of outputs make a block.
trait Kernel<const P: usize> {
    /// The largest tile that its registers hold; at most [`MOST_ROWS`].
    const ROWS: usize;

    /// The sums of `R` rows by a block, counted from `starts`. Rows and block are grouped for this
    /// kernel's [`Method`]: for every line of a panel a row has one group of four, or two of two.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; P]],
    ) -> Sums<R, P>;
}

/// The most rows that any tile has.
const MOST_ROWS: usize = 6;

/// The arguments of [`qlinear`].
struct Layer<'a> {
    x: &'a [f32],
    weights: &'a PackedWeights,
    activation: Activation,
    quantized: &'a mut Quantized,
    out: &'a mut [f32],
}

impl Layer<'_> {
    /// The whole layer. What it calls is inlined: only so is it compiled for the instruction set
    /// of the caller.
    ///
    /// All rows go by a block before the next one: the weights, which are by far the most, come
    /// from memory once.
    #[inline(always)]
    fn run<K: Kernel<P>, const P: usize>(mut self) {
        let weights = self.weights;
        quantize(self.x, weights.inputs(), weights.format(), self.quantized);
        let rows = self.quantized.rows.len();
        for block in 0..weights.blocks::<P>() {
            let mut first = 0;
            while first < rows {
                // Tiles as even as can be: a last tile of one row would keep few sums in flight.
                let left = rows - first;
                let tile = left.div_ceil(left.div_ceil(K::ROWS));
                match tile {
                    1 => self.tile::<K, P, 1>(block, first),
                    2 => self.tile::<K, P, 2>(block, first),
                    3 if K::ROWS >= 3 => self.tile::<K, P, 3>(block, first),
                    4 if K::ROWS >= 4 => self.tile::<K, P, 4>(block, first),
                    5 if K::ROWS >= 5 => self.tile::<K, P, 5>(block, first),
                    MOST_ROWS if K::ROWS >= MOST_ROWS => self.tile::<K, P, MOST_ROWS>(block, first),
                    _ => unreachable!("a tile has at most {} rows", K::ROWS),
                }
                first += tile;
            }
        }
    }

    /// Multiplies, rescales and activates `R` rows from `first` by a block.
    #[inline(always)]
    fn tile<K: Kernel<P>, const P: usize, const R: usize>(&mut self, block: usize, first: usize) {
        let weights = self.weights;
        let groups = weights.format().groups(weights.inputs());
        let mut q: [&[[u8; 4]]; R] = [&[]; R];
        let mut starts = [0; R];
        for r in 0..R {
            q[r] = &self.quantized.groups[(first + r) * groups..][..groups];
            starts[r] = self.quantized.rows[first + r].start;
        }
        // SAFETY: `run` is instantiated in functions that ask for the instructions of `K`.
        let sums = unsafe { K::tile(q, starts, weights.block::<P>(block)) };
        let (scales, bias) = weights.columns::<P>(block);
        let column = block * P * LANES;
        let width = (P * LANES).min(weights.outputs() - column);
        for (r, sums) in sums.iter().enumerate() {
            let scale = self.quantized.rows[first + r].scale;
            let mut chunk = [[0.0f32; LANES]; P];
            let columns = scales.as_flattened().iter().zip(bias.as_flattened());
            let values = chunk.as_flattened_mut();
            for ((out, sum), (column, bias)) in
                values.iter_mut().zip(sums.as_flattened()).zip(columns)
            {
                *out = *sum as f32 * column * scale + bias;
            }
            activate(values, self.activation);
            let out = &mut self.out[(first + r) * weights.outputs() + column..][..width];
            // Whole arrays are moved by registers, not by a call.
            let (whole, rest) = out.as_chunks_mut::<LANES>();
            for (out, chunk) in whole.iter_mut().zip(&chunk) {
                *out = *chunk;
            }
            if let Some(last) = chunk.get(whole.len()) {
                rest.copy_from_slice(&last[..rest.len()]);
            }
        }
    }
}
