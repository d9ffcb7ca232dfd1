//! Reads checkpoints in Hugging Face layout and exports them for the runtime, ONNX Runtime and
//! TensorRT.
//!
//! Data flow: a [`checkpoint`] → [`quantize`] (int8, or 4 bits) → [`mod@export`] (stage graphs in a
//! bundle, or one ONNX file), written atomically by [`files`]. [`data`] reads the texts that fix
//! the ranges for TensorRT. Training is above this crate, in `edge-toolkit`.

#![deny(missing_docs)]
#![deny(rustdoc::broken_intra_doc_links)]

pub mod checkpoint;
pub mod data;
pub mod encoder;
mod error;
pub mod export;
pub mod families;
pub mod files;
pub mod quantize;
pub mod say;
#[cfg(test)]
mod testing;
pub mod text_file;

pub use error::Error;
