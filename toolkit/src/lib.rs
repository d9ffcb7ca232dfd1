//! Distils, compresses and exports BERT classifiers as small early-exit models.
//!
//! The way of the data: [`data`] and a [`checkpoint`] (Hugging Face layout) → [`train`] →
//! a checkpoint with exit heads → [`measure`] (figures, calibrated exits) → [`export`]
//! (int8, ONNX stage graphs, the bundle). [`network`] holds the layers that are trained; [`report`]
//! compares models; [`all_steps`] goes the whole way.
//!
//! [`edge_export`] reads checkpoints and tables, quantizes, exports and writes files; this crate
//! depends on it.

#![deny(missing_docs)]
#![deny(rustdoc::broken_intra_doc_links)]

pub mod all_steps;
pub mod bench;
mod chart;
pub mod compress;
pub mod data;
mod device;
mod error;
pub mod hub;
pub mod measure;
pub mod network;
pub mod report;
pub mod rng;
mod settings;
pub mod tasks;
pub mod train;

pub use device::device;
pub use edge_export::{checkpoint, export, files, quantize};
pub use error::Error;
