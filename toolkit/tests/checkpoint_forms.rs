//! The forms of a checkpoint's weights: those that are read, and those that others read.

use candle_core::{DType, Device, Tensor, safetensors};
use edge_runtime::{Classifier, ExitPolicy};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::compress::{layers, smooth, vocabulary};
use edge_toolkit::export::{Precision, export};
use edge_toolkit::train::average;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const TEXTS: [&str; 3] = ["a good film", "not bad at all", "dull"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fixtures").join(name)
}

fn weights(checkpoint: &Path) -> HashMap<String, Tensor> {
    safetensors::load(checkpoint.join("model.safetensors"), &Device::Cpu).unwrap()
}

/// A copy of a checkpoint with the tensors as `change` makes them.
fn copy(
    from: &Path,
    to: PathBuf,
    change: impl Fn(String, Tensor) -> Option<(String, Tensor)>,
) -> PathBuf {
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(|f| f.unwrap()) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let changed: HashMap<_, _> =
        weights(from).into_iter().filter_map(|(name, tensor)| change(name, tensor)).collect();
    safetensors::save(&changed, to.join("model.safetensors")).unwrap();
    to
}

/// The logits of every exit for every text, of the exported bundle in floats.
fn logits(checkpoint: &Path) -> Vec<Vec<Vec<f32>>> {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("model.edge");
    let opened = Checkpoint::open(checkpoint).unwrap();
    export(&opened, Precision::Fp32, &bundle, |_, _, _| {}).unwrap();
    let classifier = Classifier::open(bundle).unwrap();
    let answers = classifier.classify(&TEXTS, &ExitPolicy::Never).unwrap();
    answers.into_iter().map(|answer| answer.exits).collect()
}

#[test]
fn weights_of_64_bits_and_with_prefixes_are_read_as_without() {
    let place = tempfile::tempdir().unwrap();
    for name in ["bert-exits", "distilbert-plain"] {
        let from = fixture(name);
        let expected = logits(&from);
        let at = |form: &str| place.path().join(format!("{name}-{form}"));
        let wide = copy(&from, at("f64"), |name, tensor| {
            let wide = if tensor.dtype().is_float() { DType::F64 } else { tensor.dtype() };
            Some((name, tensor.to_dtype(wide).unwrap()))
        });
        assert_eq!(logits(&wide), expected, "{name} of 64 bits");
        for prefix in ["module.", "_orig_mod.", "model.", "module._orig_mod."] {
            let prefixed =
                copy(&from, at(prefix), |name, tensor| Some((format!("{prefix}{name}"), tensor)));
            assert_eq!(logits(&prefixed), expected, "{name} with {prefix}");
        }
        // Not all names have it: there is no telling where a tensor belongs.
        let some = copy(&from, at("some"), |name, tensor| {
            let norm = name.contains("embeddings.LayerNorm");
            Some((if norm { name } else { format!("module.{name}") }, tensor))
        });
        let error = export(
            &Checkpoint::open(&some).unwrap(),
            Precision::Fp32,
            &place.path().join("none.edge"),
            |_, _, _| {},
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("is missing; there is `module."), "{error}");
    }
}

#[test]
fn a_checkpoint_with_prefixes_is_rewritten_without_them() {
    let place = tempfile::tempdir().unwrap();
    let from = fixture("bert-exits");
    let prefixed = copy(&from, place.path().join("prefixed"), |name, tensor| {
        Some((format!("module.{name}"), tensor))
    });
    for (i, folder) in [&from, &prefixed].into_iter().enumerate() {
        let at = |name: &str| place.path().join(format!("{name}-{i}"));
        layers::keep_first(folder, 2, &at("pruned")).unwrap();
        average(&[folder.clone(), from.clone()], &at("mean")).unwrap();
        vocabulary::shrink(folder, &TEXTS, None, &at("small")).unwrap();
        smooth::smooth(folder, &TEXTS, 0.5, &at("smooth"), &AtomicBool::new(false), |_, _| {})
            .unwrap();
    }
    for name in ["pruned", "mean", "small", "smooth"] {
        let [plain, rewritten] = [0, 1].map(|i| place.path().join(format!("{name}-{i}")));
        assert_eq!(logits(&rewritten), logits(&plain), "{name}");
        let names = |folder| -> Vec<String> {
            let mut names: Vec<_> = weights(folder).into_keys().collect();
            names.sort();
            names
        };
        assert_eq!(names(&rewritten), names(&plain));
    }
}
