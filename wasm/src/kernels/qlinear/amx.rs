//! AMX, the tile unit of some Xeons. `tdpbsud` multiplies 16 rows by 16 outputs, 64 inputs at a
//! time, and adds the products to the sums of a tile. Sums wrap and do not saturate (Intel 64 and
//! IA-32 Architectures Software Developer's Manual, volume 1, chapter 18).
//!
//! Weights have the order of AVX-512 VNNI, in which 16 lines of a panel are a tile. The compiler
//! does not support tiles, so this file uses assembly.

use super::avx512;
use super::driver::{Ahead, Layer};
use super::pack::{LANES, Line};
use super::quantize::quantize;
use std::arch::asm;
use std::arch::x86_64::*;

/// Panels of a block, each with a tile of sums.
const PANELS: usize = 4;

/// Largest number of rows of a tile.
const ROWS: usize = 16;

/// Largest number of lines of a panel in a tile.
const LINES: usize = 16;

/// Number of rows below which AVX-512 is faster: loading a tile of weights takes as long as
/// multiplying it by eight rows.
const FEW_ROWS: usize = 7;

/// Computes the layer, by tiles if there are enough rows and inputs.
///
/// # Safety
/// The processor has [`Isa::Amx`](crate::kernels::isa::Isa::Amx).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn bytes(mut layer: Layer) {
    let weights = layer.weights;
    let rows = layer.x.len() / weights.inputs();
    let steps = weights.inputs().div_ceil(4);
    if rows < FEW_ROWS || steps < LINES {
        return avx512::bytes(layer);
    }
    quantize(layer.x, weights.inputs(), weights.format(), layer.quantized);
    let tiles = rows.div_ceil(ROWS);
    // All tiles have the same number of rows: the last tile computes some rows a second time.
    let height = rows.div_ceil(tiles);
    // SAFETY: the caller guarantees the unit; a tile has 1 to 16 rows.
    let unit = unsafe { Unit::configure(height, steps) };
    let mut sums = Sums([[[0; LANES]; PANELS]; ROWS]);
    for number in 0..weights.blocks::<PANELS>() {
        let block = weights.block::<PANELS>(number);
        for tile in 0..tiles {
            let first = (tile * height).min(rows - height);
            let q = &layer.quantized.groups()[first * steps..][..height * steps];
            let ahead = Ahead::new(block, tile, tiles);
            unit.multiply(q, block, ahead, &mut sums);
            for (row, sums) in (first..).zip(&sums.0[..height]) {
                // `multiply` prefetched one half. This is a row's share of the other half, so that
                // memory is always busy.
                let due = |row| (ahead.share + ahead.share * (row - first) / height) / 2;
                (due(row)..due(row + 1)).for_each(|line| ahead.prefetch(line));
                let start = _mm512_set1_epi32(layer.quantized.rows[row].start);
                let mut shifted = [start; PANELS];
                for (shifted, sums) in shifted.iter_mut().zip(sums) {
                    // SAFETY: 16 sums are 64 bytes, at an address that is a multiple of 64.
                    let sums = unsafe { _mm512_load_si512(sums.as_ptr().cast()) };
                    *shifted = _mm512_add_epi32(*shifted, sums);
                }
                layer.finish::<__m512, PANELS, 1>([shifted], number, row);
            }
        }
    }
}

/// Sums of a tile of rows by a block.
#[repr(C, align(64))]
struct Sums([[[i32; LANES]; PANELS]; ROWS]);

/// Registers of this thread's unit, configured for a layer until dropped.
///
/// Registers 0 to 3 contain sums, 4 rows and 5 weights. Registers 6 and 7 contain rows and weights
/// of the steps that do not fill a tile.
struct Unit {
    height: usize,
    steps: usize,
}

/// Operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Number of bytes of a row, for each register; the processor has eight.
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Multiplies a tile of rows, loaded to one register, by each tile of the block, loaded to another.
macro_rules! multiply {
    ($rows:literal, $weights:literal, $at:expr, $width:ident, $all:ident) => {{
        let (rows, lines) = $at;
        asm!(
            concat!("tileloadd ", $rows, ", [{rows} + {width}]"),
            concat!("tileloadd ", $weights, ", [{lines} + {all}]"),
            concat!("tdpbsud tmm0, ", $rows, ", ", $weights),
            concat!("tileloadd ", $weights, ", [{lines} + {all} + 64]"),
            concat!("tdpbsud tmm1, ", $rows, ", ", $weights),
            concat!("tileloadd ", $weights, ", [{lines} + {all} + 128]"),
            concat!("tdpbsud tmm2, ", $rows, ", ", $weights),
            concat!("tileloadd ", $weights, ", [{lines} + {all} + 192]"),
            concat!("tdpbsud tmm3, ", $rows, ", ", $weights),
            rows = in(reg) rows, width = in(reg) $width,
            lines = in(reg) lines, all = in(reg) $all,
            options(nostack, readonly)
        );
    }};
}

impl Unit {
    /// Configures the registers for tiles of `height` rows with `steps` steps.
    ///
    /// # Safety
    /// The unit is [`available`], a tile has 1 to 16 rows, and this thread uses no other `Unit`.
    #[inline(always)]
    unsafe fn configure(height: usize, steps: usize) -> Unit {
        let rest = (steps % LINES).max(1);
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        let shapes = [(height, 16); 5].into_iter().chain([(LINES, 16), (height, rest), (rest, 16)]);
        for (register, (height, width)) in shapes.enumerate() {
            bytes[register] = width as u16 * 4;
            rows[register] = height as u8;
        }
        let config = Config { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows };
        // SAFETY: 64 bytes are read; the caller guarantees the rest.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) };
        Unit { height, steps }
    }

    /// Sets `sums` to the products of a tile of rows and a block. Prefetches the first halves of
    /// the parts of `ahead`.
    #[inline(always)]
    fn multiply(
        &self,
        q: &[[u8; 4]],
        block: &[[Line; PANELS]],
        ahead: Ahead<PANELS>,
        sums: &mut Sums,
    ) {
        assert_eq!((q.len(), block.len()), (self.height * self.steps, self.steps));
        // Bytes from a row to the next row: of inputs, and of lines or sums.
        let (width, all) = (self.steps * 4, PANELS * size_of::<Line>());
        let at = |step: usize| (q.as_ptr().wrapping_add(step), block.as_ptr().wrapping_add(step));
        let whole = self.steps / LINES * LINES;
        // SAFETY: registers have the shapes that `configure` set. From `step` on, a row has the
        // groups and the block has the lines of one tile or of the remaining steps. `sums` has room
        // for four tiles.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem)
            );
            for step in (0..whole).step_by(LINES) {
                let due = |step| ahead.due(step) / 2;
                (due(step)..due(step + LINES)).for_each(|line| ahead.prefetch(line));
                multiply!("tmm4", "tmm5", at(step), width, all);
            }
            if whole < self.steps {
                multiply!("tmm6", "tmm7", at(whole), width, all);
            }
            asm!(
                "tilestored [{sums} + {all}], tmm0",
                "tilestored [{sums} + {all} + 64], tmm1",
                "tilestored [{sums} + {all} + 128], tmm2",
                "tilestored [{sums} + {all} + 192], tmm3",
                sums = in(reg) sums, all = in(reg) all,
                options(nostack)
            );
        }
    }
}

impl Drop for Unit {
    /// Releases the unit, so that the system need not save its registers.
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: a `Unit` exists only where the processor has the unit.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
