//! Weights in the order in which the kernels read them.

pub(super) use crate::graph::packing::{LANES, Line};

use crate::graph::packing::Lines;
use crate::graph::{Packing, Target};
use crate::kernels::isa::Isa;
use bytes::Bytes;

/// How weights and rows are laid out for an instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    /// The order of the weights.
    pub(super) packing: Packing,
    /// Whether inputs are widened to 16 bits: a group of a row is then two of them, else four.
    pub(super) wide: bool,
    /// Whether in a panel all inputs of the first eight outputs stand before those of the others.
    pub(super) halves: bool,
}

impl Format {
    /// Groups of a row of so many inputs, the padding to whole lines included.
    pub(super) fn groups(self, inputs: usize) -> usize {
        inputs.div_ceil(4) * if self.wide { 2 } else { 1 }
    }
}

/// The ways to multiply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    #[cfg(any(
        test,
        not(any(
            target_arch = "aarch64",
            all(target_arch = "wasm32", target_feature = "simd128")
        ))
    ))]
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2Pairs,
    /// For weights in −64…63.
    #[cfg(target_arch = "x86_64")]
    Avx2Bytes,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "aarch64")]
    NeonPairs,
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128Pairs,
    /// For weights in −64…63.
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    RelaxedBytes,
}

impl Method {
    /// The fastest; `narrow` weights lie in −64…63.
    pub(super) fn fastest(isa: Isa, narrow: bool) -> Method {
        match (isa, narrow) {
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            (Isa::Baseline, true) => Method::RelaxedBytes,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            (Isa::Baseline, _) => Method::Simd128Pairs,
            #[cfg(target_arch = "aarch64")]
            (Isa::Baseline, _) => Method::NeonPairs,
            #[cfg(not(any(
                target_arch = "aarch64",
                all(target_arch = "wasm32", target_feature = "simd128")
            )))]
            (Isa::Baseline, _) => Method::Portable,
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, true) => Method::Avx2Bytes,
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, _) => Method::Avx2Pairs,
            #[cfg(target_arch = "x86_64")]
            (Isa::AvxVnni, _) => Method::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Vnni, _) => Method::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, _) => Method::Amx,
            #[cfg(target_arch = "aarch64")]
            (Isa::NeonDot, _) => Method::NeonDot,
        }
    }

    fn format(self) -> Format {
        let (target, narrow, wide) = match self {
            #[cfg(any(
                test,
                not(any(
                    target_arch = "aarch64",
                    all(target_arch = "wasm32", target_feature = "simd128")
                ))
            ))]
            Method::Portable => (Target::Portable, false, true),
            #[cfg(target_arch = "x86_64")]
            Method::Avx2Pairs => (Target::Avx2, false, true),
            // Two products of at most 127 · 127 do not saturate 16 bits.
            #[cfg(target_arch = "x86_64")]
            Method::Avx2Bytes => (Target::Avx2, true, false),
            #[cfg(target_arch = "x86_64")]
            Method::AvxVnni => (Target::AvxVnni, false, false),
            #[cfg(target_arch = "x86_64")]
            Method::Avx512Vnni | Method::Amx => (Target::Avx512Vnni, false, false),
            #[cfg(target_arch = "aarch64")]
            Method::NeonPairs => (Target::Neon, false, false),
            #[cfg(target_arch = "aarch64")]
            Method::NeonDot => (Target::NeonDot, false, false),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Method::Simd128Pairs => (Target::Portable, false, true),
            // The same bytes suit the dot product of relaxed SIMD.
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Method::RelaxedBytes => (Target::Avx2, true, false),
        };
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let halves = self == Method::Simd128Pairs;
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        let halves = false;
        Format { packing: target.packing(narrow), wide, halves }
    }
}

/// Puts all pairs of inputs of a panel's first eight outputs before those of the others.
fn split_halves(panel: &mut [Line]) {
    let pairs = panel.to_vec();
    let to = panel.iter_mut().flat_map(|line| line.0.as_chunks_mut::<LANES>().0);
    let of = |half: usize| {
        pairs
            .iter()
            .flat_map(move |line| line.0.as_chunks::<LANES>().0.iter().skip(half).step_by(2))
    };
    to.zip(of(0).chain(of(1))).for_each(|(to, from)| *to = *from);
}

/// Int8 weights of a linear layer, packed for [`qlinear`](super::qlinear).
#[derive(Clone, Debug, PartialEq)]
pub struct PackedWeights {
    inputs: usize,
    outputs: usize,
    pub(super) method: Method,
    /// `[blocks][lines][panels of a block]`: a block is read from front to back. In a line the
    /// inputs of a group stand side by side, one group for each output. Inputs that do not fill up
    /// meet zeros, and outputs that do not have scales and biases of zero.
    lines: Lines,
    scales: Vec<[f32; LANES]>,
    bias: Vec<[f32; LANES]>,
}

impl PackedWeights {
    /// Packs weights for one of the instruction sets that this processor has. They stand as
    /// `[inputs, outputs]`, bytes in two's complement, with a scale and a bias per output.
    ///
    /// # Panics
    /// If the processor does not have it, or the lengths contradict one another.
    pub fn for_isa(
        isa: Isa,
        inputs: usize,
        outputs: usize,
        values: &[u8],
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert!(Isa::available().contains(&isa), "this processor does not have {isa:?}");
        let narrow = Target::Portable.packing(false).is_narrow(values);
        Self::pack(Method::fastest(isa, narrow), inputs, outputs, values, scales, bias)
    }

    /// Weights that are packed already. They stay where they are if one of the instruction set's kernels
    /// reads their order and 64 divides their address; else they are copied, and put into its order.
    ///
    /// # Panics
    /// As [`for_isa`](Self::for_isa).
    pub fn of_packed(
        isa: Isa,
        inputs: usize,
        outputs: usize,
        (packing, values): (Packing, Bytes),
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert!(Isa::available().contains(&isa), "this processor does not have {isa:?}");
        assert_eq!(values.len(), packing.bytes(inputs, outputs));
        let methods = [true, false].map(|narrow| Method::fastest(isa, narrow));
        let reads = |method: &Method| {
            let format = method.format();
            format.packing == packing && !format.halves
        };
        match methods.into_iter().find(reads) {
            Some(method) => Self::new(method, inputs, outputs, values.into(), scales, bias),
            None => {
                let method = Method::fastest(isa, packing.is_narrow(&values));
                let to = method.format().packing;
                let lines = to.lines_of(inputs, outputs, (packing, &values));
                Self::of_lines(method, inputs, outputs, lines, scales, bias)
            }
        }
    }

    pub(super) fn pack(
        method: Method,
        inputs: usize,
        outputs: usize,
        values: &[u8],
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert!(inputs > 0, "rows must have a width");
        let lines = method.format().packing.lines(inputs, outputs, values);
        Self::of_lines(method, inputs, outputs, lines, scales, bias)
    }

    /// Of what no other holds, so that halves of panels can be split.
    fn of_lines(
        method: Method,
        inputs: usize,
        outputs: usize,
        mut lines: Vec<Line>,
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        if method.format().halves {
            lines.chunks_exact_mut(inputs.div_ceil(4)).for_each(split_halves);
        }
        Self::new(method, inputs, outputs, lines.into(), scales, bias)
    }

    fn new(
        method: Method,
        inputs: usize,
        outputs: usize,
        lines: Lines,
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert_eq!((scales.len(), bias.len()), (outputs, outputs));
        let [blocks, _, panels, ..] = method.format().packing.shape(inputs, outputs);
        let padded = |values: &[f32]| {
            let mut padded = vec![[0.0; LANES]; blocks * panels];
            padded.as_flattened_mut()[..outputs].copy_from_slice(values);
            padded
        };
        PackedWeights { inputs, outputs, method, lines, scales: padded(scales), bias: padded(bias) }
    }

    /// Width of a row that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of a row that comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn format(&self) -> Format {
        self.method.format()
    }

    /// Whether these bytes are the weights.
    #[cfg(test)]
    pub(super) fn lies_in(&self, bytes: &Bytes) -> bool {
        bytes.as_ptr_range().contains(&self.lines.as_slice().as_ptr().cast())
    }

    /// How many blocks of `P` panels there are.
    pub(super) fn blocks<const P: usize>(&self) -> usize {
        self.scales.len() / P
    }

    /// A block of weights.
    pub(super) fn block<const P: usize>(&self, block: usize) -> &[[Line; P]] {
        let steps = self.inputs.div_ceil(4);
        &self.lines.as_slice().as_chunks::<P>().0[block * steps..][..steps]
    }

    /// The scales and the biases of a block.
    pub(super) fn columns<const P: usize>(
        &self,
        block: usize,
    ) -> (&[[f32; LANES]; P], &[[f32; LANES]; P]) {
        (&self.scales.as_chunks::<P>().0[block], &self.bias.as_chunks::<P>().0[block])
    }
}
