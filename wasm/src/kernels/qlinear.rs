//! The int8 linear layer: quantize each row, integer product, rescale, bias, activation.
//!
//! One driver serves all instruction sets. A `Kernel` multiplies a tile of rows by a block of
//! outputs, with the sums in registers. All kernels compute the same integers.
//!
//! Some instructions take unsigned weights: then packing adds a constant to each weight. The sums
//! start from minus the constant times the sum of the row.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod driver;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
#[cfg(not(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod portable;
mod quantize;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(test)]
mod tests;

pub use pack::PackedWeights;

use super::isa::Isa;
use crate::graph::Activation;
use driver::Layer;
use pack::Line;
use quantize::Quantized;

/// Buffers of [`qlinear`], kept between calls: after warm-up nothing is allocated.
#[derive(Default, Debug)]
pub struct Scratch {
    quantized: Quantized,
    room: Vec<Line>,
}

/// Computes an int8 linear layer for every row of `x`.
///
/// `out = activation((q · W) · scale · (max|x| / 127) + bias)`, where
/// `q = round(x · 127 / max|x|)`, ties to even. The output of a row with a NaN is NaNs.
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
    let Scratch { quantized, room } = scratch;
    let layer = Layer { x, weights, activation, quantized, room, out };
    match (weights.isa, weights.narrow) {
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        (Isa::Portable, true) => layer.run::<simd128::RelaxedBytes, _>(),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        (Isa::Portable, _) if x.len() < simd128::MANY_ROWS * weights.inputs() => {
            layer.run::<simd128::Pairs, _>();
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        (Isa::Portable, _) => layer.run::<simd128::WidePairs, _>(),
        #[cfg(not(any(
            target_arch = "aarch64",
            all(target_arch = "wasm32", target_feature = "simd128")
        )))]
        (Isa::Portable, _) => layer.run::<portable::Portable, _>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: weights are packed only for instructions of this processor.
        (Isa::Avx2, false) => unsafe { avx2::pairs(layer) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx2, true) => unsafe { avx2::bytes(layer) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::AvxVnni, _) => unsafe { avx_vnni::bytes(layer) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx512Vnni, _) => unsafe { avx512::bytes(layer) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Amx, _) => unsafe { amx::bytes(layer) },
        #[cfg(target_arch = "aarch64")]
        (Isa::Neon, _) => layer.run::<neon::Pairs, _>(),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        (Isa::NeonDot, _) => unsafe { neon::dot(layer) },
        _ => unreachable!("weights are packed only for instructions of this processor"),
    }
}
