//! Bindings of the runtime for JavaScript.

mod convert;
// The GPU engine is a separate module, which machines without a GPU do not load.
#[cfg(feature = "wgpu")]
mod gpu;
#[cfg(not(feature = "wgpu"))]
mod js;
