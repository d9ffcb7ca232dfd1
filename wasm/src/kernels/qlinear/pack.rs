//! Weights in the order in which the kernels read them.

pub(super) use crate::graph::packing::{LANES, Line};

use crate::graph::Packing;
use crate::graph::packing::{Lines, PAIRS};
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

/// Returns the form of weights and rows for an instruction set; `narrow` weights are −64…63.
fn format(isa: Isa, narrow: bool) -> Format {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    if isa == Isa::Portable {
        // The bytes of AVX2 suit the dot product of relaxed SIMD.
        let relaxed = narrow && cfg!(target_feature = "relaxed-simd");
        let like = if relaxed { Isa::Avx2 } else { Isa::Portable };
        return Format { packing: like.packing(narrow), wide: !relaxed, halves: !relaxed };
    }
    Format { packing: isa.packing(narrow), wide: isa.is_wide(narrow), halves: false }
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
    pub(super) isa: Isa,
    /// True if the kernel is that for weights in −64…63.
    pub(super) narrow: bool,
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
    pub fn for_isa(
        isa: Isa,
        inputs: usize,
        outputs: usize,
        values: &[u8],
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert!(Isa::available().contains(&isa), "this processor does not have {isa:?}");
        Self::pack((isa, PAIRS.is_narrow(values)), inputs, outputs, values, scales, bias)
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
        let reads = |narrow: &bool| {
            let format = format(isa, *narrow);
            format.packing == packing && !format.halves
        };
        match [true, false].into_iter().find(reads) {
            Some(narrow) => Self::new((isa, narrow), inputs, outputs, values.into(), scales, bias),
            None => {
                let narrow = packing.is_narrow(&values);
                let to = format(isa, narrow).packing;
                let lines = to.lines_of(inputs, outputs, (packing, &values));
                Self::of_lines((isa, narrow), inputs, outputs, lines, scales, bias)
            }
        }
    }

    pub(super) fn pack(
        (isa, narrow): (Isa, bool),
        inputs: usize,
        outputs: usize,
        values: &[u8],
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert!(inputs > 0, "rows must have a width");
        let lines = format(isa, narrow).packing.lines(inputs, outputs, values);
        Self::of_lines((isa, narrow), inputs, outputs, lines, scales, bias)
    }

    /// Takes lines that have one owner: halves of panels can be split in place.
    fn of_lines(
        (isa, narrow): (Isa, bool),
        inputs: usize,
        outputs: usize,
        mut lines: Vec<Line>,
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        if format(isa, narrow).halves {
            lines.chunks_exact_mut(inputs.div_ceil(4)).for_each(split_halves);
        }
        Self::new((isa, narrow), inputs, outputs, lines.into(), scales, bias)
    }

    fn new(
        (isa, narrow): (Isa, bool),
        inputs: usize,
        outputs: usize,
        lines: Lines,
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert_eq!((scales.len(), bias.len()), (outputs, outputs));
        let [blocks, _, panels, ..] = format(isa, narrow).packing.shape(inputs, outputs);
        let padded = |values: &[f32]| {
            let mut padded = vec![[0.0; LANES]; blocks * panels];
            padded.as_flattened_mut()[..outputs].copy_from_slice(values);
            padded
        };
        let (scales, bias) = (padded(scales), padded(bias));
        PackedWeights { inputs, outputs, isa, narrow, lines, scales, bias }
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
        format(self.isa, self.narrow)
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
