//! Instruction sets of the kernels, in one table: chosen at run time natively, at build time for
//! WebAssembly.

use crate::graph::Packing;
use crate::graph::packing::{FOURS, PAIRS};

/// Instruction set that kernels are compiled for, or that weights are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Instruction set of a target without one of its own below: SSE2 on x86-64, SIMD128 where the
    /// WebAssembly build enables it, scalars on 32-bit ARM.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX2 with the int8 dot product `vpdpbusd` in its VEX form.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// AVX-512 VNNI, and AMX with its int8 products, on Linux.
    Amx,
    /// NEON of AArch64.
    Neon,
    /// NEON with the int8 dot product `sdot`.
    NeonDot,
}

/// Row of the table.
struct Row {
    isa: Isa,
    /// Name on the command line.
    name: &'static str,
    /// True if this processor has the instructions.
    detect: fn() -> bool,
    /// Order of the weights: of any int8 weights, and of narrow ones, −64…63.
    packing: [Packing; 2],
    /// True if the inputs are widened to 16 bits: for any int8 weights, and for narrow ones.
    wide: [bool; 2],
}

/// `detected!(arch, features)`: detection of features; false on another architecture.
macro_rules! detected {
    ($arch:tt, $macro:ident, $($feature:tt),*) => {
        || {
            #[cfg(target_arch = $arch)]
            return $(std::arch::$macro!($feature))&&*;
            #[cfg(not(target_arch = $arch))]
            return false;
        }
    };
}

/// Order for `vpdpbusd`, which takes unsigned weights.
const VNNI: Packing = Packing { zero_point: 128, ..FOURS };
const VNNI_PANELS: Packing = Packing { panels: 4, ..VNNI };

/// The instruction sets. Of those that a processor has, the last one is the best.
const TABLE: [Row; 7] = [
    Row {
        isa: Isa::Portable,
        name: "portable",
        detect: || Isa::BASELINE as u8 == Isa::Portable as u8,
        packing: [PAIRS; 2],
        wide: [true; 2],
    },
    Row {
        isa: Isa::Avx2,
        name: "avx2",
        detect: detected!("x86_64", is_x86_feature_detected, "avx2"),
        // Two products of at most 127 · 127 do not saturate 16 bits.
        packing: [PAIRS, Packing { zero_point: 64, ..FOURS }],
        wide: [true, false],
    },
    Row {
        isa: Isa::AvxVnni,
        name: "avx-vnni",
        detect: detected!("x86_64", is_x86_feature_detected, "avx2", "avxvnni"),
        packing: [VNNI; 2],
        wide: [false; 2],
    },
    Row {
        isa: Isa::Avx512Vnni,
        name: "avx512-vnni",
        detect: avx512_vnni,
        packing: [VNNI_PANELS; 2],
        wide: [false; 2],
    },
    Row {
        isa: Isa::Amx,
        name: "amx",
        detect: || avx512_vnni() && amx(),
        packing: [VNNI_PANELS; 2],
        wide: [false; 2],
    },
    Row {
        isa: Isa::Neon,
        name: "neon",
        detect: || Isa::BASELINE as u8 == Isa::Neon as u8,
        packing: [PAIRS; 2],
        wide: [false; 2],
    },
    Row {
        isa: Isa::NeonDot,
        name: "neon-dot",
        detect: detected!("aarch64", is_aarch64_feature_detected, "dotprod"),
        packing: [FOURS; 2],
        wide: [false; 2],
    },
];

impl Isa {
    /// All instruction sets, also those of other processors.
    pub const ALL: [Isa; TABLE.len()] = {
        let mut all = [Isa::Portable; TABLE.len()];
        let mut i = 0;
        while i < all.len() {
            assert!(TABLE[i].isa as usize == i, "the table has the order of the enum");
            all[i] = TABLE[i].isa;
            i += 1;
        }
        all
    };

    /// Instruction set that every processor of the target has.
    pub const BASELINE: Isa = if cfg!(target_arch = "aarch64") { Isa::Neon } else { Isa::Portable };

    /// Returns the best instruction set of this processor.
    pub fn detect() -> Isa {
        *Self::available().last().expect("the baseline is always there")
    }

    /// Lists all instruction sets of this processor, the best one last.
    pub fn available() -> Vec<Isa> {
        TABLE.iter().filter(|row| (row.detect)()).map(|row| row.isa).collect()
    }

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    /// Returns the order of weights that its kernels read; `narrow` weights are −64…63.
    pub const fn packing(self, narrow: bool) -> Packing {
        TABLE[self as usize].packing[narrow as usize]
    }

    /// Returns true if its kernels read inputs of 16 bits; `narrow` weights are −64…63.
    pub(super) const fn is_wide(self, narrow: bool) -> bool {
        TABLE[self as usize].wide[narrow as usize]
    }
}

fn avx512_vnni() -> bool {
    #[rustfmt::skip]
    const DETECTED: fn() -> bool = detected!(
        "x86_64", is_x86_feature_detected,
        "avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"
    );
    DETECTED()
}

/// True if the processor has the unit and the system lets this process use it from now on.
///
/// Linux reserves memory for the registers only after a process requests it
/// (Documentation/arch/x86/xstate.rst). It refuses if the alternate signal stack of a thread is
/// too small for the registers.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn amx() -> bool {
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    let has = |feature| std::arch::x86_64::__cpuid_count(7, 0).edx & feature != 0;
    // SAFETY: the call takes two integers and changes only the permissions of this process.
    let granted =
        || unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
    has(AMX_TILE) && has(AMX_INT8) && granted() == 0
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn amx() -> bool {
    false
}

/// Registers of [`Isa::BASELINE`].
#[cfg(target_arch = "x86_64")]
pub(super) type Baseline = [std::arch::x86_64::__m128; 4];
/// Registers of [`Isa::BASELINE`].
#[cfg(target_arch = "aarch64")]
pub(super) type Baseline = [std::arch::aarch64::float32x4_t; 4];
/// Registers of [`Isa::BASELINE`].
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) type Baseline = [std::arch::wasm32::v128; 4];
/// Registers of [`Isa::BASELINE`].
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
pub(super) type Baseline = [f32; 16];

/// Calls the copy of a function that is compiled for an instruction set.
///
/// `compiled!(isa, body(name: type, …))` calls `body::<V>` with the
/// [`Vector`](super::lanes::Vector) of the instruction set. `body` and its callees must be
/// `#[inline(always)]`: only inlined code is compiled for the caller's instructions. This includes
/// closures and the standard library: `array::map` would call code for the baseline, a loop does
/// not.
///
/// An instruction set that the processor lacks becomes the baseline; [`Isa::available`] lists the
/// others.
macro_rules! compiled {
    ($isa:expr, $body:ident($($arg:ident: $type:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        #[allow(clippy::too_many_arguments)]
        fn avx2($($arg: $type),*) {
            $body::<[std::arch::x86_64::__m256; 2]>($($arg),*);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        #[allow(clippy::too_many_arguments)]
        fn avx512($($arg: $type),*) {
            $body::<std::arch::x86_64::__m512>($($arg),*);
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::isa::Isa::Avx512Vnni | $crate::kernels::isa::Isa::Amx
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl") =>
            {
                // SAFETY: the guard has just checked that the processor has the features.
                unsafe { avx512($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::isa::Isa::Avx2 | $crate::kernels::isa::Isa::AvxVnni
                if is_x86_feature_detected!("avx2") =>
            {
                // SAFETY: the guard has just checked that the processor has AVX2.
                unsafe { avx2($($arg),*) }
            }
            _ => $body::<$crate::kernels::isa::Baseline>($($arg),*),
        }
    }};
}

pub(super) use compiled;
