//! Making a trained checkpoint smaller.

pub mod layers;
pub mod vocabulary;
