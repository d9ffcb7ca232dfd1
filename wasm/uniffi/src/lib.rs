//! Bindings of [`edge_runtime`] for Kotlin, Swift and Python. UniFFI generates the code for each
//! language from this definition. `docs/embedding.md` shows its use.

#![deny(missing_docs)]

use edge_runtime::{Error, ExitPolicy, Thresholds};
use std::sync::Arc;

uniffi::setup_scaffolding!("edge_distil");

/// Text classifier. Any number of threads may use it at the same time.
#[derive(Debug, uniffi::Object)]
pub struct Classifier {
    inner: edge_runtime::Classifier,
}

/// Answer of a classifier for one text.
#[derive(Debug, uniffi::Record)]
pub struct Prediction {
    /// The label with the largest probability.
    pub label: String,
    /// The probability of the label.
    pub probability: f32,
    /// One probability for each label, in the labels' order.
    pub probabilities: Vec<f32>,
    /// The stage after which the text left: 0 for the embeddings, k for encoder layer k.
    pub stage: u32,
    /// Tokens of the text, special tokens included.
    pub tokens: u32,
    /// True if the text was cut to the model's length.
    pub truncated: bool,
}

/// Rule by which a text leaves early, with one threshold for all exits, or one for each exit.
#[derive(Debug, uniffi::Enum)]
pub enum Policy {
    /// Full depth for every text.
    Never,
    /// Leave when the largest probability is at least the threshold, 0 to 1.
    Confidence {
        /// The smallest probability that leaves.
        thresholds: Vec<f32>,
    },
    /// Leave when the normalized entropy is at most the threshold, 0 to 1.
    Entropy {
        /// The largest normalized entropy that leaves.
        thresholds: Vec<f32>,
    },
    /// Leave when the two largest probabilities are at least the threshold apart, 0 to 1.
    Margin {
        /// The smallest margin that leaves.
        thresholds: Vec<f32>,
    },
    /// Leave when a number of exits in a row agree.
    Patience {
        /// The number of exits, 1 or more.
        exits: u32,
    },
}

/// Error, one variant for each remedy. The message names the fault, its place and the accepted
/// form.
#[derive(Debug, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
pub enum EdgeError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(String),
    /// The bundle is damaged, cut short, of another version, or not supported by this library.
    #[error("{0}")]
    Bundle(String),
    /// The exit policy does not fit the model.
    #[error("{0}")]
    Policy(String),
    /// The text cannot be classified.
    #[error("{0}")]
    Input(String),
    /// The computation failed.
    #[error("{0}")]
    Engine(String),
}

/// Converts an error of opening a bundle. The tokenizer is a part of the bundle.
fn of_opening(error: Error) -> EdgeError {
    match error {
        Error::Tokenizer(_) => EdgeError::Bundle(error.to_string()),
        _ => error.into(),
    }
}

impl From<Error> for EdgeError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Io { .. } | Error::Stream(_) => EdgeError::Io(message),
            Error::Bundle { .. } | Error::Graph { .. } => EdgeError::Bundle(message),
            Error::Policy(_) => EdgeError::Policy(message),
            Error::Tokenizer(_) => EdgeError::Input(message),
            _ => EdgeError::Engine(message),
        }
    }
}

impl From<Policy> for ExitPolicy {
    fn from(policy: Policy) -> Self {
        let threshold = |thresholds: Vec<f32>| match thresholds.as_slice() {
            [one] => Thresholds::Common(*one),
            _ => Thresholds::PerExit(thresholds),
        };
        match policy {
            Policy::Never => ExitPolicy::Never,
            Policy::Confidence { thresholds } => {
                ExitPolicy::Confidence { threshold: threshold(thresholds) }
            }
            Policy::Entropy { thresholds } => {
                ExitPolicy::Entropy { threshold: threshold(thresholds) }
            }
            Policy::Margin { thresholds } => {
                ExitPolicy::Margin { threshold: threshold(thresholds) }
            }
            Policy::Patience { exits } => ExitPolicy::patience(exits as usize),
        }
    }
}

#[uniffi::export]
impl Classifier {
    /// Opens a model.edge and reads it into memory.
    #[uniffi::constructor]
    pub fn open(path: &str) -> Result<Arc<Self>, EdgeError> {
        let inner = edge_runtime::Classifier::open(path).map_err(of_opening)?;
        Ok(Arc::new(Classifier { inner }))
    }

    /// Opens a bundle in memory and copies it.
    #[uniffi::constructor]
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Arc<Self>, EdgeError> {
        let inner = edge_runtime::Classifier::from_bytes(bytes).map_err(of_opening)?;
        Ok(Arc::new(Classifier { inner }))
    }

    /// The labels, in the order of the probabilities.
    pub fn labels(&self) -> Vec<String> {
        self.inner.labels().to_vec()
    }

    /// The number of exits, and of the thresholds of a policy with one threshold for each exit.
    pub fn exits(&self) -> u32 {
        self.inner.manifest().exits() as u32
    }

    /// The model's length: the largest number of tokens of a text, special tokens included. Longer
    /// texts are truncated.
    pub fn max_tokens(&self) -> u32 {
        self.inner.manifest().input.max_tokens as u32
    }

    /// Classifies one text. The default policy is the policy of the bundle.
    #[uniffi::method(default(policy = None))]
    pub fn classify(&self, text: &str, policy: Option<Policy>) -> Result<Prediction, EdgeError> {
        let policy = policy.map_or_else(|| self.inner.policy(), ExitPolicy::from);
        let mut predictions = self.inner.classify(&[text], &policy)?;
        Ok(predictions.remove(0).into())
    }

    /// Classifies texts together. The default policy is the policy of the bundle.
    #[uniffi::method(default(policy = None))]
    pub fn classify_many(
        &self,
        texts: Vec<String>,
        policy: Option<Policy>,
    ) -> Result<Vec<Prediction>, EdgeError> {
        let policy = policy.map_or_else(|| self.inner.policy(), ExitPolicy::from);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let predictions = self.inner.classify(&texts, &policy)?;
        Ok(predictions.into_iter().map(Prediction::from).collect())
    }
}

impl From<edge_runtime::Prediction> for Prediction {
    fn from(p: edge_runtime::Prediction) -> Self {
        Prediction {
            label: p.label,
            probability: p.probabilities.iter().copied().fold(0.0, f32::max),
            probabilities: p.probabilities,
            stage: p.stage as u32,
            tokens: p.tokens as u32,
            truncated: p.truncated,
        }
    }
}
