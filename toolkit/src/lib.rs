//! Distils, compresses and exports BERT classifiers as small early-exit models.
//!
//! The way of the data: [`data`] and a [`checkpoint`] (Hugging Face layout) → [`train`] →
//! a checkpoint with exit heads → [`report`] (figures, calibrated exits) → [`export`] (int8, ONNX
//! stage graphs, the bundle). [`model`] holds the networks; [`pipeline`] goes the whole way.

#![deny(missing_docs)]
#![deny(rustdoc::broken_intra_doc_links)]

pub mod bench;
pub mod checkpoint;
pub mod compress;
pub mod data;
mod device;
mod error;
pub mod export;
pub mod files;
pub mod model;
pub mod pipeline;
pub mod report;
pub mod rng;
pub mod say;
mod settings;
mod text_file;
pub mod train;

pub use device::device;
pub use error::Error;
