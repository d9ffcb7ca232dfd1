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
    /// Consecutive inputs whose weights stand side by side: 4 or 2.
    pub(super) group: usize,
    /// Whether inputs are widened to 16 bits: a group of a row is then two of them, else four.
    pub(super) wide: bool,
    /// What is added to every weight, so that an instruction can take it as unsigned.
    pub(super) shift: i32,
    /// Whether in a panel all inputs of the first eight outputs stand before those of the others.
    pub(super) halves: bool,
}

const PLAIN: Format = Format { group: 2, wide: false, shift: 0, halves: false };

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
            #[cfg(target_arch = "aarch64")]
            (Isa::NeonDot, _) => Method::NeonDot,
        }
    }

    fn format(self) -> Format {
        match self {
            #[cfg(any(
                test,
                not(any(
                    target_arch = "aarch64",
                    all(target_arch = "wasm32", target_feature = "simd128")
                ))
            ))]
            Method::Portable => Format { wide: true, ..PLAIN },
            #[cfg(target_arch = "x86_64")]
            Method::Avx2Pairs => Format { wide: true, ..PLAIN },
            // Two products of at most 127 · 127 do not saturate 16 bits.
            #[cfg(target_arch = "x86_64")]
            Method::Avx2Bytes => Format { group: 4, shift: 64, ..PLAIN },
            #[cfg(target_arch = "x86_64")]
            Method::AvxVnni | Method::Avx512Vnni => Format { group: 4, shift: 128, ..PLAIN },
            #[cfg(target_arch = "aarch64")]
            Method::NeonPairs => PLAIN,
            #[cfg(target_arch = "aarch64")]
            Method::NeonDot => Format { group: 4, ..PLAIN },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Method::Simd128Pairs => Format { wide: true, halves: true, ..PLAIN },
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Method::RelaxedBytes => Format { group: 4, shift: 64, ..PLAIN },
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

/// Four inputs of 16 outputs: those of a group side by side, `shift` added to each.
#[inline(always)]
fn interleave(tile: [[u8; LANES]; 4], group: usize, shift: u8) -> Line {
    let mut line = Line([0; LANES * 4]);
    if group == 4 {
        for (lane, bytes) in line.0.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            for i in 0..4 {
                bytes[i] = tile[i][lane].wrapping_add(shift);
            }
        }
    } else {
        for (half, tile) in
            line.0.as_chunks_mut::<{ LANES * 2 }>().0.iter_mut().zip(tile.as_chunks::<2>().0)
        {
            for (lane, bytes) in half.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                for i in 0..2 {
                    bytes[i] = tile[i][lane].wrapping_add(shift);
                }
            }
        }
    }
    line
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
    lines: Vec<Line>,
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
        // Without leaving early, so that the compiler vectorizes it.
        let narrow = values.iter().fold(0, |wide, v| wide | (v.wrapping_add(64) & 0x80)) == 0;
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
        let (Format { group, shift, halves, .. }, panels) = (method.format(), method.panels());
        let steps = inputs.div_ceil(4);
        let blocks = outputs.div_ceil(LANES * panels);
        let mut lines = vec![Line([0; LANES * 4]); blocks * panels * steps];
        for (step, rows) in values.chunks(4 * outputs).enumerate() {
            for panel in 0..outputs.div_ceil(LANES) {
                let columns = panel * LANES..outputs.min((panel + 1) * LANES);
                let mut tile = [[0; LANES]; 4];
                for (tile, row) in tile.iter_mut().zip(rows.chunks_exact(outputs)) {
                    tile[..columns.len()].copy_from_slice(&row[columns.clone()]);
                }
                let line = interleave(tile, group, shift as u8);
                if halves {
                    // Those of two pairs of inputs, by eight outputs.
                    for (i, bytes) in line.0.as_chunks::<LANES>().0.iter().enumerate() {
                        let at = ((i % 2) * steps + step) * LANES * 2 + i / 2 * LANES;
                        let line = &mut lines[panel * steps + at / (LANES * 4)];
                        line.0[at % (LANES * 4)..][..LANES].copy_from_slice(bytes);
                    }
                } else {
                    lines[(panel / panels * steps + step) * panels + panel % panels] = line;
                }
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
