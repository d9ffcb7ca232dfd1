//! Peak of a processor: the instructions of a kernel on constant registers.

use edge_runtime::kernels::isa::Isa;

/// A loop of multiplications.
pub struct Peak {
    run: fn() -> i32,
    /// Number of multiplies and adds of the loop.
    pub operations: usize,
}

impl Peak {
    /// Runs the loop. The result only keeps the compiler from removing the loop.
    pub fn run(&self) -> i32 {
        (self.run)()
    }
}

/// Finds the loop of an instruction set for weights in −`largest`…`largest`, if there is one.
#[cfg(target_arch = "x86_64")]
pub fn operations(isa: Isa, largest: i8) -> Option<Peak> {
    // SAFETY, for all: only instruction sets of this processor are measured.
    let (run, bytes): (fn() -> i32, usize) = match isa {
        // SAFETY: as above.
        Isa::Avx512Vnni => (|| unsafe { x86_64::avx512_vnni() }, 64),
        // A product of tiles has 16 rows, 16 outputs and 64 inputs. SAFETY: as above.
        Isa::Amx => (|| unsafe { x86_64::amx() }, 16 * 16 * 64),
        // SAFETY: as above.
        Isa::AvxVnni => (|| unsafe { x86_64::avx_vnni() }, 32),
        // SAFETY: as above.
        Isa::Avx2 if largest < 64 => (|| unsafe { x86_64::avx2_bytes() }, 32),
        // SAFETY: as above.
        Isa::Avx2 => (|| unsafe { x86_64::avx2_pairs() }, 16),
        _ => return None,
    };
    Some(Peak { run, operations: 2 * bytes * x86_64::STEPS * x86_64::SUMS })
}

/// Peaks exist for x86-64 only.
#[cfg(not(target_arch = "x86_64"))]
pub fn operations(_: Isa, _: i8) -> Option<Peak> {
    None
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    pub const STEPS: usize = 2000;
    /// Sums in flight: enough to hide the latency.
    pub const SUMS: usize = 12;

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn avx512_vnni() -> i32 {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let (w, x) = (_mm512_set1_epi32(black_box(3)), _mm512_set1_epi32(black_box(5)));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, w, x);
            }
        }
        sums.iter().fold(0, |all, sum| all ^ _mm512_reduce_add_epi32(*sum))
    }

    /// # Safety
    /// The processor has a tile unit that this process may use.
    pub unsafe fn amx() -> i32 {
        // Palette 1, and eight tiles of 16 rows of 64 bytes.
        let mut config = [0u8; 64];
        config[0] = 1;
        config[16..32].as_chunks_mut().0.fill(64u16.to_le_bytes());
        config[48..56].fill(16);
        // SAFETY: the caller guarantees the unit; 64 bytes are read.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly));
            for _ in 0..STEPS * SUMS / 4 {
                asm!(
                    "tdpbsud tmm0, tmm4, tmm5",
                    "tdpbsud tmm1, tmm4, tmm5",
                    "tdpbsud tmm2, tmm4, tmm5",
                    "tdpbsud tmm3, tmm4, tmm5",
                    options(nostack, nomem)
                );
            }
            asm!("tilerelease", options(nostack, nomem));
        }
        0
    }

    #[target_feature(enable = "avx2,avxvnni")]
    pub fn avx_vnni() -> i32 {
        let mut sums = [_mm256_setzero_si256(); SUMS];
        let (w, x) = (_mm256_set1_epi32(black_box(3)), _mm256_set1_epi32(black_box(5)));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_dpbusd_avx_epi32(*sum, w, x);
            }
        }
        sums.iter().fold(0, |all, sum| all ^ _mm256_extract_epi32::<0>(*sum))
    }

    #[target_feature(enable = "avx2")]
    pub fn avx2_bytes() -> i32 {
        let mut sums = [_mm256_setzero_si256(); SUMS];
        let (x, ones) = (_mm256_set1_epi32(black_box(5)), _mm256_set1_epi16(1));
        for _ in 0..STEPS {
            for sum in &mut sums {
                // The sum serves as weights: with constant weights the compiler would multiply
                // once.
                let products = _mm256_maddubs_epi16(*sum, x);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, ones));
            }
        }
        sums.iter().fold(0, |all, sum| all ^ _mm256_extract_epi32::<0>(*sum))
    }

    #[target_feature(enable = "avx2")]
    pub fn avx2_pairs() -> i32 {
        let mut sums = [_mm256_setzero_si256(); SUMS];
        let x = _mm256_set1_epi32(black_box(5));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, x));
            }
        }
        sums.iter().fold(0, |all, sum| all ^ _mm256_extract_epi32::<0>(*sum))
    }
}
