//! Export of a checkpoint to `model.edge`, or to one ONNX file for [ONNX Runtime](onnx) or
//! [TensorRT](tensorrt).

mod aligned;
mod functions;
mod graph;
pub mod onnx;
pub mod ranges;
mod stage;
pub mod tensorrt;
pub mod weights;
mod whole;

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::files::Draft;
use crate::quantize::{EmbeddingBits, Int8, Precision, Site};
use crate::text_file::read_file;
use edge_runtime::bundle::{
    self, Encoder, InputLimits, Manifest, Provenance, Stage, WeightFormat, sha256_hex,
};
use edge_runtime::kernels::isa::Isa;
use edge_runtime::{Classifier, ExitPolicy};
use std::io::Write;
use std::path::Path;

/// Form of the graphs in a bundle.
#[derive(Clone, Copy, Debug)]
struct Form {
    precision: Precision,
    /// Target for which int8 weights are packed, if any.
    packed: Option<Isa>,
}

/// Result of an export.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Manifest of the bundle.
    pub manifest: Manifest,
    /// Size of the bundle in bytes.
    pub bytes: u64,
}

/// Exports a checkpoint to a bundle. The runtime opens the bundle and classifies a text before the
/// file replaces its target, see [`Draft`]. A failure keeps an older file.
///
/// `progress` receives each step's name, its number and the number of steps.
///
/// # Errors
/// [`Error::Checkpoint`] or [`Error::Tensor`] if the checkpoint is unusable, [`Error::Io`] if the
/// target cannot be written. [`Error::Unfit`] if the target is a file of the checkpoint,
/// [`Error::Unusable`] if the bundle does not run.
pub fn export(
    checkpoint: &Checkpoint,
    precision: Precision,
    target: &Path,
    progress: impl FnMut(&str, usize, usize),
) -> Result<Summary, Error> {
    write(checkpoint, Form { precision, packed: None }, target, progress)
}

/// Exports in int8 for one instruction set, see [`export`]. On a processor that has it, the runtime
/// computes in place with the weights of a mapped or linked bundle. On other processors the bundle
/// runs too, and its weights are copied. The layout of weights of 4 bits does not change.
///
/// # Errors
/// Errors of [`export`].
pub fn export_packed(
    checkpoint: &Checkpoint,
    int8: Int8,
    packed: Isa,
    target: &Path,
    progress: impl FnMut(&str, usize, usize),
) -> Result<Summary, Error> {
    let form = Form { precision: Precision::Int8(int8), packed: Some(packed) };
    write(checkpoint, form, target, progress)
}

fn write(
    checkpoint: &Checkpoint,
    form: Form,
    target: &Path,
    mut progress: impl FnMut(&str, usize, usize),
) -> Result<Summary, Error> {
    let Form { precision, .. } = form;
    protect(checkpoint, target)?;
    let config = &checkpoint.config;
    let steps = config.encoder.layers + 4;
    progress("reading the tokenizer", 0, steps);
    let tokenizer = checkpoint.tokenizer()?;
    let producer = concat!("edge-export ", env!("CARGO_PKG_VERSION"));

    let four_bits = match precision {
        Precision::Fp32 => Vec::new(),
        Precision::Int8(int8) => fits(checkpoint, int8)?,
    };
    let mut stages = Vec::new();
    let mut graphs = Vec::new();
    for index in 0..=config.encoder.layers {
        let part = match index {
            0 => "exporting the embeddings".into(),
            layer => format!("exporting layer {layer}"),
        };
        progress(&part, index + 1, steps);
        let (graph, exit) = stage::stage(checkpoint, index, form)?;
        stages.push(Stage { layers: index.min(1), exit: exit.is_some() });
        graphs.push(graph);
    }

    let weights = checkpoint.weights_path();
    let manifest = Manifest {
        format: bundle::FORMAT.into(),
        version: bundle::VERSION,
        digest: String::new(),
        task: config.task.clone(),
        input: InputLimits { texts: 1, max_tokens: config.encoder.max_tokens },
        encoder: Encoder {
            family: config.family.model_type.into(),
            layers: config.encoder.layers,
            hidden: config.encoder.hidden,
            heads: config.encoder.heads,
            intermediate: config.encoder.intermediate,
            vocabulary: config.encoder.vocabulary,
        },
        weights: weights_of(precision, four_bits),
        stages,
        policy: checkpoint.exits.as_ref().and_then(|e| e.policy.clone()),
        provenance: Provenance {
            producer: producer.into(),
            checkpoint: checkpoint.name(),
            weights_sha256: sha256_hex(&read_file(&weights)?),
        },
        entries: Vec::new(),
    };

    progress("writing and checking the bundle", steps - 2, steps);
    let file = Draft::write(target, |file| {
        let mut out = std::io::BufWriter::new(file);
        bundle::write(manifest, &tokenizer, &graphs, &mut out)?;
        out.flush()
    })?;
    let classifier = Classifier::open(file.path())?;
    classifier.classify(&["a first answer"], &ExitPolicy::Never)?;
    let bytes = file.commit()?;
    progress("done", steps, steps);
    Ok(Summary { manifest: classifier.manifest().clone(), bytes })
}

/// Number format of the weights, for the manifest.
fn weights_of(precision: Precision, four_bits: Vec<Site>) -> WeightFormat {
    let Precision::Int8(int8) = precision else {
        return WeightFormat { precision: "fp32".into(), ..WeightFormat::default() };
    };
    let narrow = (int8.embeddings == EmbeddingBits::Four).then(|| int8.embeddings.bits());
    WeightFormat {
        precision: "int8".into(),
        weight_bits: Some(int8.weights.bits()),
        embedding_bits: narrow,
        four_bits: four_bits.into_iter().map(Site::name).collect(),
    }
}

/// Rejects a target that is a file of the checkpoint itself. Exported models may be in its folder.
fn protect(checkpoint: &Checkpoint, target: &Path) -> Result<(), Error> {
    let folder = |path: &Path| path.parent().and_then(|folder| folder.canonicalize().ok());
    let Ok(file) = target.canonicalize() else { return Ok(()) };
    let exported = file.extension().is_some_and(|e| e == "edge" || e == "onnx");
    if file.is_file() && !exported && folder(&file) == folder(&checkpoint.config_path()) {
        return Err(Error::Unfit(format!(
            "{}: belongs to the checkpoint that is exported; write to another file",
            target.display()
        )));
    }
    Ok(())
}

/// Linear layers that are exported with 4 bits. Values of 4 bits are packed by halves of a row.
fn fits(checkpoint: &Checkpoint, int8: Int8) -> Result<Vec<Site>, Error> {
    let config = &checkpoint.config;
    let width = config.encoder.hidden;
    if int8.embeddings == EmbeddingBits::Four && width % 2 == 1 {
        let problem = format!("word embeddings of 4 bits need an even width, not {width}");
        return Err(Error::checkpoint(checkpoint.weights_path(), problem));
    }
    let exits = checkpoint.exits.as_ref().map_or(1, |exits| exits.layers.len());
    let chosen = int8.four_bits.of_network(&config.encoder, exits);
    chosen.map_err(|problem| Error::checkpoint(checkpoint.config_path(), problem))
}
