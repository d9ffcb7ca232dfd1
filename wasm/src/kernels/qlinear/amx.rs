//! AMX, the tile unit of some Xeons: `tdpbsud` multiplies 16 rows by 16 outputs, 64 inputs at a
//! time, and adds it all to the sums of a tile, which wrap but do not saturate (Intel 64 and IA-32
//! Architectures Software Developer's Manual, volume 1, chapter 18).
//!
//! Weights are in the order of AVX-512 VNNI, in which 16 lines of a panel are a tile as it is. The
//! compiler knows no tiles: what is done with them is written as assembly.

use super::quantize::quantize;
use super::{Ahead, LANES, Layer, Line, avx512};
use std::arch::asm;
use std::arch::x86_64::*;

/// Panels of a block, and so tiles of sums.
const PANELS: usize = 4;

/// The most rows of a tile.
const ROWS: usize = 16;

/// The most lines of a panel in a tile.
const LINES: usize = 16;

/// With fewer rows AVX-512 is faster: a tile of weights takes as long to load as to multiply by
/// eight rows.
const FEW_ROWS: usize = 7;

/// Whether the processor has the unit, and the system lets this process use it from now on.
///
/// Linux reserves no memory for the registers of a process before it asks (Documentation/arch/x86/xstate.rst).
/// It refuses where a thread's alternate signal stack is too small for them.
#[cfg(target_os = "linux")]
pub(in crate::kernels) fn available() -> bool {
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    let has = |feature| __cpuid_count(7, 0).edx & feature != 0;
    // SAFETY: the call takes two integers, and changes nothing but what this process may do.
    let granted =
        || unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
    has(AMX_TILE) && has(AMX_INT8) && granted() == 0
}

/// The layer, by tiles if they are worth it.
///
/// # Safety
/// [`available`] said so.
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
    // All tiles have as many rows: the last one computes some of them a second time.
    let height = rows.div_ceil(tiles);
    // SAFETY: the caller's; a tile has 1 to 16 rows.
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
                // One half was asked for by `multiply`, and this is a row's share of the other one:
                // memory is to be busy all the time.
                let due = |row| (ahead.share + ahead.share * (row - first) / height) / 2;
                (due(row)..due(row + 1)).for_each(|line| ahead.prefetch(line));
                let start = _mm512_set1_epi32(layer.quantized.rows[row].start);
                let mut shifted = [start; PANELS];
                for (shifted, sums) in shifted.iter_mut().zip(sums) {
                    // SAFETY: 16 sums are 64 bytes, at an address that 64 divides.
                    let sums = unsafe { _mm512_load_si512(sums.as_ptr().cast()) };
                    *shifted = _mm512_add_epi32(*shifted, sums);
                }
                layer.finish::<__m512, PANELS, 1>([shifted], number, row);
            }
        }
    }
}

/// The sums of a tile of rows by a block.
#[repr(C, align(64))]
struct Sums([[[i32; LANES]; PANELS]; ROWS]);

/// The registers of this thread's unit, configured for a layer until it is dropped: 0 to 3 for sums,
/// 4 for rows and 5 for weights, 6 and 7 likewise for the steps that do not fill up a tile.
struct Unit {
    height: usize,
    steps: usize,
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row, for each register; the processor has eight.
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
    /// For tiles of so many rows, which have so many steps.
    ///
    /// # Safety
    /// The unit is [`available`], a tile has 1 to 16 rows, and no other `Unit` of this thread is in
    /// use.
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
        // SAFETY: 64 bytes are read; the rest is the caller's.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) };
        Unit { height, steps }
    }

    /// Sets `sums` to the products of a tile of rows and a block. What is asked for ahead are the
    /// first halves of parts.
    #[inline(always)]
    fn multiply(
        &self,
        q: &[[u8; 4]],
        block: &[[Line; PANELS]],
        ahead: Ahead<PANELS>,
        sums: &mut Sums,
    ) {
        assert_eq!((q.len(), block.len()), (self.height * self.steps, self.steps));
        // Bytes from a row to the next one, of inputs and of what stands as lines or as sums.
        let (width, all) = (self.steps * 4, PANELS * size_of::<Line>());
        let at = |step: usize| (q.as_ptr().wrapping_add(step), block.as_ptr().wrapping_add(step));
        let whole = self.steps / LINES * LINES;
        // SAFETY: registers have the shapes that `configure` gave them. From `step` on a row has the
        // groups and the block the lines of one tile, or of what is left over at the end, and `sums`
        // has room for four tiles.
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
    /// Leaves the unit as it was, so that the system need not save its registers.
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: there is a unit.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
