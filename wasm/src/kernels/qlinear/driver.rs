//! The driver that all instruction sets share: rows by blocks of outputs, tile by tile.

use super::pack::{LANES, Line, PackedWeights};
use super::quantize::{Quantized, quantize};
use crate::graph::Activation;
use crate::kernels::activation::activated;
use crate::kernels::lanes::{Lanes, Vector, write};

/// Sums of `R` rows by a block of `P` panels, in registers.
pub(super) type Sums<V, const R: usize, const P: usize> = [[<V as Vector>::Ints; P]; R];

/// Multiplication by an instruction set; `P` panels of outputs are a block.
pub(super) trait Kernel<const P: usize> {
    /// Rows of the largest tile that fits in the registers; at most [`MOST_ROWS`].
    const ROWS: usize;

    /// Vector for the outputs of a panel.
    type Lanes: Vector;

    /// Prepares a block for [`tile`](Self::tile). `room` is memory for it.
    #[inline(always)]
    fn prepare<'a>(block: &'a [[Line; P]], _room: &'a mut Vec<Line>) -> &'a [[Line; P]] {
        block
    }

    /// Sums the products of `R` rows and a block, from `starts` on.
    ///
    /// Rows and block are grouped for this kernel's [`Format`](super::pack::Format). For every line of a panel a row has
    /// one group of four inputs, or two groups of two.
    ///
    /// # Safety
    /// The processor has the instructions. Every row of `q` begins at the end of the row before it.
    /// Rows and block belong to one layer and so have the same number of steps.
    unsafe fn tile<const R: usize>(
        q: [&[[u8; 4]]; R],
        starts: [i32; R],
        block: &[[Line; P]],
        ahead: Ahead<P>,
    ) -> Sums<Self::Lanes, R, P>;
}

/// Prefetch of a tile while it multiplies: its share of the next block.
///
/// The weights of a model that was idle come from memory, and without prefetch the kernel would
/// wait. A block is fetched as `P` parts side by side, each from front to back. The processor then
/// has more loads in flight than in one run over the block.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "there is no stable prefetch"))]
pub(super) struct Ahead<const P: usize> {
    /// First line of the share in the next block.
    pub(super) first: *const Line,
    /// Number of lines of a part.
    pub(super) lines: usize,
    /// Number of lines of the share, in every part.
    pub(super) share: usize,
    /// Lines of the share per step, in 1/65536 of a line.
    pub(super) rate: usize,
}

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "there is no stable prefetch"))]
impl<const P: usize> Ahead<P> {
    /// Computes the share of tile number `tile` of `tiles`, in the block after `block`.
    #[inline(always)]
    pub(super) fn new(block: &[[Line; P]], tile: usize, tiles: usize) -> Self {
        let lines = block.len();
        let before = lines * tile / tiles;
        let share = lines * (tile + 1) / tiles - before;
        // After the last block the address is past the weights; a prefetch may have any address.
        let first = block.as_ptr_range().end.cast::<Line>().wrapping_add(before);
        Ahead { first, lines, share, rate: (share << 16).div_ceil(lines) }
    }

    /// Prefetches a line of the share, in every part.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn prefetch(self, line: usize) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        for part in 0..P {
            let line = self.first.wrapping_add(line + part * self.lines);
            // SAFETY: a prefetch of any address is harmless.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
        }
    }

    /// Prefetches the lines due at a step of the tile.
    ///
    /// With many tiles, each prefetches the same line several times. A branch to skip a step would
    /// be mispredicted.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn step(self, step: usize) {
        self.prefetch(self.due(step));
    }

    /// Returns the number of lines of the share that are due before a step.
    #[inline(always)]
    pub(super) fn due(self, step: usize) -> usize {
        (step * self.rate) >> 16
    }
}

/// Largest number of rows of any tile.
const MOST_ROWS: usize = 6;

/// The arguments of [`qlinear`].
pub(super) struct Layer<'a> {
    pub(super) x: &'a [f32],
    pub(super) weights: &'a PackedWeights,
    pub(super) activation: Activation,
    pub(super) quantized: &'a mut Quantized,
    pub(super) room: &'a mut Vec<Line>,
    pub(super) out: &'a mut [f32],
}

/// Factor of a tile of rows: a block of weights.
struct PackedBlock<'a, const P: usize> {
    /// Number of the block.
    block: usize,
    /// The block, as prepared by the kernel.
    pub(super) lines: &'a [[Line; P]],
    ahead: Ahead<P>,
}

impl Layer<'_> {
    /// Computes the whole layer. The functions called here are inlined, and so compiled for the
    /// instruction set of the caller.
    ///
    /// All rows are multiplied by a block before the next block. So the weights, by far the largest
    /// part, are read from memory once.
    #[inline(always)]
    pub(super) fn run<K: Kernel<P>, const P: usize>(mut self) {
        let weights = self.weights;
        quantize(self.x, weights.inputs(), weights.format(), self.quantized);
        let rows = self.quantized.rows.len();
        let mut room = std::mem::take(self.room);
        for block in 0..weights.blocks::<P>() {
            let mut first = 0;
            let tiles = rows.div_ceil(K::ROWS);
            let packed = weights.block::<P>(block);
            let lines = K::prepare(packed, &mut room);
            for number in 0..tiles {
                // Tiles of even size: a last tile of one row would have few sums in flight.
                let tile = (rows - first).div_ceil(tiles - number);
                let part = PackedBlock { block, lines, ahead: Ahead::new(packed, number, tiles) };
                match tile {
                    1 => self.tile::<K, P, 1>(part, first),
                    2 => self.tile::<K, P, 2>(part, first),
                    3 if K::ROWS >= 3 => self.tile::<K, P, 3>(part, first),
                    4 if K::ROWS >= 4 => self.tile::<K, P, 4>(part, first),
                    5 if K::ROWS >= 5 => self.tile::<K, P, 5>(part, first),
                    MOST_ROWS if K::ROWS >= MOST_ROWS => self.tile::<K, P, MOST_ROWS>(part, first),
                    _ => unreachable!("a tile has at most {} rows", K::ROWS),
                }
                first += tile;
            }
        }
        *self.room = room;
    }

    /// Multiplies, rescales and activates `R` rows from `first` by a block.
    #[inline(always)]
    fn tile<K: Kernel<P>, const P: usize, const R: usize>(
        &mut self,
        part: PackedBlock<P>,
        first: usize,
    ) {
        let weights = self.weights;
        let groups = weights.format().groups(weights.inputs());
        let mut q: [&[[u8; 4]]; R] = [&[]; R];
        let mut starts = [0; R];
        for r in 0..R {
            q[r] = &self.quantized.groups()[(first + r) * groups..][..groups];
            starts[r] = self.quantized.rows[first + r].start;
        }
        // SAFETY: the callers of `run` are compiled for the instructions of `K`. Rows are
        // consecutive parts of `groups`, for the inputs of these weights.
        let sums = unsafe { K::tile(q, starts, part.lines, part.ahead) };
        self.finish::<K::Lanes, P, R>(sums, part.block, first);
    }

    /// Rescales and activates the sums of `R` rows from `first` by a block.
    #[inline(always)]
    pub(super) fn finish<V: Vector, const P: usize, const R: usize>(
        &mut self,
        sums: Sums<V, R, P>,
        block: usize,
        first: usize,
    ) {
        let weights = self.weights;
        let (scales, bias) = weights.columns::<P>(block);
        let column = block * P * LANES;
        let width = (P * LANES).min(weights.outputs() - column);
        let outputs = weights.outputs();
        let out = &mut self.out[first * outputs..][..R * outputs];
        let mut tile = [[Lanes::<V>::splat(0.0); P]; R];
        for r in 0..R {
            let scale = self.quantized.rows[first + r].scale;
            for p in 0..P {
                let sums = Lanes::from_ints(sums[r][p]);
                tile[r][p] = sums * Lanes::load(&scales[p]) * scale + Lanes::load(&bias[p]);
            }
        }
        if self.activation != Activation::Identity {
            // A loop over nearby memory: unrolled over the tile the code would be too large.
            let mut values = [[[0.0; LANES]; P]; R];
            for r in 0..R {
                for p in 0..P {
                    tile[r][p].store(&mut values[r][p]);
                }
            }
            activated::<V>(values.as_flattened_mut().as_flattened_mut(), self.activation);
            for r in 0..R {
                for p in 0..P {
                    tile[r][p] = Lanes::load(&values[r][p]);
                }
            }
        }
        write(tile, R, width, &mut out[column..], outputs);
    }
}
