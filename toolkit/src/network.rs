//! BERT and DistilBERT with exit heads.
//!
//! A [`Network`] is trained: parameters, a forward pass over sentences that lie side by side without
//! padding, and backward passes. Training and export read the tensors of a checkpoint by the same
//! reader, the methods of [`edge_export::checkpoint::Checkpoint`].

mod attach;
mod batch;
mod block;
mod composed;
mod early_exit;
mod kernels;
mod layers;
mod linear;
mod load;
mod mode;
mod observe;
pub(crate) mod own_head;
mod parameter;
mod quantized;
mod save;
mod start;
mod trace;

pub use batch::Batch;
pub use early_exit::{Embeddings, ExitHead, Network, Output};
pub use kernels::adamw;
pub use layers::{Block, Linear, Norm};
pub use load::load;
pub use mode::Mode;
pub use parameter::{Gradient, Parameter, Values};
pub use save::save;
pub use start::{Heads, Start, start};

pub(crate) use composed::{log_softmax, softmax};
pub(crate) use save::{read_tensors, write_tensors};
