//! Weights in the order in which the kernels read them.

use crate::kernels::isa::Isa;

/// Outputs of a panel.
pub(super) const LANES: usize = 16;

/// Four inputs of a panel: as wide as the widest register and a cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u8; LANES * 4]);

/// How weights and rows are laid out for an instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    /// Consecutive inputs whose products one lane adds: 4 bytes, or 2 that are widened to 16 bits.
    pub(super) group: usize,
    /// What is added to every weight, so that an instruction can take it as unsigned.
    pub(super) shift: i32,
}

impl Format {
    /// Groups of a row of so many inputs, the padding to whole lines included.
    pub(super) fn groups(self, inputs: usize) -> usize {
        inputs.div_ceil(4) * (4 / self.group)
    }
}

/// The ways to multiply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
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
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            (Isa::Baseline, _) => Method::Portable,
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, true) => Method::Avx2Bytes,
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, _) => Method::Avx2Pairs,
            #[cfg(target_arch = "x86_64")]
            (Isa::AvxVnni, _) => Method::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Vnni, _) => Method::Avx512Vnni,
            #[cfg(target_arch = "aarch64")]
            (Isa::NeonDot, _) => Method::Portable,
        }
    }

    fn format(self) -> Format {
        match self {
            #[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
            Method::Portable => Format { group: 2, shift: 0 },
            #[cfg(target_arch = "x86_64")]
            Method::Avx2Pairs => Format { group: 2, shift: 0 },
            // Two products of at most 127 · 127 do not saturate 16 bits.
            #[cfg(target_arch = "x86_64")]
            Method::Avx2Bytes => Format { group: 4, shift: 64 },
            #[cfg(target_arch = "x86_64")]
            Method::AvxVnni | Method::Avx512Vnni => Format { group: 4, shift: 128 },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Method::Simd128Pairs => Format { group: 2, shift: 0 },
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Method::RelaxedBytes => Format { group: 4, shift: 64 },
        }
    }

    /// Panels of a block: as many as the kernel multiplies at once.
    fn panels(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Method::Avx512Vnni => 4,
            _ => 1,
        }
    }
}

/// Int8 weights of a linear layer, packed for [`qlinear`](super::qlinear).
#[derive(Clone, Debug, PartialEq)]
pub struct PackedWeights {
    inputs: usize,
    outputs: usize,
    pub(super) method: Method,
    /// `[blocks][lines][panels of a block]`: a block is read from front to back. In a line the
    /// inputs of a group stand side by side, one group for each output. Inputs and outputs that do
    /// not fill up are zeros, as are their scales and biases.
    lines: Vec<Line>,
    scales: Vec<[f32; LANES]>,
    bias: Vec<[f32; LANES]>,
}

impl PackedWeights {
    /// Packs weights for this processor. They stand as `[inputs, outputs]`, bytes in two's
    /// complement, with a scale and a bias per output.
    ///
    /// # Panics
    /// If the lengths contradict one another.
    pub fn new(inputs: usize, outputs: usize, values: &[u8], scales: &[f32], bias: &[f32]) -> Self {
        Self::for_isa(Isa::detect(), inputs, outputs, values, scales, bias)
    }

    /// Packs weights for one of the instruction sets that this processor has.
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
        let narrow = values.iter().all(|v| (-64..64).contains(&(*v as i8)));
        Self::pack(Method::fastest(isa, narrow), inputs, outputs, values, scales, bias)
    }

    pub(super) fn pack(
        method: Method,
        inputs: usize,
        outputs: usize,
        values: &[u8],
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        assert_eq!(values.len(), inputs * outputs);
        assert_eq!((scales.len(), bias.len()), (outputs, outputs));
        assert!(inputs > 0, "rows must have a width");
        let (Format { group, shift }, panels) = (method.format(), method.panels());
        let steps = inputs.div_ceil(4);
        let blocks = outputs.div_ceil(LANES * panels);
        let mut lines = vec![Line([0; LANES * 4]); blocks * steps * panels];
        for (i, row) in values.chunks_exact(outputs).enumerate() {
            for (o, value) in row.iter().enumerate() {
                let (panel, lane) = (o / LANES, o % LANES);
                let line = (panel / panels * steps + i / 4) * panels + panel % panels;
                let byte = (i % 4 / group * LANES + lane) * group + i % group;
                lines[line].0[byte] = (i32::from(*value as i8) + shift) as u8;
            }
        }
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

    /// How many blocks of `P` panels there are.
    pub(super) fn blocks<const P: usize>(&self) -> usize {
        self.scales.len() / P
    }

    /// A block of weights.
    pub(super) fn block<const P: usize>(&self, block: usize) -> &[[Line; P]] {
        let steps = self.inputs.div_ceil(4);
        &self.lines.as_chunks::<P>().0[block * steps..][..steps]
    }

    /// The scales and the biases of a block.
    pub(super) fn columns<const P: usize>(
        &self,
        block: usize,
    ) -> (&[[f32; LANES]; P], &[[f32; LANES]; P]) {
        (&self.scales.as_chunks::<P>().0[block], &self.bias.as_chunks::<P>().0[block])
    }
}
