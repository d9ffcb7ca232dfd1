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
    /// AVX-512 VNNI, and AMX with its products of bytes, on Linux.
    #[cfg(target_arch = "x86_64")]
    Amx,
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

/// What the kernels compute with where no better instruction set is asked for.
#[cfg(target_arch = "x86_64")]
pub(super) type Baseline = [std::arch::x86_64::__m128; 4];
/// What the kernels compute with.
#[cfg(target_arch = "aarch64")]
pub(super) type Baseline = [std::arch::aarch64::float32x4_t; 4];
/// What the kernels compute with.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) type Baseline = [std::arch::wasm32::v128; 4];
/// What the kernels compute with.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
pub(super) type Baseline = [f32; 16];

/// `compiled!(isa, body(name: type, …))` calls the copy of `body::<V>` that is compiled for an
/// instruction set, with its [`Vector`](super::lanes::Vector). `body`, and what it calls, must be `#[inline(always)]`: only what is inlined
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
            _ => $body::<$crate::kernels::isa::Baseline>($($arg),*),
        }
    }};
}

pub(super) use compiled;
