//! Compute pipelines, each compiled once.

use super::device::{Gpu, lock};
use ::wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType,
    BufferBindingType, ComputePipeline, ComputePipelineDescriptor, PipelineCompilationOptions,
    PipelineLayoutDescriptor, ShaderModuleDescriptor, ShaderSource, ShaderStages,
};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

const COMMON: &str = include_str!("shaders/common.wgsl");
const SENTENCES: &str = include_str!("shaders/sentences.wgsl");
const NORM: &str = include_str!("shaders/norm.wgsl");

/// A kernel: its file, what the file is put behind, and how it binds each buffer, in order: `u` a
/// uniform, `r` one that is read, `w` one that is written, `-` none.
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

/// A compiled kernel.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub source: Source,
    pub pipeline: ComputePipeline,
    pub layout: BindGroupLayout,
}

/// All compiled kernels, by source and constants.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    compiled: Mutex<HashMap<(Source, String), Arc<Pipeline>>>,
    counting: Mutex<Option<BindGroupLayout>>,
}

impl Source {
    /// The name of its file.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The bindings that it has.
    pub(super) fn bindings(&self) -> impl Iterator<Item = u32> {
        self.access.chars().enumerate().filter(|(_, a)| *a != '-').map(|(i, _)| i as u32)
    }
}

impl Pipelines {
    /// The kernel, with these lines of WGSL for the constants that it leaves open.
    pub(super) fn get(&self, gpu: &Gpu, source: Source, constants: &str) -> Arc<Pipeline> {
        let key = (source, constants.to_owned());
        lock(&self.compiled)
            .entry(key)
            .or_insert_with(|| Arc::new(self.compile(gpu, source, constants)))
            .clone()
    }

    /// The layout of the counters of workgroups.
    pub(super) fn counting(&self, gpu: &Gpu) -> BindGroupLayout {
        lock(&self.counting).get_or_insert_with(|| layout(gpu, "w")).clone()
    }

    fn compile(&self, gpu: &Gpu, source: Source, constants: &str) -> Pipeline {
        gpu.pipelines.fetch_add(1, Ordering::Relaxed);
        let counts = gpu.options.count_workgroups && source != EXIT;
        let code = code(source, constants, gpu.packed, counts);
        let module = gpu.device.create_shader_module(ShaderModuleDescriptor {
            label: Some(source.name),
            source: ShaderSource::Wgsl(code.into()),
        });
        let own = layout(gpu, source.access);
        let counting = counts.then(|| self.counting(gpu));
        let mut layouts = vec![Some(&own)];
        layouts.extend(counting.as_ref().map(Some));
        let layout = gpu.device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label: Some(source.name),
            bind_group_layouts: &layouts,
            ..Default::default()
        });
        let pipeline = gpu.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(source.name),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            // Every kernel writes what it reads.
            compilation_options: PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { source, pipeline, layout: own }
    }
}

/// The whole text of a shader.
fn code(source: Source, constants: &str, packed: bool, counts: bool) -> String {
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
    let requires =
        if packed && source == QLINEAR { "requires packed_4x8_integer_dot_product;\n" } else { "" };
    let dots = if source == QLINEAR { [dot, dots].concat() } else { String::new() };
    [requires, constants, COMMON, count, &dots, &source.parts.concat(), source.code].concat()
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
