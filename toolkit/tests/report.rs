//! Tests of `edge-distill measure` and `edge-distill report` on the fixtures.

use edge_runtime::{Classifier, ExitPolicy};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::export::export;
use edge_toolkit::quantize::Precision;
use edge_toolkit::report::record::{Parameters, Record};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fixtures").join(name)
}

fn distill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-distill")).args(arguments).output().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = distill(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const TEXTS: [(&str, u32); 6] = [
    ("a good film", 1),
    ("bad", 0),
    ("not what it was", 0),
    ("the film is good", 1),
    ("dull .", 0),
    ("great", 1),
];

#[test]
fn models_are_measured_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let rows: String = TEXTS.map(|(text, label)| format!("{text}\t{label}\n")).concat();
    write("dev.tsv", &format!("sentence\tlabel\n{rows}"));
    let bundle = folder.path().join("model.edge");
    let checkpoint = Checkpoint::open(fixture("bert-exits")).unwrap();
    export(&checkpoint, Precision::INT8, &bundle, |_, _, _| {}).unwrap();
    let exits = fixture("bert-exits").display().to_string();
    write(
        "suite.toml",
        &format!(
            "rounds = 1\n\
             [[models]]\nid = 'teacher'\nname = 'far away'\nstep = 'teacher'\n\
             stated = {{ source = 'its card', accuracy = 0.83 }}\n\
             [[models]]\nid = 'student'\nname = 'fp32'\nstep = 'distil'\nfrom = 'teacher'\n\
             model = '{exits}'\nprecision = 'fp32'\n\
             [[models]]\nid = 'int8'\nname = 'a bundle'\nstep = 'quantize'\nfrom = 'student'\n\
             model = 'model.edge'\ncheckpoint = '{exits}'\ntimed = false\n"
        ),
    );
    let records = path("records");
    succeed(&["measure", &path("suite.toml"), "--data", &path("dev.tsv"), "-o", &records]);

    // The figures agree with the runtime and with the tensors.
    let read = |id: &str| Record::read(&Path::new(&records).join(format!("{id}.json"))).unwrap();
    let (teacher, student, int8) = (read("teacher"), read("student"), read("int8"));
    assert_eq!(teacher.full_depth().accuracy.value, 5.0 / 6.0);
    assert_eq!(int8.bytes, Some(std::fs::metadata(&bundle).unwrap().len()));
    let classifier = Classifier::open(&bundle).unwrap();
    let texts = TEXTS.map(|(text, _)| text);
    let answers = classifier.classify(&texts, &ExitPolicy::Never).unwrap();
    let right = |(answer, (_, label)): &(&edge_runtime::Prediction, (&str, u32))| {
        answer.label == classifier.labels()[*label as usize]
    };
    let right = answers.iter().zip(TEXTS).filter(right).count();
    assert_eq!(int8.full_depth().accuracy.value, right as f64 / 6.0);
    assert_eq!(int8.weights.as_ref().unwrap().weight_bits, Some(7));
    let weights = fixture("bert-exits").join("model.safetensors");
    let tensors = candle_core::safetensors::load(weights, &candle_core::Device::Cpu).unwrap();
    let count = |of: &dyn Fn(&str) -> bool| -> u64 {
        tensors.iter().filter(|(name, _)| of(name)).map(|(_, t)| t.elem_count() as u64).sum()
    };
    let norm = |name: &str| name.contains("LayerNorm");
    let encoder =
        |name: &str| name.contains("encoder.layer.") && name.ends_with(".weight") && !norm(name);
    let counted = student.parameters.unwrap();
    assert_eq!(counted.encoder, count(&encoder));
    assert_eq!(
        counted,
        Parameters {
            nonzero: counted.nonzero,
            encoder_nonzero: counted.encoder_nonzero,
            ..int8.parameters.unwrap()
        }
    );
    let pace = student.full_depth().pace.expect("it is timed");
    assert!(pace.p50_ms > 0.0 && pace.p50_ms <= pace.p99_ms && pace.sentences_per_second > 0.0);
    assert!(teacher.full_depth().pace.is_none() && int8.full_depth().pace.is_none());

    let (html, markdown, readme) = (path("report.html"), path("REPORT.md"), path("README.md"));
    write("README.md", "# x\n<!-- report:begin -->\n<!-- report:end -->\n");
    succeed(&["report", &records, "-o", &html, "--markdown", &markdown, "--readme", &readme]);
    let [html, markdown, readme] =
        [html, markdown, readme].map(|f| std::fs::read_to_string(f).unwrap());
    for (file, text) in [("HTML", &html), ("Markdown", &markdown), ("README", &readme)] {
        for words in ["1. far away †", "2. fp32", "3. a bundle", "83.33 % (43.6–97.0)"] {
            assert!(text.contains(words), "{file}: {words}");
        }
    }
    assert!(folder.path().join("REPORT-flow.svg").exists());

    // A missing measurement is an error, and nothing is written.
    let demo = path("compare.json");
    let output = distill(&["report", &records, "-o", &path("other.html"), "--demo", &demo]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("the demo shows") && !Path::new(&demo).exists(), "{error}");
}
