//! The C interface of [`edge_runtime`]: `libedge_distil`, shared and static, and `edge_distil.h`,
//! which cbindgen generates from this source (`tests/header.rs`).
//!
//! Rules for all functions:
//!
//! * A handle is opaque and is freed by [`edge_close`]. Texts, ids, predictions, probabilities and
//!   errors are in memory of the caller. The caller frees handles only. Handles share no memory.
//!   (The tokenizer keeps 88 bytes, the seeds of its hash tables, from the first handle to the end
//!   of the process.)
//! * A function that can fail returns an [`EdgeStatus`]. If the caller passes an [`EdgeError`], the
//!   function writes a message to it.
//! * A panic becomes [`EdgeStatus::Panic`] in a library that is built to unwind, as with the
//!   ordinary profiles of cargo. In a library of the profile `edge` a panic ends the process.
//!   Running out of memory ends the process in every build.

#![deny(missing_docs)]

mod classify;
mod error;
mod open;
mod policy;

pub use classify::{
    EdgePrediction, edge_classify, edge_classify_ids, edge_classify_many, edge_tokenize,
};
pub use error::{EDGE_MESSAGE_BYTES, EdgeError, EdgeStatus};
pub use open::{
    EdgeClassifier, EdgeRead, edge_close, edge_exits, edge_label, edge_labels, edge_max_tokens,
    edge_open, edge_open_mapped, edge_open_memory, edge_open_reader, edge_version,
};
pub use policy::{EdgePolicy, EdgePolicyKind};
