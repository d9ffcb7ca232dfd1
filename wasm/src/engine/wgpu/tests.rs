//! Tests of every kernel against its scalar twin, on odd and random shapes, into buffers of NaN.

mod compiling;
mod exits;
mod kernels;
mod same_bits;

use super::device::{Gpu, GpuOptions};
use super::pipelines::{Float, Kernel, Pipelines, Source};
use super::words;
use crate::{Error, GpuFailure};
use ::wgpu::{BindGroupDescriptor, BindGroupEntry, BufferUsages};
use half::f16;

/// Random generator with the same numbers on every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// Returns a number from 1 to `most`.
    fn upto(&mut self, most: usize) -> usize {
        1 + self.next() as usize % most
    }

    /// Returns floats between −2 and 2.
    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32 / (1u64 << 30) as f32 - 2.0).collect()
    }

    fn bytes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.next() as i8).collect()
    }

    /// Makes the offsets of some sentences.
    fn offsets(&mut self, sentences: usize, most: u64) -> Vec<usize> {
        let mut offsets = vec![0];
        for _ in 0..sentences {
            offsets.push(offsets[offsets.len() - 1] + 1 + (self.next() % most) as usize);
        }
        offsets
    }
}

fn gpu(unpacked: bool) -> Option<Gpu> {
    open(GpuOptions { unpacked, ..GpuOptions::default() })
}

/// Opens the adapter in f32, and in f16.
fn gpus() -> impl Iterator<Item = (Gpu, Float)> {
    [(false, Float::F32), (true, Float::F16)].into_iter().filter_map(|(f16, float)| {
        Some((open(GpuOptions { f16, ..GpuOptions::default() })?, float))
    })
}

fn open(options: GpuOptions) -> Option<Gpu> {
    let options = GpuOptions { default_limits: true, ..options };
    // Natively the future is ready at once.
    let mut future = std::pin::pin!(Gpu::open(options));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(gpu)) => Some(gpu),
        std::task::Poll::Ready(Err(Error::Gpu { failure: GpuFailure::NoAdapter, problem })) => {
            eprintln!("NOT RUN with {options:?}: {problem}");
            None
        }
        other => panic!("{other:?}"),
    }
}

impl Float {
    /// Rounds numbers to this number format.
    fn rounded(self, values: Vec<f32>) -> Vec<f32> {
        match self {
            Float::F16 => values.into_iter().map(|v| f16::from_f32(v).to_f32()).collect(),
            Float::F32 => values,
        }
    }

    /// Encodes numbers as the words of a buffer.
    fn words(self, values: &[f32]) -> Vec<u32> {
        match self {
            Float::F16 => {
                let halves: Vec<u16> = values.iter().map(|v| f16::from_f32(*v).to_bits()).collect();
                let word = |pair: &[u16]| pair.iter().rev().fold(0, |w, h| w << 16 | u32::from(*h));
                halves.chunks(2).map(word).collect()
            }
            Float::F32 => of_floats(values),
        }
    }

    /// Decodes `n` numbers of a buffer.
    fn numbers(self, words: &[u32], n: usize) -> Vec<f32> {
        let halves = |w: &u32| [*w as u16, (*w >> 16) as u16].map(|h| f16::from_bits(h).to_f32());
        let mut numbers: Vec<f32> = match self {
            Float::F16 => words.iter().flat_map(halves).collect(),
            Float::F32 => words.iter().map(|w| f32::from_bits(*w)).collect(),
        };
        numbers.truncate(n);
        numbers
    }

    /// Number of words of `n` elements.
    fn words_of(self, n: usize) -> usize {
        (n * self.bytes()).div_ceil(4)
    }
}

/// Makes a kernel from f32 to f32.
impl From<(Source, &str)> for Kernel {
    fn from((source, constants): (Source, &str)) -> Self {
        (source, [Float::F32; 2], constants).into()
    }
}

impl From<(Source, [Float; 2], &str)> for Kernel {
    fn from((source, [read, written], constants): (Source, [Float; 2], &str)) -> Self {
        Kernel { source, read, written, constants: constants.to_owned() }
    }
}

/// Encodes f32 numbers as the words of a buffer.
fn of_floats(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn of_bytes(values: &[i8]) -> Vec<u32> {
    let mut bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    words(&bytes)
}

/// Encodes a batch as the buffer `sentences`.
fn of_offsets(offsets: &[usize]) -> Vec<u32> {
    let record = |(i, w): (usize, &[usize])| [w[0], w[1] - w[0], i, w[0]].map(|n| n as u32);
    offsets.windows(2).enumerate().flat_map(record).collect()
}

/// Encodes the struct Params of `common.wgsl`.
fn params(rows: u32, inputs: usize, outputs: usize, a: usize, b: usize, number: f32) -> Vec<u32> {
    vec![0, rows, inputs as u32, outputs as u32, a as u32, b as u32, number.to_bits(), 0]
}

/// A buffer for a kernel.
enum Given {
    Uniform(Vec<u32>),
    Read(Vec<u32>),
    /// Number of words that the kernel writes.
    Written(usize),
    /// Words that the kernel overwrites.
    Changed(Vec<u32>),
}

/// Runs a kernel once and returns the words that it has written. Output buffers are filled with
/// NaNs, and NaNs follow the data of each buffer.
fn run(
    gpu: &Gpu,
    kernel: impl Into<Kernel>,
    given: &[Given],
    (x, y): (usize, usize),
) -> Vec<Vec<u32>> {
    const BEHIND: usize = 67;
    let kernel = kernel.into();
    let source = kernel.source;
    let pipeline = Pipelines::default().get(gpu, kernel);
    // A NaN in f32 and in f16.
    let nan = 0x7fff_7fff;
    let buffer = |words: &[u32], usage| {
        let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        gpu.upload("test", bytes, usage).unwrap()
    };
    let storage = |words: &[u32]| {
        let poisoned = [words, &[nan; BEHIND]].concat();
        buffer(&poisoned, BufferUsages::STORAGE | BufferUsages::COPY_SRC)
    };
    let buffers: Vec<_> = given
        .iter()
        .map(|given| match given {
            Given::Uniform(words) => buffer(words, BufferUsages::UNIFORM),
            Given::Read(words) | Given::Changed(words) => storage(words),
            Given::Written(n) => storage(&vec![nan; *n]),
        })
        .collect();
    let bindings: Vec<u32> = source.bindings().collect();
    assert_eq!(bindings.len(), buffers.len());
    let entries: Vec<_> = bindings
        .into_iter()
        .zip(&buffers)
        .map(|(binding, buffer)| BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let layout = &pipeline.layout;
    let group = gpu.device.create_bind_group(&BindGroupDescriptor {
        label: None,
        layout,
        entries: &entries,
    });
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(pipeline.compiled());
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(x as u32, y as u32, 1);
    drop(pass);
    let mut staging = Vec::new();
    for (given, from) in given.iter().zip(&buffers) {
        let n = match given {
            Given::Written(n) => *n,
            Given::Changed(words) => words.len(),
            Given::Uniform(_) | Given::Read(_) => continue,
        };
        let to =
            gpu.buffer("staging", from.size(), BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
        staging.push((to, n));
    }
    gpu.queue.submit([encoder.finish()]);
    let read = |(buffer, n): (::wgpu::Buffer, usize)| {
        let mut words = words(&gpu.wait(gpu.read(&buffer, buffer.size())).unwrap());
        assert!(words[n..n + BEHIND].iter().all(|w| *w == nan), "written behind the end");
        words.truncate(n);
        words
    };
    staging.into_iter().map(read).collect()
}

/// Lists the buffers of most kernels: parameters, buffers to read, and sizes of buffers to write.
fn given<const N: usize>(read: [Vec<u32>; N], written: &[usize]) -> Vec<Given> {
    let mut read = read.into_iter();
    let uniform = read.next().map(Given::Uniform);
    let written = written.iter().map(|n| Given::Written(*n));
    uniform.into_iter().chain(read.map(Given::Read)).chain(written).collect()
}
