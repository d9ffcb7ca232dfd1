//! Instruction sets of the kernels: chosen at run time natively, at build time for WebAssembly.

/// Instruction sets that kernels are compiled for, besides the target's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Instruction set of the target: SSE2 on x86-64, NEON on AArch64, SIMD128 where the
    /// WebAssembly build enables it.
    Baseline,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX2 with the int8 dot product `vpdpbusd` in its VEX form.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AVX-512 VNNI, and AMX with its int8 products, on Linux.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// NEON with the int8 dot product `sdot`.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl Isa {
    /// Returns the best instruction set of this processor.
    pub fn detect() -> Isa {
        *Self::available().last().expect("the baseline is always there")
    }

    /// Lists all instruction sets of this processor, the best one last.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut all = vec![Isa::Baseline];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            all.push(Isa::Avx2);
            if is_x86_feature_detected!("avxvnni") {
                all.push(Isa::AvxVnni);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.push(Isa::Avx512Vnni);
                #[cfg(target_os = "linux")]
                if super::qlinear::amx::available() {
                    all.push(Isa::Amx);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            all.push(Isa::NeonDot);
        }
        all
    }
}

/// Registers of [`Isa::Baseline`].
#[cfg(target_arch = "x86_64")]
pub(super) type Baseline = [std::arch::x86_64::__m128; 4];
/// Registers of [`Isa::Baseline`].
#[cfg(target_arch = "aarch64")]
pub(super) type Baseline = [std::arch::aarch64::float32x4_t; 4];
/// Registers of [`Isa::Baseline`].
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) type Baseline = [std::arch::wasm32::v128; 4];
/// Registers of [`Isa::Baseline`].
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
