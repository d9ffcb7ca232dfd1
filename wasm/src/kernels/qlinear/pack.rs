//! Weights in the order in which the kernels read them.

pub(super) use crate::graph::packing::{LANES, Line};

use crate::graph::packing::Lines;
use crate::graph::{Packing, Target};
use crate::kernels::isa::Isa;
use bytes::Bytes;

/// Layout of weights and rows for an instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    /// Order of the weights.
    pub(super) packing: Packing,
    /// True if inputs are widened to 16 bits: a group of a row is then two inputs, otherwise four.
    pub(super) wide: bool,
    /// True if in a panel all inputs of the first eight outputs are before those of the others.
    pub(super) halves: bool,
}

impl Format {
    /// Returns the number of groups of a row, with the padding to whole lines.
    pub(super) fn groups(self, inputs: usize) -> usize {
        inputs.div_ceil(4) * if self.wide { 2 } else { 1 }
    }
}

/// Ways to multiply.
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
    /// Method for weights in −64…63.
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
    /// Method for weights in −64…63.
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    RelaxedBytes,
}

impl Method {
    /// Returns the fastest method; `narrow` weights are in −64…63.
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
            // The sum of two products of at most 127 · 127 fits in 16 bits.
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
            // The dot product of relaxed SIMD takes the same bytes.
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

/// Moves all pairs of inputs of a panel's first eight outputs before those of the others.
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
    /// inputs of a group are side by side, one group for each output. The padding of inputs has
    /// zero weights, the padding of outputs zero scales and biases.
    lines: Lines,
    scales: Vec<[f32; LANES]>,
    bias: Vec<[f32; LANES]>,
}

impl PackedWeights {
    /// Packs weights for an instruction set of this processor.
    ///
    /// `values` is `[inputs, outputs]`, bytes in two's complement, with a scale and a bias per
    /// output.
    ///
    /// # Panics
    /// If the processor lacks the instruction set, or the lengths contradict one another.
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

    /// Takes weights that are packed already.
    ///
    /// They stay in place if a kernel of the instruction set reads their order and their address is
    /// a multiple of 64. Otherwise they are copied and reordered.
    ///
    /// # Panics
    /// Panics of [`for_isa`](Self::for_isa).
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

    /// Takes lines that have one owner: halves of panels can be split in place.
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

    /// Width of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of an output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn format(&self) -> Format {
        self.method.format()
    }

    /// True if the weights are in these bytes.
    #[cfg(test)]
    pub(super) fn lies_in(&self, bytes: &Bytes) -> bool {
        bytes.as_ptr_range().contains(&self.lines.as_slice().as_ptr().cast())
    }

    /// Returns the number of blocks of `P` panels.
    pub(super) fn blocks<const P: usize>(&self) -> usize {
        self.scales.len() / P
    }

    /// Returns a block of weights.
    pub(super) fn block<const P: usize>(&self, block: usize) -> &[[Line; P]] {
        let steps = self.inputs.div_ceil(4);
        &self.lines.as_slice().as_chunks::<P>().0[block * steps..][..steps]
    }

    /// Returns the scales and the biases of a block.
    pub(super) fn columns<const P: usize>(
        &self,
        block: usize,
    ) -> (&[[f32; LANES]; P], &[[f32; LANES]; P]) {
        (&self.scales.as_chunks::<P>().0[block], &self.bias.as_chunks::<P>().0[block])
    }
}
