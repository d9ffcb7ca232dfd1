//! Which instructions the kernels use: chosen at run time natively, at build time for WebAssembly.

/// Instruction sets that kernels are compiled for, besides what the build assumes anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// What the target has: SSE2 on x86-64, NEON on AArch64, SIMD128 where the WebAssembly build
    /// enables it.
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
    /// NEON with the int8 dot product `sdot`.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl Isa {
    /// The best that this processor has.
    pub fn detect() -> Isa {
        *Self::available().last().expect("the baseline is always there")
    }

    /// All that this processor has, the best one last.
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
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            all.push(Isa::NeonDot);
        }
        all
    }
}

/// How many blocks of 16 floats stay in registers while a product is summed up: half of the
/// registers, the rest is for what is multiplied.
pub(super) const BASELINE_BLOCKS: usize = if cfg!(target_arch = "aarch64") { 4 } else { 2 };
/// As [`BASELINE_BLOCKS`], for 16 registers of 8 floats.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2_BLOCKS: usize = 4;
/// As [`BASELINE_BLOCKS`], for 32 registers of 16 floats.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512_BLOCKS: usize = 16;

/// `compiled!(isa, body(name: type, …))` calls the copy of `body::<BLOCKS>` that is compiled for an
/// instruction set. `body`, and what it calls, must be `#[inline(always)]`: only what is inlined
/// is compiled for the caller's instructions. That goes for closures and the standard library too:
/// `array::map` would be a call into code for the baseline, a loop is not.
///
/// A set that the processor has not, which nobody can have from [`Isa::available`], is the baseline.
macro_rules! compiled {
    ($isa:expr, $body:ident($($arg:ident: $type:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        #[allow(clippy::too_many_arguments)]
        fn avx2($($arg: $type),*) {
            $body::<{ $crate::kernels::isa::AVX2_BLOCKS }>($($arg),*);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        #[allow(clippy::too_many_arguments)]
        fn avx512($($arg: $type),*) {
            $body::<{ $crate::kernels::isa::AVX512_BLOCKS }>($($arg),*);
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::isa::Isa::Avx512Vnni
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl") =>
            {
                // SAFETY: the processor has the features, it was just asked.
                unsafe { avx512($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::isa::Isa::Avx2 | $crate::kernels::isa::Isa::AvxVnni
                if is_x86_feature_detected!("avx2") =>
            {
                // SAFETY: the processor has AVX2, it was just asked.
                unsafe { avx2($($arg),*) }
            }
            _ => $body::<{ $crate::kernels::isa::BASELINE_BLOCKS }>($($arg),*),
        }
    }};
}

pub(super) use compiled;
