//! Every kernel against its scalar twin, on odd shapes, into buffers filled with NaN.

use super::device::{Gpu, GpuOptions};
use super::pipelines::{
    ADD_NORM, ATTENTION, COMPACT, EMBED, LINEAR, POOL, Pipelines, QLINEAR, QUANTIZE, Source,
};
use super::words;
use crate::{Error, GpuFailure};
use ::wgpu::{BindGroupDescriptor, BindGroupEntry, BufferUsages};

/// Random numbers that are the same on every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// Between −2 and 2.
    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32 / (1u64 << 30) as f32 - 2.0).collect()
    }

    fn bytes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.next() as i8).collect()
    }

    /// Where each of some sentences begins.
    fn offsets(&mut self, sentences: usize, most: u64) -> Vec<usize> {
        let mut offsets = vec![0];
        for _ in 0..sentences {
            offsets.push(offsets[offsets.len() - 1] + 1 + (self.next() % most) as usize);
        }
        offsets
    }
}

fn gpu(unpacked: bool) -> Option<Gpu> {
    let options = GpuOptions { unpacked, default_limits: true, ..GpuOptions::default() };
    // Natively the future is ready at once.
    let mut future = std::pin::pin!(Gpu::open(options));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(gpu)) => Some(gpu),
        std::task::Poll::Ready(Err(Error::Gpu { failure: GpuFailure::NoAdapter, problem })) => {
            eprintln!("NOT RUN: no GPU adapter ({problem})");
            None
        }
        other => panic!("{other:?}"),
    }
}

/// The words of a buffer.
fn of_floats(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn of_bytes(values: &[i8]) -> Vec<u32> {
    let mut bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    words(&bytes)
}

/// What `sentences` holds of a batch.
fn of_offsets(offsets: &[usize]) -> Vec<u32> {
    let record = |(i, w): (usize, &[usize])| [w[0], w[1] - w[0], i, w[0]].map(|n| n as u32);
    offsets.windows(2).enumerate().flat_map(record).collect()
}

/// What `common.wgsl` calls Params.
fn params(rows: u32, inputs: usize, outputs: usize, a: usize, b: usize, epsilon: f32) -> Vec<u32> {
    vec![0, rows, inputs as u32, outputs as u32, a as u32, b as u32, 0, epsilon.to_bits()]
}

/// Runs a kernel once; `written` of its bindings, of so many words, are given back. There are NaNs in
/// them before, and behind what they must have.
fn run(
    gpu: &Gpu,
    (source, constants): (Source, &str),
    read: &[Vec<u32>],
    written: &[usize],
    (x, y): (usize, usize),
) -> Vec<Vec<u32>> {
    const BEHIND: usize = 67;
    let pipeline = Pipelines::default().get(gpu, source, constants);
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    let buffer = |words: &[u32], usage| {
        let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        gpu.upload("test", bytes, usage).unwrap()
    };
    let mut buffers = vec![buffer(&read[0], BufferUsages::UNIFORM)];
    buffers.extend(read[1..].iter().map(|words| buffer(words, usage)));
    let first = buffers.len();
    let nan = f32::NAN.to_bits();
    buffers.extend(written.iter().map(|n| buffer(&vec![nan; n + BEHIND], usage)));
    let entries: Vec<_> = source
        .bindings()
        .zip(&buffers)
        .map(|(binding, buffer)| BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    assert_eq!(entries.len(), buffers.len());
    let layout = &pipeline.layout;
    let group = gpu.device.create_bind_group(&BindGroupDescriptor {
        label: None,
        layout,
        entries: &entries,
    });
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline.pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(x as u32, y as u32, 1);
    drop(pass);
    let staging: Vec<_> = buffers[first..]
        .iter()
        .map(|from| {
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            let to = gpu.buffer("staging", from.size(), usage);
            encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
            to
        })
        .collect();
    gpu.queue.submit([encoder.finish()]);
    let read = |(buffer, n): (&::wgpu::Buffer, &usize)| {
        let mut words = words(&gpu.wait(gpu.read(buffer, buffer.size())).unwrap());
        assert!(words[*n..n + BEHIND].iter().all(|w| *w == nan), "written behind the end");
        words.truncate(*n);
        words
    };
    staging.iter().zip(written).map(read).collect()
}

fn assert_close(out: &[u32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(out.len(), expected.len(), "{what}");
    for (i, (a, b)) in out.iter().zip(expected).enumerate() {
        let a = f64::from(f32::from_bits(*a));
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}, at {i}: {a} is not {b}");
    }
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
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(1);
    for (rows, inputs) in [(1, 1), (3, 5), (2, 64), (7, 99), (4, 384), (1, 1537)] {
        let mut x = random.floats(rows * inputs);
        x[..inputs].fill(if rows == 3 { f32::NAN } else { 0.0 });
        let lines = inputs.div_ceil(16);
        let read = [params(0, inputs, 0, lines, 0, 0.0), of_floats(&x)];
        let out = run(&gpu, (QUANTIZE, ""), &read, &[rows * lines * 4, rows], (rows, 1));
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
                let exact =
                    x.get(c).map_or(0.0, |x| f64::from(*x) * 127.0 / f64::from(most).max(1e-30));
                assert!((f64::from(q) - exact).abs() <= 0.500_01, "{q} is not {exact}");
            }
        }
    }
}

#[test]
fn qlinear_equals_the_definition() {
    for unpacked in [false, true] {
        let Some(gpu) = gpu(unpacked) else { return };
        let mut random = Random(2);
        for (i, (rows, inputs, outputs)) in [
            (1, 1usize, 1usize),
            (3, 16, 2),
            (33, 99, 31),
            (32, 64, 32),
            (5, 384, 70),
            (70, 1537, 33),
        ]
        .into_iter()
        .enumerate()
        {
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
            let out = run(&gpu, (QLINEAR, ""), &read, &[rows * outputs], grid);
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
            assert_close(&out[0], &expected, 3e-6, &what);
        }
    }
}

#[test]
fn linear_equals_the_definition() {
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(3);
    for (i, (rows, inputs, outputs)) in
        [(1, 1usize, 1usize), (3, 16, 2), (33, 99, 31), (32, 64, 32), (5, 384, 70), (70, 129, 33)]
            .into_iter()
            .enumerate()
    {
        let (x, w) = (random.floats(rows * inputs), random.floats(inputs * outputs));
        let w: Vec<f32> = w.iter().map(|w| w / (inputs as f32).sqrt()).collect();
        let bias = random.floats(outputs);
        let read = [
            params(0, inputs, outputs, 0, i % 5, 0.0),
            vec![rows as u32, 0],
            of_floats(&x),
            of_floats(&w),
            of_floats(&bias),
        ];
        let grid = (rows.div_ceil(32), outputs.div_ceil(32));
        let out = run(&gpu, (LINEAR, ""), &read, &[rows * outputs], grid);
        let mut expected = Vec::new();
        for row in 0..rows {
            for output in 0..outputs {
                let at =
                    |i: usize| f64::from(x[row * inputs + i]) * f64::from(w[i * outputs + output]);
                let value = (0..inputs).map(at).sum::<f64>() + f64::from(bias[output]);
                expected.push(activate(value, i % 5));
            }
        }
        assert_close(&out[0], &expected, 1e-5, &format!("{rows} x {inputs} x {outputs}"));
    }
}

#[test]
fn add_norm_equals_the_definition() {
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(4);
    for (rows, width) in [(1, 1), (3, 7), (2, 64), (5, 99), (3, 384), (1, 1025)] {
        let (x, r) = (random.floats(rows * width), random.floats(rows * width));
        let norm = random.floats(2 * width);
        let read =
            [params(0, 0, width, 0, 0, 1e-3), of_floats(&x), of_floats(&r), of_floats(&norm)];
        let out = run(&gpu, (ADD_NORM, ""), &read, &[rows * width], (rows, 1));
        let sums: Vec<f64> = x.iter().zip(&r).map(|(x, r)| f64::from(*x) + f64::from(*r)).collect();
        let expected: Vec<f64> =
            sums.chunks(width).flat_map(|s| normalized(s, &norm, 1e-3)).collect();
        assert_close(&out[0], &expected, 2e-5, &format!("{rows} x {width}"));
    }
}

#[test]
fn embed_equals_the_definition() {
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(5);
    for (int8, width) in [(true, 5), (true, 384), (false, 99), (true, 66)] {
        let (vocabulary, places) = (11, 9);
        let offsets = random.offsets(6, 9);
        let rows = offsets[6];
        let ids: Vec<u32> = (0..rows).map(|_| (random.next() % 11) as u32).collect();
        let (words, positions) = (random.bytes(vocabulary * width), random.bytes(places * width));
        let scales: Vec<f32> = random
            .floats(vocabulary + places)
            .iter()
            .map(|s| if int8 { *s } else { 1.0 })
            .collect();
        let norm = random.floats(2 * width);
        let table = |bytes: &[i8]| {
            let floats: Vec<f32> = bytes.iter().map(|b| f32::from(*b)).collect();
            if int8 { of_bytes(bytes) } else { of_floats(&floats) }
        };
        let read = [
            params(0, 0, width, vocabulary, 0, 1e-3),
            vec![6, rows as u32],
            of_offsets(&offsets),
            ids.clone(),
            table(&words),
            table(&positions),
            of_floats(&[norm.clone(), scales.clone()].concat()),
        ];
        let constants = format!("const INT8 = {int8};\n");
        let out = run(&gpu, (EMBED, &constants), &read, &[rows * width], (rows, 1));
        let mut expected = Vec::new();
        for s in offsets.windows(2) {
            for row in s[0]..s[1] {
                let (id, place) = (ids[row] as usize, row - s[0]);
                let sums: Vec<f64> = (0..width)
                    .map(|c| {
                        f64::from(words[id * width + c]) * f64::from(scales[id])
                            + f64::from(positions[place * width + c])
                                * f64::from(scales[vocabulary + place])
                    })
                    .collect();
                expected.extend(normalized(&sums, &norm, 1e-3));
            }
        }
        assert_close(&out[0], &expected, 5e-5, &format!("int8 {int8}, width {width}"));
    }
}

#[test]
fn attention_equals_the_definition() {
    let Some(gpu) = gpu(false) else { return };
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
            let qkv = random.floats(rows * 3 * width);
            let (queries, keys) = if first { (1, tile.1) } else { tile };
            let constants = format!(
                "const D = {d}u;\nconst QUERIES = {queries}u;\nconst KEYS = {keys}u;\n\
                 const FIRST = {first};\n"
            );
            let read = [
                params(0, 3 * width, width, 0, 0, 0.0),
                vec![sentences as u32, rows as u32],
                of_offsets(&offsets),
                of_floats(&qkv),
            ];
            let written = if first { sentences } else { rows };
            let grid = (written.div_ceil(queries), heads);
            let out = run(&gpu, (ATTENTION, &constants), &read, &[written * width], grid);
            let at = |row: usize, which: usize, head: usize, c: usize| {
                f64::from(qkv[row * 3 * width + which * width + head * d + c])
            };
            let mut expected = vec![0.0; written * width];
            for (number, s) in offsets.windows(2).enumerate() {
                for i in s[0]..if first { s[0] + 1 } else { s[1] } {
                    let row = if first { number } else { i };
                    for head in 0..heads {
                        let dot =
                            |j| (0..d).map(|c| at(i, 0, head, c) * at(j, 1, head, c)).sum::<f64>();
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
            assert_close(&out[0], &expected, 2e-5, &what);
        }
    }
}

#[test]
fn pool_and_compact_take_the_rows_of_each_sentence() {
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(7);
    for width in [1, 37, 384] {
        let offsets = random.offsets(9, 21);
        let x = random.floats(offsets[9] * width);
        for first in [0, 1] {
            let read = [params(0, 0, width, first, 0, 0.0), of_offsets(&offsets), of_floats(&x)];
            let out = run(&gpu, (POOL, ""), &read, &[9 * width], (9, 1));
            let mut expected = Vec::new();
            for s in offsets.windows(2) {
                let end = if first == 1 { s[0] + 1 } else { s[1] };
                for c in 0..width {
                    let sum: f64 = (s[0]..end).map(|r| f64::from(x[r * width + c])).sum();
                    expected.push(sum / (end - s[0]) as f64);
                }
            }
            assert_close(&out[0], &expected, 1e-5, &format!("width {width}, first {first}"));
        }
        // Every other sentence stays.
        let (mut records, mut expected, mut end) = (Vec::new(), Vec::new(), 0);
        for s in offsets.windows(2).step_by(2) {
            records.extend([end, s[1] - s[0], 0, s[0]].map(|n| n as u32));
            expected.extend(x[s[0] * width..s[1] * width].iter().map(|v| f64::from(*v)));
            end += s[1] - s[0];
        }
        let counts = vec![records.len() as u32 / 4, end as u32];
        let read = [params(0, 0, width, 0, 0, 0.0), counts, records, of_floats(&x)];
        let out = run(&gpu, (COMPACT, ""), &read, &[end * width], (end, 1));
        assert_close(&out[0], &expected, 0.0, &format!("width {width}"));
    }
}
