//! Making a trained checkpoint smaller, or better at the same size.

pub mod average;
pub mod vocabulary;
