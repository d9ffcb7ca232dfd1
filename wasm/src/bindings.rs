//! The runtime for other languages.

mod convert;
// The GPU engine is a module of its own, so that who has no GPU does not load it.
#[cfg(feature = "wgpu")]
mod gpu;
#[cfg(not(feature = "wgpu"))]
mod js;
