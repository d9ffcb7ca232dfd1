//! Tests of the computing kernels, in f32 and in f16.

use super::{Random, given, gpus, of_bytes, of_floats, of_offsets, open, params, run};
use crate::engine::GpuOptions;
use crate::engine::wgpu::device::Gpu;
use crate::engine::wgpu::pipelines::{
    ADD_NORM, ATTENTION, COMPACT, EMBED, Float, LINEAR, POOL, QLINEAR, QUANTIZE, Source,
};

/// Largest relative rounding error of f16.
const HALF: f64 = 1.0 / 2048.0;

/// Lists odd shapes and equally many random ones.
fn shapes<const N: usize>(odd: &[[usize; N]], most: [usize; N], seed: u64) -> Vec<[usize; N]> {
    let mut random = Random(seed);
    let random = odd.iter().map(|_| most.map(|most| random.upto(most)));
    odd.iter().copied().chain(random).collect()
}

/// Tolerance of a kernel: with elements in f32, and in f16 as multiples of [`HALF`].
///
/// With sums in f32 the output is rounded once. Sums in f16 (16 products of a linear layer, 4 of a
/// score) add further errors.
fn tolerance(float: Float, f32: f64, halves: f64) -> f64 {
    if float == Float::F32 { f32 } else { halves * HALF }
}

fn assert_close(out: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(out.len(), expected.len(), "{what}");
    for (i, (a, b)) in out.iter().zip(expected).enumerate() {
        let a = f64::from(*a);
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}, at {i}: {a} is not {b}");
    }
}

/// Runs a kernel whose output has the number format of its input, and returns `n` values.
fn computed<const N: usize>(
    gpu: &Gpu,
    float: Float,
    (source, constants): (Source, &str),
    read: [Vec<u32>; N],
    n: usize,
    grid: (usize, usize),
) -> Vec<f32> {
    let given = given(read, &[float.words_of(n)]);
    float.numbers(&run(gpu, (source, [float; 2], constants), &given, grid)[0], n)
}

fn erf(x: f64) -> f64 {
    libm::erf(x)
}

fn activate(x: f64, activation: usize) -> f64 {
    match activation {
        1 => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
        2 => 0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044715 * x * x * x)).tanh()),
        3 => x.max(0.0),
        4 => x.tanh(),
        _ => x,
    }
}

fn normalized(sums: &[f64], norm: &[f32], epsilon: f64) -> Vec<f64> {
    let n = sums.len() as f64;
    let mean = sums.iter().sum::<f64>() / n;
    let variance = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
    let scaled = sums.iter().map(|s| (s - mean) / (variance + epsilon).sqrt());
    let (gamma, beta) = norm.split_at(sums.len());
    scaled.zip(gamma).zip(beta).map(|((s, g), b)| s * f64::from(*g) + f64::from(*b)).collect()
}

#[test]
fn quantize_is_the_same_integers() {
    for (gpu, float) in gpus() {
        let mut random = Random(1);
        let odd = [[1, 1], [3, 5], [2, 64], [7, 99], [4, 384], [1, 1537]];
        for [rows, inputs] in shapes(&odd, [9, 700], 101) {
            let mut x = float.rounded(random.floats(rows * inputs));
            x[..inputs].fill(if rows == 3 { f32::NAN } else { 0.0 });
            let lines = inputs.div_ceil(16);
            let read = [params(0, inputs, 0, lines, 0, 0.0), float.words(&x)];
            let out = run(
                &gpu,
                (QUANTIZE, [float; 2], ""),
                &given(read, &[rows * lines * 4, rows]),
                (rows, 1),
            );
            for (row, x) in x.chunks(inputs).enumerate() {
                let most = x.iter().fold(0f32, |m, v| if v.is_nan() { *v } else { m.max(v.abs()) });
                let scale = f32::from_bits(out[1][row]);
                if most.is_nan() {
                    assert!(scale.is_nan());
                    continue;
                }
                assert!((scale - most / 127.0).abs() <= most * 1e-8);
                for c in 0..lines * 16 {
                    let q = (out[0][row * lines * 4 + c / 4] >> (c % 4 * 8)) as i8;
                    let exact = x
                        .get(c)
                        .map_or(0.0, |x| f64::from(*x) * 127.0 / f64::from(most).max(1e-30));
                    assert!((f64::from(q) - exact).abs() <= 0.500_01, "{q} is not {exact}");
                }
            }
        }
    }
}

#[test]
fn qlinear_equals_the_definition() {
    for (unpacked, float) in [(false, Float::F32), (true, Float::F32), (false, Float::F16)] {
        let options = GpuOptions { unpacked, f16: float == Float::F16, ..Default::default() };
        let Some(gpu) = open(options) else { continue };
        let mut random = Random(2);
        let odd = [[1, 1, 1], [3, 16, 2], [33, 99, 31], [32, 64, 32], [5, 384, 70], [70, 1537, 33]];
        let shapes = shapes(&odd, [80, 500, 80], 102);
        for (i, [rows, inputs, outputs]) in shapes.into_iter().enumerate() {
            let lines = inputs.div_ceil(16);
            let filled = |random: &mut Random, n: usize| {
                let mut bytes = random.bytes(n * lines * 16);
                for (i, byte) in bytes.iter_mut().enumerate() {
                    if i % (lines * 16) >= inputs {
                        *byte = 0;
                    }
                }
                bytes
            };
            let (q, w) = (filled(&mut random, rows), filled(&mut random, outputs));
            let scales: Vec<f32> = random.floats(rows).iter().map(|x| x.abs() * 1e-3).collect();
            let columns: Vec<f32> = random.floats(2 * outputs).iter().map(|x| x * 0.1).collect();
            let activation = i % 5;
            let read = [
                params(1, inputs, outputs, lines, activation, 0.0),
                vec![0, rows as u32],
                of_bytes(&q),
                of_floats(&scales),
                of_bytes(&w),
                of_floats(&columns),
            ];
            let grid = (rows.div_ceil(32), outputs.div_ceil(32));
            let out = computed(&gpu, float, (QLINEAR, ""), read, rows * outputs, grid);
            let mut expected = Vec::new();
            for row in 0..rows {
                for output in 0..outputs {
                    let at = |i: usize| {
                        i64::from(q[row * lines * 16 + i]) * i64::from(w[output * lines * 16 + i])
                    };
                    let sum = (0..inputs).map(at).sum::<i64>() as f64;
                    let value = sum * f64::from(columns[2 * output]) * f64::from(scales[row])
                        + f64::from(columns[2 * output + 1]);
                    expected.push(activate(value, activation));
                }
            }
            let what = format!("{rows} x {inputs} x {outputs}, unpacked {unpacked}");
            let close = tolerance(float, 1e-5, 1.01);
            assert_close(&out, &expected, close, &what);
        }
    }
}

#[test]
fn linear_equals_the_definition() {
    for (gpu, float) in gpus() {
        let mut random = Random(3);
        let odd = [[1, 1, 1], [3, 16, 2], [33, 99, 31], [32, 64, 32], [5, 384, 70], [70, 129, 33]];
        for (i, [rows, inputs, outputs]) in shapes(&odd, [80, 300, 80], 103).into_iter().enumerate()
        {
            let x = float.rounded(random.floats(rows * inputs));
            let w = random.floats(inputs * outputs).into_iter().map(|w| w / (inputs as f32).sqrt());
            let w = float.rounded(w.collect());
            let bias = random.floats(outputs);
            let read = [
                params(0, inputs, outputs, 0, i % 5, 0.0),
                vec![rows as u32, 0],
                float.words(&x),
                float.words(&w),
                of_floats(&bias),
            ];
            let grid = (rows.div_ceil(32), outputs.div_ceil(32));
            let out = computed(&gpu, float, (LINEAR, ""), read, rows * outputs, grid);
            let mut expected = Vec::new();
            for row in 0..rows {
                for output in 0..outputs {
                    let at = |i: usize| {
                        f64::from(x[row * inputs + i]) * f64::from(w[i * outputs + output])
                    };
                    let value = (0..inputs).map(at).sum::<f64>() + f64::from(bias[output]);
                    expected.push(activate(value, i % 5));
                }
            }
            let what = format!("{rows} x {inputs} x {outputs}");
            let close = tolerance(float, 1e-5, 16.0);
            assert_close(&out, &expected, close, &what);
        }
    }
}

#[test]
fn add_norm_equals_the_definition() {
    for (gpu, float) in gpus() {
        let mut random = Random(4);
        let odd = [[1, 1], [3, 7], [2, 64], [5, 99], [3, 384], [1, 1025]];
        for [rows, width] in shapes(&odd, [13, 800], 104) {
            let mut rows_of_floats = || float.rounded(random.floats(rows * width));
            let (x, r) = (rows_of_floats(), rows_of_floats());
            let norm = random.floats(2 * width);
            let read = [
                params(1, 0, width, 0, 0, 1e-3),
                vec![0, rows as u32],
                float.words(&x),
                float.words(&r),
                of_floats(&norm),
            ];
            let out =
                computed(&gpu, float, (ADD_NORM, ""), read, rows * width, (rows.div_ceil(4), 1));
            let sums: Vec<f64> =
                x.iter().zip(&r).map(|(x, r)| f64::from(*x) + f64::from(*r)).collect();
            let expected: Vec<f64> =
                sums.chunks(width).flat_map(|s| normalized(s, &norm, 1e-3)).collect();
            let close = tolerance(float, 2e-5, 1.01);
            assert_close(&out, &expected, close, &format!("{rows} x {width}"));
        }
    }
}

/// Makes a table of embeddings with elements of `bits` bits, 32 for floats. Returns its words, its
/// scales and its values.
fn table(
    random: &mut Random,
    float: Float,
    (rows, columns, bits): (usize, usize, u32),
    groups: usize,
) -> (Vec<u32>, Vec<f32>, Vec<f64>) {
    if bits == 32 {
        let values = float.rounded(random.floats(rows * columns));
        let held = values.iter().map(|v| f64::from(*v)).collect();
        return (float.words(&values), Vec::new(), held);
    }
    let bytes = random.bytes(rows * columns * bits as usize / 8);
    let scales: Vec<f32> = random.floats(rows * groups).iter().map(|s| s * 0.01).collect();
    let value = |i: usize| {
        let (row, c) = (i / columns, i % columns);
        let scale = f64::from(scales[row * groups + c * groups / columns]);
        let half = columns / 2;
        let element = match bits {
            8 => f64::from(bytes[i]),
            _ if c < half => f64::from(bytes[row * half + c] & 15) - 8.0,
            _ => f64::from((bytes[row * half + c - half] as u8) >> 4) - 8.0,
        };
        element * scale
    };
    let held = (0..rows * columns).map(value).collect();
    (of_bytes(&bytes), scales, held)
}

#[test]
fn embed_equals_the_definition() {
    for (gpu, float) in gpus() {
        let mut random = Random(5);
        for (word_bits, position_bits, width, groups) in [
            (8, 8, 5, 1),
            (8, 8, 384, 1),
            (32, 32, 99, 0),
            (32, 8, 66, 0),
            (4, 8, 6, 2),
            (4, 8, 384, 4),
            (4, 32, 40, 10),
        ] {
            let (vocabulary, places) = (11, 9);
            let bits = |bits| if bits == 32 { 8 * float.bytes() as u32 } else { bits };
            let offsets = random.offsets(6, 9);
            let rows = offsets[6];
            let ids: Vec<u32> = (0..rows).map(|_| (random.next() % 11) as u32).collect();
            let (words, scales, held) =
                table(&mut random, float, (vocabulary, width, word_bits), groups);
            let of_positions = table(&mut random, float, (places, width, position_bits), 1);
            let norm = random.floats(2 * width);
            let read = [
                params(0, 0, width, vocabulary, groups, 1e-3),
                vec![6, rows as u32],
                of_offsets(&offsets),
                ids.clone(),
                words,
                of_positions.0,
                of_floats(&[norm.clone(), scales, of_positions.1].concat()),
            ];
            let constants = format!(
                "const WORD_BITS = {}u;\nconst POSITION_BITS = {}u;\n",
                bits(word_bits),
                bits(position_bits)
            );
            let grid = (rows.div_ceil(4), 1);
            let out = computed(&gpu, float, (EMBED, &*constants), read, rows * width, grid);
            let mut expected = Vec::new();
            for s in offsets.windows(2) {
                for row in s[0]..s[1] {
                    let word = &held[ids[row] as usize * width..][..width];
                    let position = &of_positions.2[(row - s[0]) * width..][..width];
                    let sums: Vec<f64> = word.iter().zip(position).map(|(w, p)| w + p).collect();
                    expected.extend(normalized(&sums, &norm, 1e-3));
                }
            }
            let what = format!("{word_bits} and {position_bits} bits, width {width}");
            let close = tolerance(float, 5e-5, 1.01);
            assert_close(&out, &expected, close, &what);
        }
    }
}

#[test]
fn attention_equals_the_definition() {
    for (gpu, float) in gpus() {
        let mut random = Random(6);
        for (d, heads, tile, lengths) in [
            (1, 1, (16, 32), (1, 1)),
            (3, 2, (16, 32), (9, 30)),
            (32, 12, (16, 32), (5, 40)),
            (64, 2, (16, 32), (1, 512)),
            (80, 2, (8, 16), (4, 60)),
            (33, 3, (4, 8), (4, 60)),
            (128, 1, (8, 16), (2, 70)),
        ] {
            for first in [false, true] {
                let offsets = random.offsets(lengths.0, lengths.1);
                let offsets = if lengths.1 == 512 { vec![0, 512] } else { offsets };
                let (sentences, rows, width) =
                    (offsets.len() - 1, offsets[offsets.len() - 1], d * heads);
                let qkv = float.rounded(random.floats(rows * 3 * width));
                let (queries, keys) = if first { (1, tile.1) } else { tile };
                let constants = format!(
                    "const D = {d}u;\nconst QUERIES = {queries}u;\nconst KEYS = {keys}u;\n\
                 const FIRST = {first};\n"
                );
                let read = [
                    params(0, 3 * width, width, 0, 0, 1.0 / (d as f32).sqrt()),
                    vec![sentences as u32, rows as u32],
                    of_offsets(&offsets),
                    float.words(&qkv),
                ];
                let (written, out_float) =
                    if first { (sentences, Float::F32) } else { (rows, float) };
                let grid = (written.div_ceil(queries), heads);
                let kernel = (ATTENTION, [float, out_float], &*constants);
                let given = given(read, &[out_float.words_of(written * width)]);
                let out = run(&gpu, kernel, &given, grid);
                let at = |row: usize, which: usize, head: usize, c: usize| {
                    f64::from(qkv[row * 3 * width + which * width + head * d + c])
                };
                let mut expected = vec![0.0; written * width];
                for (number, s) in offsets.windows(2).enumerate() {
                    for i in s[0]..if first { s[0] + 1 } else { s[1] } {
                        let row = if first { number } else { i };
                        for head in 0..heads {
                            let dot = |j| {
                                (0..d).map(|c| at(i, 0, head, c) * at(j, 1, head, c)).sum::<f64>()
                            };
                            let scores: Vec<f64> =
                                (s[0]..s[1]).map(|j| dot(j) / (d as f64).sqrt()).collect();
                            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                            let e: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                            let sum: f64 = e.iter().sum();
                            for c in 0..d {
                                expected[row * width + head * d + c] = (s[0]..s[1])
                                    .zip(&e)
                                    .map(|(j, e)| e / sum * at(j, 2, head, c))
                                    .sum();
                            }
                        }
                    }
                }
                let what = format!("heads of {d}, first {first}, {offsets:?}");
                let close = tolerance(float, 2e-5, 8.0);
                let out = out_float.numbers(&out[0], expected.len());
                assert_close(&out, &expected, close, &what);
            }
        }
    }
}

#[test]
fn pool_and_compact_take_the_rows_of_each_sentence() {
    for (gpu, float) in gpus() {
        let mut random = Random(7);
        for [width] in shapes(&[[1], [37], [384]], [500], 105) {
            let offsets = random.offsets(9, 21);
            let x = float.rounded(random.floats(offsets[9] * width));
            for first in [0, 1] {
                let read =
                    [params(0, 0, width, first, 0, 0.0), of_offsets(&offsets), float.words(&x)];
                let out =
                    run(&gpu, (POOL, [float, Float::F32], ""), &given(read, &[9 * width]), (9, 1));
                let mut expected = Vec::new();
                for s in offsets.windows(2) {
                    let end = if first == 1 { s[0] + 1 } else { s[1] };
                    for c in 0..width {
                        let sum: f64 = (s[0]..end).map(|r| f64::from(x[r * width + c])).sum();
                        expected.push(sum / (end - s[0]) as f64);
                    }
                }
                let out = Float::F32.numbers(&out[0], expected.len());
                assert_close(&out, &expected, 1e-5, &format!("width {width}, first {first}"));
            }
            // Every other sentence stays.
            let (mut records, mut expected, mut end) = (Vec::new(), Vec::new(), 0);
            for s in offsets.windows(2).step_by(2) {
                records.extend([end, s[1] - s[0], 0, s[0]].map(|n| n as u32));
                expected.extend(x[s[0] * width..s[1] * width].iter().map(|v| f64::from(*v)));
                end += s[1] - s[0];
            }
            let counts = vec![records.len() as u32 / 4, end as u32];
            let read = [params(0, 0, width, 0, 0, 0.0), counts, records, float.words(&x)];
            let out = computed(&gpu, float, (COMPACT, ""), read, end * width, (end, 1));
            assert_close(&out, &expected, 0.0, &format!("width {width}"));
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for (gpu, float) in gpus() {
        let nan = |out: &[u32], n: usize| float.numbers(out, n).iter().all(|x| x.is_nan());
        for activation in 0..5 {
            let one = float.words(&[1.0]);
            let x = float.words(&[f32::NAN]);
            let read = [params(0, 1, 1, 0, activation, 0.0), vec![1, 0], x, one, of_floats(&[0.0])];
            let out = run(&gpu, (LINEAR, [float; 2], ""), &given(read, &[1]), (1, 1));
            assert!(nan(&out[0], 1), "{activation}, {float:?}: {:?}", out[0]);
        }
        // A query of infinities, as at the end of the range of f16.
        let qkv = [[f32::INFINITY; 4], [1.0; 4], [1.0; 4]].concat();
        let constants =
            "const D = 4u;\nconst QUERIES = 1u;\nconst KEYS = 4u;\nconst FIRST = false;\n";
        let of_sentences = of_offsets(&[0, 1]);
        let read = [params(0, 12, 4, 0, 0, 0.5), vec![1, 1], of_sentences, float.words(&qkv)];
        let kernel = (ATTENTION, [float; 2], constants);
        let out = run(&gpu, kernel, &given(read, &[float.words_of(4)]), (1, 1));
        assert!(nan(&out[0], 4), "{float:?}: {:?}", out[0]);
    }
}
