//! Making a trained checkpoint smaller.

pub mod vocabulary;
