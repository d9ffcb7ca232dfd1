//! Shared helpers of the cross-crate tests.

pub mod counting;

use anyhow::{Context, Result};
use bytes::Bytes;
use edge_runtime::Limits;
use edge_runtime::Task;
use edge_runtime::bundle::{self, BundlePart, BundleReader, Manifest, tar};
use edge_runtime::kernels::isa::Isa;
use edge_runtime::onnx::ModelProto;
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::export::{export, export_packed};
use edge_toolkit::quantize::{EmbeddingBits, Precision, WeightBits};
use edge_toolkit::quantize::{Int8, Sites};
use prost::Message;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The checkpoints of `models/fixtures`.
pub const FIXTURES: [&str; 4] =
    ["bert-exits", "bert-plain", "distilbert-exits", "distilbert-plain"];

/// Linear layers of 4 bits.
pub const FOUR_BITS: Int8 =
    Int8 { four_bits: Sites::ALL, ..Int8::new(WeightBits::Seven, EmbeddingBits::Eight) };

/// All number formats of weights.
pub const PRECISIONS: [Precision; 5] = [
    Precision::Fp32,
    Precision::INT8,
    Precision::Int8(Int8::new(WeightBits::Eight, EmbeddingBits::Eight)),
    Precision::Int8(Int8::new(WeightBits::Seven, EmbeddingBits::Four)),
    Precision::Int8(FOUR_BITS),
];

/// Makes a path from the root of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project").join(path)
}

/// The folder of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    project("models/fixtures").join(name)
}

/// The bytes of a bundle exported from the checkpoint in `folder`.
pub fn bundle_of(folder: &Path, precision: Precision) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let target = scratch.path().join("model.edge");
    export(&Checkpoint::open(folder)?, precision, &target, |_, _, _| {})?;
    Ok(std::fs::read(target)?)
}

/// The bytes of a bundle exported from a fixture.
pub fn bundle(name: &str, precision: Precision) -> Result<Vec<u8>> {
    bundle_of(&fixture(name), precision)
}

/// The bytes of a bundle exported from a fixture in int8, its weights packed.
pub fn packed_bundle(name: &str, int8: Int8, packed: Isa) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("model.edge");
    export_packed(&Checkpoint::open(fixture(name))?, int8, packed, &path, |_, _, _| {})?;
    Ok(std::fs::read(path)?)
}

/// Parts of a bundle, which can be changed and packed again with valid digests, as an attacker
/// would.
#[derive(Clone)]
pub struct Parts {
    /// The manifest; [`pack`](Self::pack) makes its entries again.
    pub manifest: Manifest,
    /// The bytes of `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// The graphs.
    pub stages: Vec<Vec<u8>>,
}

impl Parts {
    /// Reads the parts of a valid bundle.
    pub fn of(bundle: &[u8]) -> Result<Self> {
        let (mut manifest, mut tokenizer, mut stages) = (None, Vec::new(), Vec::new());
        let mut reader = BundleReader::new(Limits::default());
        reader.push(Bytes::copy_from_slice(bundle), |part| {
            match part {
                BundlePart::Manifest(m) => manifest = Some(*m),
                BundlePart::Tokenizer(json) => tokenizer = json.to_vec(),
                BundlePart::Stage(_, graph) => stages.push(graph.to_vec()),
            }
            Ok(())
        })?;
        reader.finish()?;
        Ok(Parts { manifest: manifest.context("a manifest")?, tokenizer, stages })
    }

    /// Changes the graph of a stage.
    pub fn edit(&mut self, stage: usize, change: impl FnOnce(&mut ModelProto)) {
        let mut model = ModelProto::decode(self.stages[stage].as_slice()).expect("a good graph");
        change(&mut model);
        self.stages[stage] = model.encode_to_vec();
    }

    /// Packs the parts as a bundle.
    pub fn pack(self) -> Vec<u8> {
        let mut out = Vec::new();
        bundle::write(self.manifest, &self.tokenizer, &self.stages, &mut out)
            .expect("memory takes everything");
        out
    }
}

/// Makes a bundle of any entries in any order, with valid headers and a valid end.
pub fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in entries {
        out.extend(tar::header(name, bytes.len() as u64).expect("a name and a size that fit"));
        out.extend_from_slice(bytes);
        out.resize(out.len() + tar::padding(bytes.len() as u64), 0);
    }
    out.resize(out.len() + 2 * tar::BLOCK, 0);
    out
}

/// Answers of PyTorch for a fixture.
#[derive(Deserialize)]
pub struct Golden {
    /// The texts.
    pub texts: Vec<String>,
    /// The token ids of the texts.
    pub ids: Vec<Vec<u32>>,
    /// The logits, as `[exit][text][class]`.
    pub logits: Vec<Vec<Vec<f32>>>,
}

impl Golden {
    /// Reads the goldens of a fixture.
    pub fn of(fixture: &str) -> Result<Self> {
        let path = project("tests/goldens").join(format!("{fixture}.json"));
        let file = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_slice(&file)?)
    }

    /// The texts.
    pub fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }
}

/// The largest difference of two rows, which must have equal lengths.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Random numbers that are the same on every run (xorshift64*).
pub struct Random(u64);

impl Random {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// The labels of a manifest, to be changed.
pub fn labels(manifest: &mut Manifest) -> &mut Vec<String> {
    match &mut manifest.task {
        Task::SingleLabel { labels } => labels,
        other => unreachable!("{other:?} has no labels"),
    }
}
