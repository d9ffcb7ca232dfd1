//! Tests of all methods against the definition.

use super::pack::LANES;
use super::*;
use crate::kernels::activation::activated;

/// Weights of a layer, and rows for it.
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: Vec<f32>,
    weights: Vec<u8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    /// Makes rows of noise: the first row is zeros and the second has one huge value. Weights are
    /// random elements of `weights`.
    fn new([rows, inputs, outputs]: [usize; 3], weights: &[i8], noise: &mut Noise) -> Self {
        let mut x: Vec<f32> =
            (0..rows * inputs).map(|_| noise.below(2001) / 100.0 - 10.0).collect();
        x[..inputs].fill(0.0);
        if let Some(second) = x.chunks_mut(inputs).nth(1) {
            second[inputs / 2] = -1e20;
        }
        Case {
            rows,
            inputs,
            outputs,
            x,
            weights: (0..inputs * outputs)
                .map(|_| weights[noise.below(weights.len() as u64) as usize] as u8)
                .collect(),
            scales: (0..outputs).map(|_| (noise.below(97) + 1.0) / 1e4).collect(),
            bias: (0..outputs).map(|_| noise.below(13) - 6.0).collect(),
        }
    }

    /// Computes the integers and the rescaling by their definition.
    fn expected(&self, activation: Activation) -> Vec<f32> {
        let mut out = vec![];
        for x in self.x.chunks(self.inputs) {
            let largest = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let inverse = 127.0 / largest.max(1e-30);
            let q: Vec<i64> = x.iter().map(|x| (x * inverse).round_ties_even() as i64).collect();
            for o in 0..self.outputs {
                let weight = |i: usize| i64::from(self.weights[i * self.outputs + o] as i8);
                let sum: i64 = (0..self.inputs).map(|i| q[i] * weight(i)).sum();
                out.push(sum as f32 * self.scales[o] * (largest * (1.0 / 127.0)) + self.bias[o]);
            }
        }
        activated::<[f32; LANES]>(&mut out, activation);
        out
    }

    fn check(&self, method: (Isa, bool), activation: Activation, scratch: &mut Scratch) {
        let Case { rows, inputs, outputs, x, weights, scales, bias } = self;
        let packed = PackedWeights::pack(method, *inputs, *outputs, weights, scales, bias);
        let mut out = vec![f32::NAN; rows * outputs];
        qlinear(x, &packed, activation, scratch, &mut out);
        assert_eq!(
            out,
            self.expected(activation),
            "{method:?}: {rows} rows, {inputs} inputs, {outputs} outputs"
        );
    }
}

/// Xorshift generator: the same numbers on every machine.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u64) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % bound) as f32
    }
}

/// Lists the instruction sets of this processor, each with and without the kernel for narrow weights,
/// −64…63, where `narrow` permits it.
fn methods(narrow: bool) -> Vec<(Isa, bool)> {
    let all = Isa::available().into_iter();
    all.flat_map(|isa| [(isa, false), (isa, narrow)].into_iter().take(1 + usize::from(narrow)))
        .collect()
}

const WIDE: &[i8] = &[-128, -127, 127, 63, -63, 64, -64, -128, 127, 1, 0];
const NARROW: &[i8] = &[-64, -63, 63, 63, -64, 0, 1, -1];

#[test]
fn all_methods_equal_the_definition() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut scratch = Scratch::default();
    let widths = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 67];
    for (weights, narrow) in [(WIDE, false), (NARROW, true)] {
        for rows in 1..=13 {
            for _ in 0..12 {
                let mut pick = || widths[noise.below(widths.len() as u64) as usize];
                let case = Case::new([rows, pick(), pick()], weights, &mut noise);
                for method in methods(narrow) {
                    case.check(method, Activation::Identity, &mut scratch);
                }
            }
        }
        for shape in [
            [9, 384, 384],
            [5, 1536, 19],
            [7, 384, 130],
            [16, 64, 64],
            [33, 68, 65],
            [40, 1541, 18],
        ] {
            let case = Case::new(shape, weights, &mut noise);
            for method in methods(narrow) {
                for activation in [Activation::Identity, Activation::Gelu, Activation::Tanh] {
                    case.check(method, activation, &mut scratch);
                }
            }
        }
    }
}

#[test]
fn the_largest_sums_are_exact() {
    for (weights, narrow) in
        [([-128].as_slice(), false), (&[127], false), (&[-64], true), (&[63], true)]
    {
        for (sign, rows) in [(1.0, 3), (-1.0, 3), (1.0, 17), (-1.0, 17)] {
            let mut case = Case::new([rows, 1537, 18], weights, &mut Noise(1));
            case.x.fill(sign);
            for method in methods(narrow) {
                case.check(method, Activation::Identity, &mut Scratch::default());
            }
        }
    }
}

#[test]
fn a_nan_stays_in_its_row() {
    let mut case = Case::new([3, 8, 17], NARROW, &mut Noise(5));
    let expected = case.expected(Activation::Identity);
    case.x[12] = f32::NAN;
    for method in methods(true) {
        let Case { inputs, outputs, x, weights, scales, bias, .. } = &case;
        let packed = PackedWeights::pack(method, *inputs, *outputs, weights, scales, bias);
        let mut out = vec![0.0; 3 * outputs];
        qlinear(x, &packed, Activation::Identity, &mut Scratch::default(), &mut out);
        assert!(out[17..34].iter().all(|v| v.is_nan()), "{method:?}");
        assert_eq!((&out[..17], &out[34..]), (&expected[..17], &expected[34..]), "{method:?}");
    }
}

/// Weights packed for any instruction set are the same; those for this one stay in place.
#[test]
fn packed_weights_are_used_as_they_are() {
    let mut noise = Noise(0xd1b5_4a32_d192_ed03);
    let mut scratch = Scratch::default();
    for (weights, narrow) in [(WIDE, false), (NARROW, true)] {
        for shape in [[2, 3, 5], [3, 64, 64], [1, 37, 130], [6, 384, 48], [9, 100, 70]] {
            let case = Case::new(shape, weights, &mut noise);
            let [_, inputs, outputs] = shape;
            let expected = case.expected(Activation::Gelu);
            for isa in Isa::available() {
                for target in Isa::ALL {
                    let packing = target.packing(narrow);
                    let values = packing.pack(inputs, outputs, &case.weights);
                    let of = |values: &bytes::Bytes| {
                        let values = (packing, values.clone());
                        let Case { scales, bias, .. } = &case;
                        PackedWeights::of_packed(isa, inputs, outputs, values, scales, bias)
                    };
                    let packed = of(&values);
                    let own = packing == isa.packing(narrow);
                    assert!(packed.lies_in(&values) || !own, "{isa:?} copies its own weights");
                    let moved = bytes::Bytes::from([&[0][..], &values].concat()).slice(1..);
                    let copied = of(&moved);
                    assert!(!copied.lies_in(&moved));
                    for packed in [packed, copied] {
                        let mut out = vec![f32::NAN; expected.len()];
                        qlinear(&case.x, &packed, Activation::Gelu, &mut scratch, &mut out);
                        assert_eq!(out, expected, "{isa:?} with weights for {target:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_rows_give_no_rows() {
    let packed = PackedWeights::pack((Isa::BASELINE, false), 3, 2, &[1; 6], &[1.0; 2], &[0.0; 2]);
    qlinear(&[], &packed, Activation::Identity, &mut Scratch::default(), &mut []);
}
