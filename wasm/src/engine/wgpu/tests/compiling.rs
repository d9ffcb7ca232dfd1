//! Tests of compiling: other threads compile kernels, and a failure is an error of the device.

use super::gpu;
use crate::engine::wgpu::pipelines::{ATTENTION, Kernel, Pipelines, QUANTIZE};
use crate::{Error, GpuFailure};
use std::sync::Arc;

/// Makes an attention kernel with these lines of WGSL.
fn attention(constants: &str) -> Kernel {
    (ATTENTION, constants).into()
}

fn with_queries(queries: u32) -> Kernel {
    let of_head = format!("const D = 4u;\nconst QUERIES = {queries}u;\n");
    attention(&(of_head + "const KEYS = 4u;\nconst FIRST = false;\n"))
}

#[test]
fn each_kernel_is_compiled_once_whoever_asks_first() {
    let Some(gpu) = gpu(false) else { return };
    let pipelines = Pipelines::default();
    let kernels: [Kernel; 3] = [(QUANTIZE, "").into(), with_queries(4), with_queries(8)];
    let first = kernels.clone().map(|kernel| pipelines.get(&gpu, kernel));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pipelines.wait());
        }
    });
    let again = kernels.map(|kernel| pipelines.get(&gpu, kernel));
    assert!(first.iter().zip(&again).all(|(first, again)| Arc::ptr_eq(first, again)));
    assert_eq!(gpu.counts().pipelines, 3);
    gpu.check().unwrap();
}

#[test]
fn what_cannot_be_compiled_is_an_error() {
    let Some(gpu) = gpu(false) else { return };
    // Invalid WGSL, and WGSL without a meaning.
    for (kernel, words) in
        [(attention("const D = ;"), "expected"), (with_queries(0), "Division by zero")]
    {
        let pipelines = Pipelines::default();
        pipelines.get(&gpu, kernel);
        pipelines.get(&gpu, (QUANTIZE, "").into());
        pipelines.wait();
        let error = gpu.check().unwrap_err();
        assert!(matches!(&error, Error::Gpu { failure: GpuFailure::Other, .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    gpu.check().unwrap();
}

#[test]
fn a_device_that_is_lost_while_kernels_are_compiled_is_an_error() {
    let Some(gpu) = gpu(false) else { return };
    let pipelines = Pipelines::default();
    for queries in [1, 2, 4, 8, 16, 32] {
        pipelines.get(&gpu, with_queries(queries));
        if queries == 8 {
            gpu.device.destroy();
        }
    }
    pipelines.wait();
    let error = gpu.check().unwrap_err();
    assert!(matches!(&error, Error::Gpu { failure: GpuFailure::Lost, .. }), "{error}");
}

#[test]
fn pipelines_may_be_dropped_while_they_are_compiled() {
    let Some(gpu) = gpu(false) else { return };
    let pipelines = Pipelines::default();
    pipelines.get(&gpu, with_queries(16));
    drop(pipelines);
    gpu.check().unwrap();
}
