//! Int8 weights in the order in which the kernels of an instruction set read them.

use bytes::Bytes;

/// Outputs of a panel: the number of sums in the widest register.
pub(crate) const LANES: usize = 16;

/// Four inputs of a panel: the size of the widest register and of a cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; LANES * 4]);

/// Order of int8 weights.
///
/// The shape is `[blocks][steps][panels][4 / group][16][group]`. Element `[b, s, p, h, o, i]` is
/// the weight of input `4 s + group · h + i` and output `16 (panels · b + p) + o`, plus the zero
/// point. The last step and the last block are padded with weights of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Neighbouring inputs of an output that are side by side: 2 or 4.
    pub group: usize,
    /// Number added to every weight, for instructions that take unsigned bytes: 0, 64 or 128. With
    /// 64 the weights are −64…63.
    pub zero_point: u8,
    /// Panels of 16 outputs that are multiplied together: 1 or 4.
    pub panels: usize,
}

/// Order for products of pairs of inputs.
pub(crate) const PAIRS: Packing = Packing { group: 2, zero_point: 0, panels: 1 };
/// Order for products of four inputs.
pub(crate) const FOURS: Packing = Packing { group: 4, ..PAIRS };

impl Packing {
    /// Shape of a matrix in this order.
    pub fn shape(self, inputs: usize, outputs: usize) -> [usize; 6] {
        let blocks = outputs.div_ceil(LANES * self.panels);
        [blocks, inputs.div_ceil(4), self.panels, 4 / self.group, LANES, self.group]
    }

    /// Number of bytes of a matrix in this order.
    pub fn bytes(self, inputs: usize, outputs: usize) -> usize {
        self.shape(inputs, outputs).iter().product()
    }

    /// Finds the order of matrices with a shape, if there is one.
    pub(super) fn of_shape(shape: &[usize], zero_point: u8) -> Option<Packing> {
        let (panels, group) = (*shape.get(2)?, *shape.get(5)?);
        let packing = Packing { group, zero_point, panels };
        let known = matches!((group, panels, zero_point), (2 | 4, 1 | 4, 0 | 64 | 128));
        let whole = [shape[0], shape[1], panels, 4 / group.clamp(1, 4), LANES, group];
        (known && shape == whole).then_some(packing)
    }

    /// Packs a matrix `[inputs, outputs]` of bytes in two's complement.
    ///
    /// # Panics
    /// If the number of bytes is not `inputs · outputs`.
    pub fn pack(self, inputs: usize, outputs: usize, values: &[u8]) -> Bytes {
        Lines::from(self.lines(inputs, outputs, values)).0
    }

    /// Packs a matrix as [`pack`](Self::pack) does, to lines.
    pub(crate) fn lines(self, inputs: usize, outputs: usize, values: &[u8]) -> Vec<Line> {
        assert_eq!(values.len(), inputs * outputs);
        self.lines_from(inputs, outputs, |step, panel| {
            let first = panel * LANES;
            let rows = &values[4 * step * outputs..inputs.min(4 * step + 4) * outputs];
            let mut tile = [[0; LANES]; 4];
            for (tile, row) in tile.iter_mut().zip(rows.chunks_exact(outputs)) {
                match row.get(first..first + LANES) {
                    Some(row) => tile.copy_from_slice(row),
                    None => tile[..outputs - first].copy_from_slice(&row[first..]),
                }
            }
            tile
        })
    }

    /// Reorders a matrix in another order to lines in this order.
    ///
    /// # Panics
    /// If the number of bytes is not that of such a matrix.
    pub(crate) fn lines_of(
        self,
        inputs: usize,
        outputs: usize,
        (from, packed): (Packing, &[u8]),
    ) -> Vec<Line> {
        assert_eq!(packed.len(), from.bytes(inputs, outputs));
        let packed = packed.as_chunks::<{ size_of::<Line>() }>().0;
        let steps = inputs.div_ceil(4);
        self.lines_from(inputs, outputs, |step, panel| {
            from.separate(Line(packed[from.line(steps, panel, step)]))
        })
    }

    /// Makes lines in this order; `tile` returns four inputs of 16 outputs at a step and a panel.
    #[inline(always)]
    fn lines_from(
        self,
        inputs: usize,
        outputs: usize,
        tile: impl Fn(usize, usize) -> [[u8; LANES]; 4],
    ) -> Vec<Line> {
        let [blocks, steps, panels, ..] = self.shape(inputs, outputs);
        let mut lines = Vec::with_capacity(blocks * steps * panels);
        for block in 0..blocks {
            for step in 0..steps {
                for panel in block * panels..(block + 1) * panels {
                    let there = panel * LANES < outputs;
                    let tile = if there { tile(step, panel) } else { [[0; LANES]; 4] };
                    lines.push(self.interleave(tile));
                }
            }
        }
        lines
    }

    /// True if all weights of a matrix in this order are −64…63.
    pub(crate) fn is_narrow(self, packed: &[u8]) -> bool {
        let to_zero = 64u8.wrapping_sub(self.zero_point);
        // Without an early exit, so that the compiler vectorizes the loop.
        packed.iter().fold(0, |wide, v| wide | (v.wrapping_add(to_zero) & 0x80)) == 0
    }

    /// Index of the line of a panel and a step.
    fn line(self, steps: usize, panel: usize, step: usize) -> usize {
        (panel / self.panels * steps + step) * self.panels + panel % self.panels
    }

    /// Interleaves four inputs of 16 outputs: the inputs of a group are side by side.
    #[inline(always)]
    fn interleave(self, tile: [[u8; LANES]; 4]) -> Line {
        let [a, b, c, d] = tile.map(|row| row.map(|value| value.wrapping_add(self.zero_point)));
        // Combined as integers: the compiler does not vectorize moves of single bytes.
        let pairs = |low: [u8; LANES], high: [u8; LANES]| -> [u16; LANES] {
            std::array::from_fn(|lane| u16::from(low[lane]) | u16::from(high[lane]) << 8)
        };
        let (front, back) = (pairs(a, b), pairs(c, d));
        let mut line = Line([0; LANES * 4]);
        if self.group == 4 {
            for (lane, bytes) in line.0.as_chunks_mut().0.iter_mut().enumerate() {
                *bytes = (u32::from(front[lane]) | u32::from(back[lane]) << 16).to_le_bytes();
            }
        } else {
            for (bytes, pair) in line.0.as_chunks_mut().0.iter_mut().zip(front.iter().chain(&back))
            {
                *bytes = pair.to_le_bytes();
            }
        }
        line
    }

    /// Undoes [`interleave`](Self::interleave).
    #[inline(always)]
    fn separate(self, line: Line) -> [[u8; LANES]; 4] {
        fn apart<const GROUP: usize>(line: Line, zero_point: u8) -> [[u8; LANES]; 4] {
            let mut tile = [[0; LANES]; 4];
            for (tile, half) in
                tile.as_chunks_mut::<GROUP>().0.iter_mut().zip(line.0.chunks_exact(LANES * GROUP))
            {
                for (lane, bytes) in half.as_chunks::<GROUP>().0.iter().enumerate() {
                    for i in 0..GROUP {
                        tile[i][lane] = bytes[i].wrapping_sub(zero_point);
                    }
                }
            }
            tile
        }
        match self.group {
            4 => apart::<4>(line, self.zero_point),
            _ => apart::<2>(line, self.zero_point),
        }
    }

    /// Unpacks a matrix to `[inputs, outputs]`.
    ///
    /// # Panics
    /// If `packed` does not have the [`shape`](Self::shape) of the matrix.
    pub fn unpack(self, inputs: usize, outputs: usize, packed: &[u8]) -> Vec<u8> {
        assert_eq!(packed.len(), self.bytes(inputs, outputs));
        let packed = packed.as_chunks::<{ size_of::<Line>() }>().0;
        let steps = inputs.div_ceil(4);
        let mut values = vec![0; inputs * outputs];
        for (step, rows) in values.chunks_mut(4 * outputs).enumerate() {
            for panel in 0..outputs.div_ceil(LANES) {
                let columns = panel * LANES..outputs.min((panel + 1) * LANES);
                let tile = self.separate(Line(packed[self.line(steps, panel, step)]));
                for (row, tile) in rows.chunks_exact_mut(outputs).zip(tile) {
                    row[columns.clone()].copy_from_slice(&tile[..columns.len()]);
                }
            }
        }
        values
    }
}

/// Packed weights at an address that is a multiple of 64, as the kernels need them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lines(Bytes);

impl Lines {
    /// Returns the lines.
    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[Line] {
        // SAFETY: a line is any 64 bytes, both constructors ensure the alignment, and the bytes of
        // a `Bytes` never change.
        unsafe {
            std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() / size_of::<Line>())
        }
    }
}

/// Uses the bytes in place if they are aligned, otherwise copies them. An incomplete last line is
/// dropped.
impl From<Bytes> for Lines {
    fn from(bytes: Bytes) -> Self {
        if bytes.as_ptr().cast::<Line>().is_aligned() {
            return Lines(bytes);
        }
        let line = |bytes: &[u8; size_of::<Line>()]| Line(*bytes);
        Lines::from(bytes.as_chunks().0.iter().map(line).collect::<Vec<_>>())
    }
}

impl From<Vec<Line>> for Lines {
    fn from(lines: Vec<Line>) -> Self {
        struct Owned(Vec<Line>);
        impl AsRef<[u8]> for Owned {
            fn as_ref(&self) -> &[u8] {
                // SAFETY: lines are bytes without padding.
                unsafe {
                    std::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&self.0[..]))
                }
            }
        }
        Lines(Bytes::from_owner(Owned(lines)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::isa::Isa;

    #[test]
    fn elements_stand_where_the_definition_says() {
        let mut state = 11u32;
        let mut byte = |narrow: bool| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let byte = (state >> 20) as u8;
            if narrow { (byte % 128).wrapping_sub(64) } else { byte }
        };
        for target in Isa::ALL {
            for (inputs, outputs) in [(1, 1), (3, 5), (4, 16), (9, 33), (40, 64), (6, 130)] {
                for narrow in [false, true] {
                    let packing = target.packing(narrow);
                    let values: Vec<u8> = (0..inputs * outputs).map(|_| byte(narrow)).collect();
                    let packed = packing.pack(inputs, outputs, &values);
                    let shape = packing.shape(inputs, outputs);
                    assert_eq!(packed.len(), packing.bytes(inputs, outputs));
                    assert_eq!(Packing::of_shape(&shape, packing.zero_point), Some(packing));
                    for (at, byte) in packed.iter().enumerate() {
                        let mut rest = at;
                        let index = [5, 4, 3, 2, 1, 0].map(|axis| {
                            let i = rest % shape[axis];
                            rest /= shape[axis];
                            i
                        });
                        let [i, o, h, p, s, b] = index;
                        let input = 4 * s + packing.group * h + i;
                        let output = LANES * (packing.panels * b + p) + o;
                        let filled = input < inputs && output < outputs;
                        let weight = if filled { values[input * outputs + output] } else { 0 };
                        assert_eq!(*byte, weight.wrapping_add(packing.zero_point), "{target:?}");
                    }
                    assert_eq!(packing.unpack(inputs, outputs, &packed), values, "{target:?}");
                    assert_eq!(packing.is_narrow(&packed), PAIRS.is_narrow(&values));
                    for other in Isa::ALL.map(|other| other.packing(narrow)) {
                        let lines =
                            Lines::from(other.lines_of(inputs, outputs, (packing, &packed)));
                        assert_eq!(lines.0, other.pack(inputs, outputs, &values), "{target:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn other_shapes_are_none() {
        for shape in [
            &[1, 1, 1, 1, 16, 4][..5],
            &[1, 1, 1, 2, 16, 4],
            &[1, 1, 2, 1, 16, 4],
            &[1, 1, 1, 1, 8, 4],
            &[1, 1, 1, 4, 16, 1],
            &[1, 1, 1, 0, 16, 0],
            &[1, 1, 1, 1, 16, 4, 1],
        ] {
            assert_eq!(Packing::of_shape(shape, 0), None, "{shape:?}");
        }
        assert_eq!(Packing::of_shape(&[1, 1, 1, 1, 16, 4], 1), None);
    }

    #[test]
    fn what_is_aligned_is_not_copied() {
        let packed = Isa::NeonDot.packing(true).pack(8, 20, &[7; 160]);
        let lines = Lines::from(packed.clone());
        assert_eq!(lines.as_slice().as_ptr().cast(), packed.as_ptr());
        for at in [0, 1] {
            let moved = Bytes::from([&vec![0; at][..], &packed].concat()).slice(at..);
            assert_eq!(Lines::from(moved), lines);
        }
    }
}
