//! Helpers of the kernels' tests.

use super::isa::Isa;

/// Returns floats between −2 and 2, the same for the same seed (xorshift).
pub(super) fn floats(n: usize, seed: u64) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..n).map(|_| next()).collect()
}

/// Returns the output of a kernel, and checks that every instruction set gives the same bits.
pub(super) fn same_everywhere(n: usize, mut kernel: impl FnMut(Isa, &mut [f32])) -> Vec<f32> {
    let mut of = |isa: Isa| {
        let mut out = vec![f32::NAN; n];
        kernel(isa, &mut out);
        out
    };
    let expected = of(Isa::BASELINE);
    for isa in Isa::available() {
        let out = of(isa);
        let differs = out.iter().zip(&expected).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differs, None, "{isa:?} differs from the baseline");
    }
    expected
}
