//! Forms of a checkpoint's weights: the forms that the toolkit reads, and the forms that other
//! programs read.

use candle_core::{DType, Device, Tensor, safetensors};
use edge_runtime::{Classifier, ExitPolicy};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::compress::{depth, smooth, vocabulary};
use edge_toolkit::export::export;
use edge_toolkit::quantize::Precision;
use edge_toolkit::train::average;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

const TEXTS: [&str; 3] = ["a good film", "not bad at all", "dull"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fixtures").join(name)
}

fn weights(checkpoint: &Path) -> HashMap<String, Tensor> {
    safetensors::load(checkpoint.join("model.safetensors"), &Device::Cpu).unwrap()
}

fn json_of(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Copies a checkpoint, with its tensors changed by `change`.
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

/// Logits of every exit for every text, from the bundle exported in floats.
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
        // A prefix on only some names leaves open where a tensor belongs.
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
        assert!(error.contains("is missing; `module."), "{error}");
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
        depth::keep_first(folder, 2, at("pruned")).unwrap();
        average(&[folder.clone(), from.clone()], at("mean")).unwrap();
        vocabulary::shrink(folder, &TEXTS, None, at("small")).unwrap();
        let smoothed = smooth::smooth(folder, &TEXTS, 0.5, &AtomicBool::new(false), |_, _| {});
        smoothed.unwrap().write(at("smooth")).unwrap();
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

/// Trains a BERT with exits after two of its layers.
fn trained(place: &Path, pooling: &str) -> PathBuf {
    let rows: String = (0..40)
        .map(|i| format!("film {i} is {}\t{}\n", ["good", "bad"][i % 2], ["up", "down"][i % 2]))
        .collect();
    let at = |name: &str| place.join(name);
    std::fs::write(at("train.tsv"), format!("sentence\tlabel\n{rows}")).unwrap();
    let recipe = format!(
        "[data]\ntrain = 'train.tsv'\n[model]\nstart = '{}'\nexits = [2, 4]\npooling = '{pooling}'\n\
         [train]\nepochs = 1\nbatch = 16\n",
        fixture("bert-exits").display()
    );
    std::fs::write(at("recipe.toml"), recipe).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_edge-distill"))
        .args(["finetune", "--recipe"])
        .arg(at("recipe.toml"))
        .arg("-o")
        .arg(at(pooling))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    at(pooling)
}

/// Asserts that transformers' own head is the last exit: without `exits.json` the checkpoint gives
/// the last exit's answers.
fn own_head_is_the_last_exit(checkpoint: &Path, exits: usize) {
    let config = json_of(checkpoint.join("config.json"));
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    let place = tempfile::tempdir().unwrap();
    let own = copy(checkpoint, place.path().join("own"), |name, tensor| {
        (!name.starts_with("exits.")).then_some((name, tensor))
    });
    std::fs::remove_file(own.join("exits.json")).unwrap();
    for (text, with_exits) in logits(&own).iter().zip(logits(checkpoint)) {
        assert_eq!(with_exits.len(), exits);
        assert_eq!(text[..], with_exits[exits - 1..]);
    }
}

#[test]
fn transformers_finds_the_last_exit_under_its_own_names() {
    let place = tempfile::tempdir().unwrap();
    let student = trained(place.path(), "cls");
    own_head_is_the_last_exit(&student, 2);
    let at = |name: &str| place.path().join(name);
    depth::keep_first(&student, 2, at("pruned")).unwrap();
    own_head_is_the_last_exit(&at("pruned"), 1);
    average(&[student.clone(), student.clone()], at("mean")).unwrap();
    own_head_is_the_last_exit(&at("mean"), 2);
    vocabulary::shrink(&student, &TEXTS, None, at("small")).unwrap();
    own_head_is_the_last_exit(&at("small"), 2);
    let stop = AtomicBool::new(false);
    let smoothed = smooth::smooth(&student, &TEXTS, 0.5, &stop, |_, _| {}).unwrap();
    smoothed.write(at("smooth")).unwrap();
    own_head_is_the_last_exit(&at("smooth"), 2);

    // A checkpoint of an older version, without the copy, is averaged with a new one.
    let older = copy(&student, at("older"), |name, tensor| {
        let head = name.starts_with("classifier") || name.starts_with("bert.pooler");
        (!head).then_some((name, tensor))
    });
    average(&[older, student], at("both")).unwrap();
    own_head_is_the_last_exit(&at("both"), 2);
}

#[test]
fn an_exit_of_another_form_is_not_promised_to_transformers() {
    let place = tempfile::tempdir().unwrap();
    let student = trained(place.path(), "mean");
    let at = |name: &str| place.path().join(name);
    depth::keep_first(&student, 2, at("pruned")).unwrap();
    // A classifier checkpoint with other exits gets the correct architecture name.
    average(&[fixture("bert-exits"), fixture("bert-exits")], at("mean-of-two")).unwrap();
    for checkpoint in [student, at("pruned"), at("mean-of-two")] {
        let config = json_of(checkpoint.join("config.json"));
        assert_eq!(config["architectures"], json!(["BertModel"]), "{}", checkpoint.display());
        let head = |name: &String| name.starts_with("classifier") || name.contains("pooler");
        assert!(!weights(&checkpoint).keys().any(head), "{}", checkpoint.display());
    }
}
