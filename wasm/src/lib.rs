//! Runs compressed BERT classifiers with **dynamic early exit**, natively and in the browser: easy
//! sentences leave after a layer or two.
//!
//! A model is a bundle, `model.edge`, that `edge-export` writes. [`Classifier::open`] reads and
//! verifies a bundle, [`Classifier::classify`] classifies texts. [`Loader`] takes a bundle in
//! pieces, and answers from the first exits while later layers are still arriving.
//!
//! The data flow: [`bundle`] (verified entries) → [`tokenizer`] (text to ids) → [`graph`]
//! (a stage as a list of calls) → [`engine`] (runs it) → [`exit`] (leave or stay).

#![deny(missing_docs)]
#![deny(rustdoc::broken_intra_doc_links)]

#[cfg(target_arch = "wasm32")]
mod bindings;
pub mod bundle;
mod classifier;
#[cfg(not(target_arch = "wasm32"))]
pub mod encoding;
pub mod engine;
mod error;
pub mod exit;
pub mod graph;
mod guard;
pub mod input;
pub mod kernels;
pub mod lfs;
pub mod onnx;
#[cfg(feature = "pretrained")]
pub mod pretrained;
pub mod task;
pub mod tokenizer;

pub use bundle::Limits;
pub use classifier::{Answer, Classifier, Loader, Prediction, Queue, Scratch, Walk};
pub use error::{Error, GpuFailure};
pub use exit::{ExitPolicy, Thresholds};
pub use input::{Encoded, Input};
pub use task::Task;

/// Test that the README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
