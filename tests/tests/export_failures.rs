//! A failed export keeps the older bundle, leaves no other files beside it, and names the problem.

use anyhow::Result;
use edge_export::Error;
use edge_tests::fixture;
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::export::export;
use edge_toolkit::quantize::Precision;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const WORDS: &str = "bert.embeddings.word_embeddings.weight";
const QUERY: &str = "bert.encoder.layer.1.attention.self.query.weight";
const LAST: &str = "exits.3.classifier.bias";

/// A copy of a checkpoint that may be damaged, and an output folder with an older bundle.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(name: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let scene = Scene { folder };
        std::fs::create_dir(scene.checkpoint())?;
        std::fs::create_dir(scene.output())?;
        for file in std::fs::read_dir(fixture(name))? {
            let file = file?;
            std::fs::copy(file.path(), scene.checkpoint().join(file.file_name()))?;
        }
        std::fs::write(scene.target(), OLDER)?;
        Ok(scene)
    }

    fn checkpoint(&self) -> PathBuf {
        self.folder.path().join("checkpoint")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn target(&self) -> PathBuf {
        self.output().join("model.edge")
    }

    fn export(&self) -> Result<(), Error> {
        let precision = Precision::INT8;
        export(&Checkpoint::open(self.checkpoint())?, precision, &self.target(), |_, _, _| {})?;
        Ok(())
    }

    /// Exports, which must fail with a message that contains all of `said`.
    fn fails(&self, said: &[&str]) -> Result<()> {
        let message = self.export().expect_err(said[0]).to_string();
        for part in said {
            assert!(message.contains(part), "{message} (not {part})");
        }
        assert_eq!(std::fs::read(self.target())?, OLDER, "{message}");
        assert_eq!(names(&self.output())?, ["model.edge"], "{message}");
        assert!(!names(&self.checkpoint())?.iter().any(|n| n.contains("edge")));
        Ok(())
    }

    fn edit_json(&self, file: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let path = self.checkpoint().join(file);
        let mut json = serde_json::from_slice(&std::fs::read(&path)?)?;
        change(&mut json);
        Ok(std::fs::write(path, serde_json::to_vec(&json)?)?)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        Ok(std::fs::write(self.checkpoint().join(file), bytes)?)
    }

    /// Changes the header of the weights file and its data.
    fn edit_weights(&self, change: impl FnOnce(&mut Value, &mut Vec<u8>)) -> Result<()> {
        let path = self.checkpoint().join("model.safetensors");
        let file = std::fs::read(&path)?;
        let length = u64::from_le_bytes(file[..8].try_into()?) as usize;
        let mut header: Value = serde_json::from_slice(&file[8..8 + length])?;
        let mut data = file[8 + length..].to_vec();
        change(&mut header, &mut data);
        let header = serde_json::to_vec(&header)?;
        let out = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
        Ok(std::fs::write(path, out)?)
    }
}

const OLDER: &[u8] = b"an older bundle, of which not a byte may change";

fn names(folder: &Path) -> Result<Vec<String>> {
    std::fs::read_dir(folder)?.map(|f| Ok(f?.file_name().to_string_lossy().into_owned())).collect()
}

#[test]
fn a_good_export_replaces_the_older_bundle() -> Result<()> {
    let scene = Scene::new("bert-exits")?;
    scene.export()?;
    edge_runtime::Classifier::open(scene.target())?;
    assert_eq!(names(&scene.output())?, ["model.edge"]);
    Ok(())
}

#[test]
fn damaged_weights_are_named_with_their_file() -> Result<()> {
    type Damage = fn(&mut Value, &mut Vec<u8>);
    let not_a_number: Damage = |header, data| {
        let tensor = &header[QUERY];
        let at = tensor["data_offsets"][0].as_u64().expect("an offset") as usize;
        // All ones are a NaN in every float type.
        data[at..at + 4].fill(0xff);
    };
    let cases: &[(Damage, &[&str])] = &[
        (not_a_number, &[QUERY, "NaN"]),
        (|h, _| drop(h.as_object_mut().unwrap().remove(WORDS)), &["model.safetensors"]),
        (
            |h, _| {
                let tensor = h.as_object_mut().unwrap().remove(QUERY).unwrap();
                h["elsewhere"] = tensor;
            },
            &[QUERY, "is missing"],
        ),
        (
            |h, _| {
                let tensor = h.as_object_mut().unwrap().remove(LAST).unwrap();
                h["elsewhere"] = tensor;
            },
            &[LAST, "is missing"],
        ),
        (|h, _| h[QUERY]["shape"] = json!([16, 64]), &[QUERY, "[16, 64]", "[32, 32]"]),
        (|h, _| h[QUERY]["shape"] = json!([1024]), &[QUERY, "[1024]"]),
        (|h, _| h[QUERY]["shape"] = json!([0, 32]), &["not a safetensors file"]),
        (|h, _| h[QUERY]["dtype"] = json!("I16"), &[QUERY]),
        (|h, _| h[QUERY]["dtype"] = json!("Q7"), &["not a safetensors file"]),
        (|h, _| h[QUERY]["data_offsets"] = json!([0, 1u64 << 60]), &["not a safetensors file"]),
        (|_, data| data.truncate(data.len() / 2), &["not a safetensors file"]),
        (|_, data| data.clear(), &["not a safetensors file"]),
    ];
    for (damage, said) in cases {
        let scene = Scene::new("bert-exits")?;
        scene.edit_weights(damage)?;
        scene.fails(&[&["model.safetensors"], *said].concat())?;
    }
    Ok(())
}

#[test]
fn a_cut_weights_file_is_refused() -> Result<()> {
    let scene = Scene::new("bert-exits")?;
    let path = scene.checkpoint().join("model.safetensors");
    let whole = std::fs::read(&path)?;
    for length in [0, 1, 7, 8, 9, 1000, whole.len() - 1] {
        std::fs::write(&path, &whole[..length])?;
        scene.fails(&["model.safetensors", "not a safetensors file"])?;
    }
    scene.write("model.safetensors", b"")?;
    scene.fails(&["it is empty; download it again"])?;
    scene.write("model.safetensors", &whole[..1000])?;
    scene.fails(&[&format!("cut off after 1000 of {} bytes", cut_header(&whole))])?;
    scene.write("model.safetensors", &whole[..whole.len() - 1])?;
    scene.fails(&[&format!("cut off after {} of {} bytes", whole.len() - 1, whole.len())])?;
    scene.write("model.safetensors", b"PK\x03\x04 as torch.save writes it")?;
    scene.fails(&["not a safetensors file: it was written by `torch.save`"])
}

/// Size of a weights file up to the end of its header.
fn cut_header(file: &[u8]) -> u64 {
    8 + u64::from_le_bytes(file[..8].try_into().expect("8 bytes"))
}

#[test]
fn a_file_that_git_lfs_has_not_fetched_is_named() -> Result<()> {
    let pointer =
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 267832558\n";
    for (fixture, file) in [
        ("bert-exits", "model.safetensors"),
        ("bert-exits", "config.json"),
        ("bert-exits", "exits.json"),
        ("bert-exits", "tokenizer.json"),
        ("bert-plain", "vocab.txt"),
    ] {
        let scene = Scene::new(fixture)?;
        scene.write(file, pointer)?;
        scene.fails(&[&format!("{file}: is a Git LFS pointer"), "`git lfs pull`"])?;
    }
    Ok(())
}

#[test]
fn weights_in_other_files_are_named() -> Result<()> {
    for (files, said) in [
        (
            &["model-00001-of-00002.safetensors", "model.safetensors.index.json"][..],
            "sharded weights, model.safetensors.index.json",
        ),
        (
            &["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
            "sharded weights, pytorch_model.bin.index.json",
        ),
        (
            &["model-00001-of-00002.safetensors"],
            "sharded weights, model-00001-of-00002.safetensors",
        ),
        (&["pytorch_model.bin"], "pytorch_model.bin is not read"),
        (&["tf_model.h5"], "tf_model.h5 is not read"),
        (&["adapter_model.safetensors"], "an adapter, adapter_model.safetensors"),
        (&["weights.safetensors"], "weights.safetensors: rename that file"),
    ] {
        let scene = Scene::new("bert-exits")?;
        std::fs::remove_file(scene.checkpoint().join("model.safetensors"))?;
        files.iter().try_for_each(|file| scene.write(file, b"{}"))?;
        scene.fails(&["model.safetensors: missing", said])?;
    }
    Ok(())
}

#[test]
fn missing_files_are_named() -> Result<()> {
    for (file, fixture, said) in [
        ("model.safetensors", "bert-exits", "missing; expected the weights of the checkpoint"),
        ("config.json", "bert-exits", "config.json"),
        ("tokenizer.json", "bert-exits", "missing, and vocab.txt is too"),
        ("vocab.txt", "bert-plain", "missing, and vocab.txt is too"),
    ] {
        let scene = Scene::new(fixture)?;
        std::fs::remove_file(scene.checkpoint().join(file))?;
        scene.fails(&[said])?;
    }
    let scene = Scene::new("bert-exits")?;
    let weights = scene.checkpoint().join("model.safetensors");
    std::fs::rename(&weights, scene.checkpoint().join("pytorch_model.bin"))?;
    scene.fails(&["safe_serialization=True"])
}

#[test]
fn a_configuration_that_is_not_read_is_named() -> Result<()> {
    type Change = fn(&mut Value);
    let config: &[(Change, &[&str])] = &[
        (|c| c["model_type"] = json!("roberta"), &["`roberta`", "`bert` and `distilbert`"]),
        (|c| c["num_attention_heads"] = json!(5), &["5 heads do not divide"]),
        (|c| c["num_attention_heads"] = json!(0), &["num_attention_heads"]),
        (|c| c["hidden_size"] = json!(36), &["[1006, 32]", "[1006, 36]"]),
        (|c| c["num_hidden_layers"] = json!(5), &["end with the last layer, 5"]),
        (|c| c["vocab_size"] = json!(2000), &["[2000, 32]"]),
        (|c| c["max_position_embeddings"] = json!(2), &["position_embeddings"]),
        (|c| c["id2label"] = json!({"0": "a", "1": "b", "2": "c"}), &["exits.0.classifier"]),
        (|c| c["id2label"] = json!({"0": "a", "1": "a"}), &["labels 0 and 1 are both named `a`"]),
        (|c| c["id2label"] = json!({"1": "a", "2": "b"}), &["keys 1, 2", "expected 0 to 1"]),
        (|c| c["num_labels"] = json!(7), &["num_labels is 7"]),
        (|c| c["problem_type"] = json!("regression"), &["`regression`"]),
        (|c| c["vocab_size"] = json!(null), &["vocab_size is missing"]),
        (|c| c["max_position_embeddings"] = json!(1e30), &["max_position_embeddings is 1e"]),
        (|c| *c = json!([]), &["config.json"]),
    ];
    for (change, said) in config {
        let scene = Scene::new("bert-exits")?;
        scene.edit_json("config.json", change)?;
        scene.fails(said)?;
    }
    let exits: &[(Change, &[&str])] = &[
        (|e| e["layers"] = json!([1, 2]), &["[1, 2]"]),
        (|e| e["layers"] = json!([]), &["[]"]),
        (|e| e["pooling"] = json!("max"), &["max"]),
        (|e| e["policy"] = json!({"kind": "confidence", "threshold": [0.5]}), &["1 thresholds"]),
    ];
    for (change, said) in exits {
        let scene = Scene::new("bert-exits")?;
        scene.edit_json("exits.json", change)?;
        scene.fails(&[&["exits.json"], *said].concat())?;
    }
    Ok(())
}

/// A new bundle must answer before it replaces the older one.
#[test]
fn a_bundle_that_does_not_run_is_not_kept() -> Result<()> {
    let scene = Scene::new("bert-exits")?;
    std::fs::write(scene.checkpoint().join("tokenizer.json"), "{}")?;
    scene.fails(&["does not run, nothing was written", "tokenizer.json"])?;

    let scene = Scene::new("bert-exits")?;
    scene.edit_json("tokenizer.json", |t| t["post_processor"] = Value::Null)?;
    scene.edit_json("tokenizer.json", |t| t["model"]["vocab"]["a"] = json!(70_000))?;
    scene.fails(&["does not run, nothing was written", "70000"])
}

#[test]
fn a_target_that_cannot_be_written_is_named() -> Result<()> {
    let scene = Scene::new("bert-exits")?;
    let checkpoint = Checkpoint::open(scene.checkpoint())?;
    let file_as_folder = scene.target().join("model.edge");
    for target in [file_as_folder, scene.output()] {
        let error = export(&checkpoint, Precision::Fp32, &target, |_, _, _| {}).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains(&target.display().to_string()), "{error}");
        assert_eq!(std::fs::read(scene.target())?, OLDER);
        assert_eq!(names(&scene.output())?, ["model.edge"]);
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn an_unwritable_folder_is_named() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new("bert-exits")?;
    let mode =
        |mode| std::fs::set_permissions(scene.output(), std::fs::Permissions::from_mode(mode));
    mode(0o555)?;
    // The superuser can write to every folder.
    let refused = std::fs::File::create(scene.output().join("probe")).is_err();
    let result = if refused { scene.fails(&["model.edge"]) } else { Ok(()) };
    mode(0o755)?;
    result
}
