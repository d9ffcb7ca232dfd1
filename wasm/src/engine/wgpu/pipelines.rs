//! Compute pipelines, each compiled once. Natively a thread compiles each pipeline while weights
//! are read and uploaded. In a browser the call returns at once and the browser compiles.
//!
//! The device reports an error of compiling like any other error, at the latest when a batch
//! begins: a batch waits for all pipelines.
//!
//! Nothing is cached for the next start. Desktop drivers have their own caches. The cache of wgpu
//! is for Vulkan only, and its contents have to be trusted like code.

use super::device::{Gpu, Handle, lock};
use ::wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType,
    BufferBindingType, ComputePipeline, ComputePipelineDescriptor, Device,
    PipelineCompilationOptions, PipelineLayout, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderSource, ShaderStages,
};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};

const COMMON: &str = include_str!("shaders/common.wgsl");
const SENTENCES: &str = include_str!("shaders/sentences.wgsl");
const NORM: &str = include_str!("shaders/norm.wgsl");
const F16: &str = include_str!("shaders/f16.wgsl");
const F32: &str = include_str!("shaders/f32.wgsl");

/// Source of a kernel: its file, the files before it, and the access to each binding in order.
///
/// Access is `u` for a uniform, `r` for read, `w` for write and `-` for no binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    name: &'static str,
    code: &'static str,
    parts: &'static [&'static str],
    access: &'static str,
}

macro_rules! sources {
    ($($(#[$of:meta])? $name:ident $file:literal $access:literal $parts:expr;)*) => {
        $($(#[$of])? pub(super) const $name: Source = Source {
            name: $file,
            code: include_str!(concat!("shaders/", $file, ".wgsl")),
            parts: $parts,
            access: $access,
        };)*
    };
}

sources! {
    EMBED "embed" "urrrrrrw" &[SENTENCES, NORM];
    QUANTIZE "quantize" "urww" &[];
    QLINEAR "qlinear" "urrrrrw" &[];
    LINEAR "linear" "urrrrw" &[];
    ATTENTION "attention" "urrrw" &[SENTENCES];
    ADD_NORM "add_norm" "urrrrw" &[NORM];
    POOL "pool" "u-rrw" &[];
    COMPACT "compact" "urrrw" &[SENTENCES];
    EXIT "exit" "uuuwwwwrr" &[];
    #[cfg(test)] QUOTIENTS "quotients" "urw" &[];
}

/// Number format of a value's or a weight's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Float {
    F16,
    F32,
}

/// A kernel to compile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kernel {
    pub source: Source,
    /// Number format of the input values and the float weights, `Read` in WGSL.
    pub read: Float,
    /// Number format of the output values, `Written` in WGSL.
    pub written: Float,
    /// WGSL lines of the constants that the source leaves open.
    pub constants: String,
}

/// A kernel that is compiled now or later.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub source: Source,
    pub layout: BindGroupLayout,
    device: Device,
    code: String,
    whole_layout: PipelineLayout,
    compiled: OnceLock<ComputePipeline>,
}

/// Pipelines of an engine.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    all: Mutex<HashMap<Kernel, Handle<Pipeline>>>,
    counting: Mutex<Option<BindGroupLayout>>,
    #[cfg(not(target_arch = "wasm32"))]
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Float {
    /// Number of bytes of an element.
    pub(super) fn bytes(self) -> usize {
        match self {
            Float::F16 => 2,
            Float::F32 => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Float::F16 => "f16",
            Float::F32 => "f32",
        }
    }
}

impl Source {
    /// Name of the file.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Iterates over the bindings.
    pub(super) fn bindings(&self) -> impl Iterator<Item = u32> {
        self.access.chars().enumerate().filter(|(_, a)| *a != '-').map(|(i, _)| i as u32)
    }
}

impl Pipelines {
    /// Returns the pipeline of a kernel, and starts to compile it if it is new.
    pub(super) fn get(&self, gpu: &Gpu, kernel: Kernel) -> Handle<Pipeline> {
        let mut all = lock(&self.all);
        if let Some(pipeline) = all.get(&kernel) {
            return pipeline.clone();
        }
        let pipeline = Handle::new(self.prepare(gpu, &kernel));
        all.insert(kernel, pipeline.clone());
        self.begin(pipeline.clone());
        pipeline
    }

    /// Waits until all pipelines are compiled.
    pub(super) fn wait(&self) {
        let all: Vec<Handle<Pipeline>> = lock(&self.all).values().cloned().collect();
        for pipeline in all {
            pipeline.compiled();
        }
    }

    /// Layout of the workgroup counters.
    pub(super) fn counting(&self, gpu: &Gpu) -> BindGroupLayout {
        lock(&self.counting).get_or_insert_with(|| layout(gpu, "w")).clone()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn begin(&self, pipeline: Handle<Pipeline>) {
        let name = format!("compiles {}", pipeline.source.name);
        let compile = move || {
            pipeline.compiled();
        };
        // If no thread starts, the first wait compiles the pipeline.
        lock(&self.threads).extend(std::thread::Builder::new().name(name).spawn(compile));
    }

    #[cfg(target_arch = "wasm32")]
    fn begin(&self, pipeline: Handle<Pipeline>) {
        pipeline.compiled();
    }

    fn prepare(&self, gpu: &Gpu, kernel: &Kernel) -> Pipeline {
        gpu.pipelines.fetch_add(1, Ordering::Relaxed);
        let source = kernel.source;
        let counts = gpu.options.count_workgroups && source != EXIT;
        let own = layout(gpu, source.access);
        let counting = counts.then(|| self.counting(gpu));
        let mut layouts = vec![Some(&own)];
        layouts.extend(counting.as_ref().map(Some));
        let whole_layout = gpu.device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label: Some(source.name),
            bind_group_layouts: &layouts,
            ..Default::default()
        });
        Pipeline {
            source,
            layout: own,
            device: gpu.device.clone(),
            code: code(kernel, gpu.packed, counts),
            whole_layout,
            compiled: OnceLock::new(),
        }
    }
}

/// Joins the threads: a driver must not work while its process ends.
#[cfg(not(target_arch = "wasm32"))]
impl Drop for Pipelines {
    fn drop(&mut self) {
        for thread in lock(&self.threads).drain(..) {
            // A thread that panicked has printed its message.
            let _ = thread.join();
        }
    }
}

impl Pipeline {
    /// Returns the compiled pipeline. Waits if another thread is compiling it, otherwise compiles
    /// it.
    pub(super) fn compiled(&self) -> &ComputePipeline {
        self.compiled.get_or_init(|| {
            let label = Some(self.source.name);
            let module = self.device.create_shader_module(ShaderModuleDescriptor {
                label,
                source: ShaderSource::Wgsl(self.code.as_str().into()),
            });
            self.device.create_compute_pipeline(&ComputePipelineDescriptor {
                label,
                layout: Some(&self.whole_layout),
                module: &module,
                entry_point: Some("main"),
                // Every kernel writes workgroup memory before it reads it.
                compilation_options: PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            })
        })
    }
}

/// Joins the whole text of a shader.
fn code(kernel: &Kernel, packed: bool, counts: bool) -> String {
    let Kernel { source, read, written, constants } = kernel;
    let enable = if [read, written].contains(&&Float::F16) { "enable f16;\n" } else { "" };
    let types = format!("alias Read = {};\nalias Written = {};\n", read.name(), written.name());
    let sums = match read {
        _ if *source != ATTENTION => "",
        Float::F16 => F16,
        Float::F32 => F32,
    };
    let count = if counts {
        "@group(1) @binding(0) var<storage, read_write> workgroups: array<atomic<u32>>;\n\
         fn count(lane: u32) { if lane == 0u { atomicAdd(&workgroups[params.stage], 1u); } }\n"
    } else {
        "fn count(lane: u32) {}\n"
    };
    let dot = if packed {
        "fn dot_four(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }\n"
    } else {
        "fn at(a: u32, i: u32) -> i32 { return extractBits(bitcast<i32>(a), i * 8u, 8u); }\n\
         fn dot_four(a: u32, b: u32) -> i32 {\n\
         return at(a, 0u) * at(b, 0u) + at(a, 1u) * at(b, 1u) + at(a, 2u) * at(b, 2u)\n\
         + at(a, 3u) * at(b, 3u); }\n"
    };
    let dots = "fn dot_sixteen(a: vec4<u32>, b: vec4<u32>) -> i32 {\n\
         return dot_four(a.x, b.x) + dot_four(a.y, b.y) + dot_four(a.z, b.z) + dot_four(a.w, b.w);\n\
         }\n";
    let requires = if packed && *source == QLINEAR {
        "requires packed_4x8_integer_dot_product;\n"
    } else {
        ""
    };
    let dots = if *source == QLINEAR { [dot, dots].concat() } else { String::new() };
    let parts = source.parts.concat();
    [enable, requires, &types, constants, COMMON, count, &dots, sums, &parts, source.code].concat()
}

fn layout(gpu: &Gpu, access: &str) -> BindGroupLayout {
    let entry = |(i, access): (usize, char)| {
        let ty = match access {
            'u' => BufferBindingType::Uniform,
            access => BufferBindingType::Storage { read_only: access == 'r' },
        };
        BindGroupLayoutEntry {
            binding: i as u32,
            visibility: ShaderStages::COMPUTE,
            ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        }
    };
    let entries: Vec<_> =
        access.chars().enumerate().filter(|(_, a)| *a != '-').map(entry).collect();
    gpu.device
        .create_bind_group_layout(&BindGroupLayoutDescriptor { label: None, entries: &entries })
}
