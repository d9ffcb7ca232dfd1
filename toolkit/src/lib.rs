//! Distils, compresses and exports BERT classifiers as small early-exit models.
//!
//! The way of the data: [`checkpoint`] (Hugging Face layout) → [`model`] (the same weights for
//! every architecture) → [`export`] (int8, ONNX stage graphs, the bundle).

#![deny(missing_docs)]
#![deny(rustdoc::broken_intra_doc_links)]

pub mod checkpoint;
mod error;
pub mod export;
pub mod model;

pub use error::Error;
