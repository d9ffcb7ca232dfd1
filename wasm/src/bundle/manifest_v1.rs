//! Manifest of version 1: one label for each text, a network of one piece.

use super::manifest::{Encoder, Entry, InputLimits, Manifest, Provenance, Stage, WeightFormat};
use crate::ExitPolicy;
use crate::task::Task;
use serde::Deserialize;

/// The version that is read here.
pub(super) const VERSION: u32 = 1;

#[derive(Deserialize)]
struct ManifestV1 {
    format: String,
    version: u32,
    digest: String,
    labels: Vec<String>,
    architecture: Architecture,
    stages: Vec<Stage>,
    policy: Option<ExitPolicy>,
    #[serde(default)]
    provenance: Provenance,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Architecture {
    model_type: String,
    layers: usize,
    hidden: usize,
    heads: usize,
    intermediate: usize,
    vocabulary: usize,
    max_tokens: usize,
    #[serde(flatten)]
    weights: WeightFormat,
}

/// Reads a manifest of version 1 as one of today. Its version and its digest stay.
pub(super) fn read(json: &[u8]) -> serde_json::Result<Manifest> {
    let v1: ManifestV1 = serde_json::from_slice(json)?;
    let a = v1.architecture;
    Ok(Manifest {
        format: v1.format,
        version: v1.version,
        digest: v1.digest,
        task: Task::SingleLabel { labels: v1.labels },
        input: InputLimits { texts: 1, max_tokens: a.max_tokens },
        encoder: Encoder {
            family: a.model_type,
            layers: a.layers,
            hidden: a.hidden,
            heads: a.heads,
            intermediate: a.intermediate,
            vocabulary: a.vocabulary,
        },
        weights: a.weights,
        stages: v1.stages,
        policy: v1.policy,
        provenance: v1.provenance,
        entries: v1.entries,
    })
}
