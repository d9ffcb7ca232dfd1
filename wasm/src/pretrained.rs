//! Files of a checkpoint in Hugging Face layout, read as transformers reads them.
//!
//! `edge-export` reads its checkpoints with them, and [`Classifier::open_onnx`](crate::Classifier) the
//! files beside an ONNX file. A setting that transformers honours is honoured here, or refused by name.

pub mod config;
pub mod tokenizer;
