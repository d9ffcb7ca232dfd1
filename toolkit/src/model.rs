//! BERT and DistilBERT with exit heads.

pub mod weights;
