//! Foreign ONNX files, with the files beside them.
#![cfg(feature = "onnx")]

use anyhow::Result;
use edge_runtime::engine::ForeignModel;
use edge_runtime::onnx::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type,
    data_type,
};
use edge_runtime::{Classifier, Error, ExitPolicy};
use prost::Message;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Number of rows of the model; the tokenizer has one more token.
const TOKENS: usize = 4;
const LABELS: usize = 3;

/// Folder with a model in which each token votes for labels.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(config: Value) -> Result<Self> {
        let scene = Scene { folder: tempfile::tempdir()? };
        scene.write("config.json", config.to_string())?;
        let words = json!({"[UNK]": 0, "good": 1, "bad": 2, "odd": 3, "added": TOKENS});
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "truncation": null,
            "padding": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
        });
        scene.write("tokenizer.json", tokenizer.to_string())?;
        scene.write("model.onnx", model().encode_to_vec())?;
        Ok(scene)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join(name), content)?)
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }

    fn open(&self) -> Result<Classifier<ForeignModel>, Error> {
        Classifier::open_onnx(self.model())
    }

    /// Opens the model, which must fail with a message that contains all parts.
    #[track_caller]
    fn refused(&self, parts: &[&str]) {
        let error = self.open().expect_err("a model to be refused").to_string();
        for part in parts {
            assert!(error.contains(part), "{error} (not {part})");
        }
    }
}

/// Makes a model that gives the mean of the tokens' rows of votes.
fn model() -> ModelProto {
    let votes: Vec<f32> = (0..TOKENS * LABELS)
        .map(|i| if i / LABELS == i % LABELS + 1 { 2.0 } else { 0.0 })
        .collect();
    let node = |op: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>| NodeProto {
        name: op.to_lowercase(),
        op_type: op.into(),
        input: input.iter().map(|i| (*i).into()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    };
    let axes = AttributeProto {
        name: "axes".into(),
        ints: vec![1],
        r#type: attribute_type::INTS,
        ..Default::default()
    };
    let flat = AttributeProto {
        name: "keepdims".into(),
        i: Some(0),
        r#type: attribute_type::INT,
        ..Default::default()
    };
    let graph = GraphProto {
        name: "votes".into(),
        node: vec![
            node("Gather", &["votes", "input_ids"], "each", Vec::new()),
            node("ReduceMean", &["each"], "logits", vec![axes, flat]),
        ],
        initializer: vec![TensorProto {
            name: "votes".into(),
            dims: vec![TOKENS as i64, LABELS as i64],
            data_type: data_type::FLOAT,
            raw_data: votes.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
            ..Default::default()
        }],
        input: vec![value("input_ids", data_type::INT64)],
        output: vec![value("logits", data_type::FLOAT)],
    };
    ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
        ..Default::default()
    }
}

fn value(name: &str, elem_type: i32) -> ValueInfoProto {
    let dim = vec![DimensionProto::default(); 2];
    let tensor = TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { tensor_type: Some(tensor) });
    ValueInfoProto { name: name.into(), r#type }
}

fn labels(names: &[&str]) -> Value {
    names
        .iter()
        .enumerate()
        .map(|(i, n)| (i.to_string(), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn three() -> Value {
    labels(&["positive", "negative", "unclear"])
}

#[test]
fn each_text_gets_the_label_of_its_words() -> Result<()> {
    let classifier = Scene::new(json!({"id2label": three(), "vocab_size": TOKENS}))?.open()?;
    let answers = classifier.classify(&["good", "bad bad odd", "odd"], &ExitPolicy::Never)?;
    let labels: Vec<&str> = answers.iter().map(|a| a.label.as_str()).collect();
    assert_eq!(labels, ["positive", "negative", "unclear"]);
    Ok(())
}

#[test]
fn a_number_of_labels_other_than_that_of_the_outputs_is_refused() -> Result<()> {
    for (config, found) in [
        (json!({}), "2 labels (LABEL_0, LABEL_1)"),
        (json!({"id2label": labels(&["a", "b"])}), "2 labels (a, b)"),
        (json!({"id2label": labels(&["a", "b", "c", "d", "e"])}), "5 labels (a, b, c, d, …)"),
        (json!({"num_labels": 4}), "4 labels"),
    ] {
        Scene::new(config)?.refused(&["config.json", found, "model.onnx has 3 outputs"]);
    }
    Ok(())
}

#[test]
fn tasks_that_take_no_softmax_are_refused() -> Result<()> {
    for task in ["multi_label_classification", "regression"] {
        let scene = Scene::new(json!({"id2label": three(), "problem_type": task}))?;
        scene.refused(&["config.json", task]);
    }
    Scene::new(json!({"id2label": labels(&["score"])}))?.refused(&["1 label", "regression"]);
    Ok(())
}

#[test]
fn two_labels_of_one_name_are_refused() -> Result<()> {
    let scene = Scene::new(json!({"id2label": labels(&["a", "b", "a"])}))?;
    scene.refused(&["config.json", "labels 0 and 2", "`a`"]);
    Ok(())
}

#[test]
fn a_token_beyond_the_vocabulary_is_an_error_of_its_text() -> Result<()> {
    let classifier = Scene::new(json!({"id2label": three(), "vocab_size": TOKENS}))?.open()?;
    let error = classifier.classify(&["added"], &ExitPolicy::Never).unwrap_err();
    assert!(matches!(error, Error::Tokenizer(_)), "{error}");
    assert!(
        error.to_string().contains("the token id 4; the model has embeddings for ids below 4"),
        "{error}"
    );
    classifier.classify(&["good"], &ExitPolicy::Never)?;
    Ok(())
}

/// Without `vocab_size` only tract knows the number of rows.
#[test]
fn what_tract_panics_on_is_an_error_that_names_the_file() -> Result<()> {
    let scene = Scene::new(json!({"id2label": three()}))?;
    for threads in [1, 2] {
        let classifier = scene.open()?.with_threads(threads);
        let expected = classifier.classify(&["good bad"], &ExitPolicy::Never)?;
        let error = classifier.classify(&["good added"], &ExitPolicy::Never).unwrap_err();
        let error = error.to_string();
        for part in [&*scene.model().to_string_lossy(), "2 tokens", "ids up to 4", "vocab_size"] {
            assert!(error.contains(part), "{error} (not {part})");
        }
        assert_eq!(classifier.classify(&["good bad"], &ExitPolicy::Never)?, expected);
    }
    Ok(())
}

#[test]
fn files_that_are_not_onnx_are_named() -> Result<()> {
    let scene = Scene::new(json!({"id2label": three()}))?;
    let good = model().encode_to_vec();
    for (content, said) in [
        (&b""[..], "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"\n<!doctype html>", "HTML"),
        (b"PK\x03\x04\0\0", "a ZIP archive"),
        (b"manifest.json\0\0", "a bundle"),
        (b"Not Found", "a text file"),
        (&[8, 8], "without a graph"),
        (&[0; 99], "not an ONNX file"),
        (&good[..good.len() - 9], "cut short"),
    ] {
        scene.write("model.onnx", content)?;
        scene.refused(&[&scene.model().to_string_lossy(), said]);
    }
    Ok(())
}

#[test]
fn graphs_of_another_kind_are_named() -> Result<()> {
    type Change = fn(&mut GraphProto);
    fn last(graph: &mut GraphProto) -> &mut NodeProto {
        graph.node.last_mut().expect("a node")
    }
    let cases: &[(Change, &str)] = &[
        (|g| last(g).op_type = "Unheard".into(), "node `reducemean`: the operator Unheard is not"),
        (|g| last(g).domain = "com.microsoft".into(), "com.microsoft.ReduceMean is not supported"),
        (|g| last(g).domain = "mine".into(), "the operator mine.ReduceMean is not supported"),
        (|g| last(g).op_type = "Softmax".into(), "`logits` comes from Softmax"),
        (|g| g.output[0].name = "each".into(), "[batch, labels]"),
        (
            |g| {
                g.input[0].name = "ids".into();
                g.node[0].input[1] = "ids".into();
            },
            "its input `ids` is not one of input_ids, ",
        ),
        (|g| g.output.clear(), "its outputs are none"),
        (
            |g| {
                last(g).output[0] = "scores".into();
                g.output[0].name = "scores".into();
                g.output.push(value("each", data_type::FLOAT));
            },
            "its outputs are scores, each",
        ),
    ];
    let scene = Scene::new(json!({"id2label": three()}))?;
    for (change, said) in cases {
        let mut model = model();
        change(model.graph.as_mut().expect("a graph"));
        scene.write("model.onnx", model.encode_to_vec())?;
        scene.refused(&[&scene.model().to_string_lossy(), said]);
    }
    Ok(())
}

#[test]
fn texts_are_cut_to_512_tokens_where_no_number_of_positions_is_given() -> Result<()> {
    let long = "good ".repeat(600);
    for (config, most) in [
        (json!({"id2label": three()}), 512),
        (json!({"id2label": three(), "max_position_embeddings": null}), 512),
        (json!({"id2label": three(), "max_position_embeddings": 20}), 20),
        (json!({"id2label": three(), "max_position_embeddings": 20, "model_type": "roberta"}), 18),
        (json!({"id2label": three(), "max_position_embeddings": 1 << 30}), 600),
    ] {
        let answer = &Scene::new(config)?.open()?.classify(&[&long], &ExitPolicy::Never)?[0];
        assert_eq!(answer.tokens, most);
    }
    Ok(())
}
