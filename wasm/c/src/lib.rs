//! The C interface of [`edge_runtime`]: `libedge_distil`, shared and static, and `edge_distil.h`,
//! which cbindgen makes of this source (`tests/header.rs`).
//!
//! What holds for every function:
//!
//! * A handle is opaque and is freed by [`edge_close`]. All else is memory of the caller: texts, ids,
//!   predictions, probabilities and errors. Nothing else is to be freed, and handles share nothing. (The
//!   tokenizer keeps 88 bytes, the seeds of its hash tables, from the first handle to the end of the
//!   process.)
//! * What can fail gives an [`EdgeStatus`] and, where the caller passes an [`EdgeError`], a message.
//! * No panic crosses the border: it becomes [`EdgeStatus::Panic`] in a library that is built to unwind,
//!   as the ordinary profiles of cargo are, and ends the process in one built with the profile `edge`,
//!   as running out of memory does in every build.

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
