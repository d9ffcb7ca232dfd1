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
