//! The `edge-run` command line, as a person or a script uses it.

use anyhow::{Context, Result};
use edge_tests::{bundle, fixture};
use edge_toolkit::quantize::Precision;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Length of the longest line that is read.
const LINE_LIMIT: usize = 1 << 20;

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-run-tested");

/// A folder with a small model in it.
struct Scene {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let model = folder.path().join("model.edge");
        std::fs::write(&model, bundle("bert-exits", Precision::INT8)?)?;
        Ok(Scene { folder, model })
    }

    /// Runs `edge-run MODEL ARGUMENTS` with a standard input.
    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Answer> {
        let model = self.model.to_str().context("a path in UTF-8")?;
        run(&[&[model], arguments].concat(), input)
    }
}

struct Answer {
    status: i32,
    out: String,
    err: String,
}

impl Answer {
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|l| serde_json::from_str(l).expect(l)).collect()
    }

    #[track_caller]
    fn refused(&self, said: &[&str]) {
        assert_eq!(self.status, 2, "{}", self.err);
        assert_eq!(self.out, "", "a refusal prints no answers");
        for part in said {
            assert!(self.err.contains(part), "{} (not {part})", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

fn run(arguments: &[&str], input: &[u8]) -> Result<Answer> {
    run_with(arguments, input, |_| ())
}

/// Runs `edge-run ARGUMENTS` with a standard input, in an environment that `change` sets up.
fn run_with(arguments: &[&str], input: &[u8], change: impl FnOnce(&mut Command)) -> Result<Answer> {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_remove("EDGE_MODEL");
    change(&mut command);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("piped")?;
    let input = input.to_vec();
    // A program that refuses its arguments leaves its input unread, so an error of writing is
    // ignored.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    writer.join().expect("writing does not panic");
    Ok(Answer {
        status: status.code().context("ended by a signal")?,
        out: String::from_utf8(stdout)?,
        err: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

#[test]
fn texts_as_arguments() -> Result<()> {
    let answer = Scene::new()?.run(&["good film", "bad film"], b"")?;
    assert_eq!((answer.status, answer.err.as_str()), (0, ""));
    let lines: Vec<&str> = answer.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with("  good film") && lines[0].contains("of 4)"), "{}", lines[0]);
    assert!(lines[1].ends_with("  bad film"), "{}", lines[1]);
    Ok(())
}

#[test]
fn json_is_one_line_a_text() -> Result<()> {
    let answer =
        Scene::new()?.run(&["--json", "--policy", "never", "good\nfilm", "\u{1f980}"], b"")?;
    let lines = answer.json();
    assert_eq!((answer.status, lines.len()), (0, 2));
    assert_eq!(lines[0]["text"], "good\nfilm");
    assert_eq!(lines[1]["text"], "\u{1f980}");
    for line in lines {
        assert_eq!((&line["stage"], &line["truncated"]), (&4.into(), &false.into()));
        assert_eq!(line["exits"].as_array().map(Vec::len), Some(4));
        let p = line["probabilities"].as_object().context("by label")?;
        let label = line["label"].as_str().context("a label")?;
        let p: Vec<(f64, &str)> =
            p.iter().map(|(l, p)| (p.as_f64().unwrap(), l.as_str())).collect();
        assert!((p.iter().map(|p| p.0).sum::<f64>() - 1.0).abs() < 1e-6);
        assert_eq!(p.iter().max_by(|a, b| a.0.total_cmp(&b.0)).map(|p| p.1), Some(label));
    }
    Ok(())
}

#[test]
fn a_line_that_is_not_utf8_is_reported_and_the_rest_is_answered() -> Result<()> {
    let scene = Scene::new()?;
    let input = b"good film\nbad \xff film\nnot bad\r\n\n\xc3";
    let answer = scene.run(&["--json"], input)?;
    assert_eq!(answer.status, 1);
    for said in ["line 2: not UTF-8 at byte 5", "line 5: not UTF-8 at byte 1", "2 lines"] {
        assert!(answer.err.contains(said), "{} (not {said})", answer.err);
    }
    let lines = answer.json();
    let texts: Vec<&Value> = lines.iter().map(|l| &l["text"]).collect();
    let none = &Value::Null;
    assert_eq!(texts, [&"good film".into(), none, &"not bad".into(), &"".into(), none]);
    assert_eq!((&lines[1]["line"], &lines[4]["line"]), (&2.into(), &5.into()));
    assert!(lines[1]["error"].as_str().is_some_and(|e| e.contains("not UTF-8")));

    let plain = scene.run(&[], input)?;
    assert_eq!((plain.status, plain.out.lines().count()), (1, 3));
    Ok(())
}

#[test]
fn a_line_that_is_too_long_is_reported_and_the_rest_is_answered() -> Result<()> {
    let mut input = vec![b'a'; LINE_LIMIT + 1];
    input.extend(b"\ngood film\n");
    input.extend(vec![b'b'; LINE_LIMIT]);
    input.extend(b"\n");
    input.extend(vec![b'c'; 3 * LINE_LIMIT]);
    let answer = Scene::new()?.run(&["--json"], &input)?;
    assert_eq!(answer.status, 1);
    for said in
        ["line 1: found 1048578 bytes; expected at most 1048576", "line 4: found 3145728 bytes"]
    {
        assert!(answer.err.contains(said), "{} (not {said})", answer.err);
    }
    let lines = answer.json();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[1]["text"], "good film");
    assert_eq!(lines[2]["text"].as_str().map(str::len), Some(LINE_LIMIT));
    Ok(())
}

#[test]
fn no_input_no_answers() -> Result<()> {
    let scene = Scene::new()?;
    let answer = scene.run(&[], b"")?;
    assert_eq!((answer.status, answer.out.as_str(), answer.err.as_str()), (0, "", ""));
    let answer = scene.run(&["--stats"], b"")?;
    assert_eq!((answer.status, answer.out.as_str()), (0, ""));
    assert!(answer.err.contains("no texts"), "{}", answer.err);
    Ok(())
}

#[test]
fn many_lines_are_answered_in_their_order() -> Result<()> {
    let scene = Scene::new()?;
    let lines: Vec<String> = (0..300).map(|i| format!("film {i} {}", "a ".repeat(i % 7))).collect();
    let file = scene.folder.path().join("texts");
    std::fs::write(&file, lines.join("\n"))?;
    let answer = scene.run(&["--json", "--stats", "--file", file.to_str().unwrap()], b"")?;
    assert_eq!(answer.status, 0, "{}", answer.err);
    let texts: Vec<Value> = answer.json().into_iter().map(|l| l["text"].clone()).collect();
    assert_eq!(texts, lines);
    for said in ["300 texts", "of the layers computed", "sentences per second", "stage  4"] {
        assert!(answer.err.contains(said), "{} (not {said})", answer.err);
    }
    Ok(())
}

#[test]
fn a_text_with_a_dash_stands_after_two() -> Result<()> {
    let scene = Scene::new()?;
    let answer = scene.run(&["--json", "--", "--dull", "-x", "--"], b"")?;
    let texts: Vec<Value> = answer.json().into_iter().map(|l| l["text"].clone()).collect();
    assert_eq!((answer.status, texts), (0, vec!["--dull".into(), "-x".into(), "--".into()]));
    scene.run(&["--dull"], b"")?.refused(&["--dull"]);
    Ok(())
}

#[test]
fn options_that_make_no_sense_are_refused() -> Result<()> {
    let scene = Scene::new()?;
    let cases: &[(&[&str], &[&str])] = &[
        (&["--threshold", "0.5", "x"], &["--policy"]),
        (&["--policy", "confidence", "--threshold", "NaN", "x"], &["NaN"]),
        (&["--policy", "entropy", "--threshold", "inf", "x"], &["inf"]),
        (&["--policy", "margin", "--threshold=-inf", "x"], &["-inf"]),
        (&["--policy", "margin", "--threshold", "1.5", "x"], &["1.5", "between 0 and 1"]),
        (&["--policy", "margin", "--threshold=-0.1", "x"], &["-0.1", "between 0 and 1"]),
        (&["--policy", "patience", "--threshold", "NaN", "x"], &["whole number", "NaN"]),
        (&["--policy", "patience", "--threshold", "1.5", "x"], &["whole number", "1.5"]),
        (&["--policy", "patience", "--threshold", "0", "x"], &["1 or more", "0"]),
        (&["--policy", "patience", "--threshold", "inf", "x"], &["whole number", "inf"]),
        (&["--policy", "never", "--threshold", "0.5", "x"], &["--threshold with the policy never"]),
        (&["--policy", "mood", "x"], &["mood", "confidence"]),
        (&["--policy", "confidence", "--threshold", "much", "x"], &["much"]),
        (&["--file", "/no/such/file"], &["cannot open /no/such/file"]),
        (&["--file", "/no/such/file", "x"], &["found texts and --file; expected one of them"]),
    ];
    for (arguments, said) in cases {
        scene.run(arguments, b"never read\n")?.refused(said);
    }
    Ok(())
}

#[test]
fn a_refused_threshold_answers_no_line_of_the_input() -> Result<()> {
    let answer = Scene::new()?.run(&["--policy", "confidence", "--threshold", "NaN"], b"a\nb\n")?;
    answer.refused(&["threshold NaN is not between 0 and 1"]);
    Ok(())
}

#[test]
fn a_model_that_is_not_there_or_none_is_named() -> Result<()> {
    run(&["no/such/model.edge", "x"], b"")?.refused(&["cannot read no/such/model.edge"]);
    let scene = Scene::new()?;
    std::fs::write(&scene.model, b"<!doctype html>")?;
    scene.run(&["x"], b"")?.refused(&["bundle entry `manifest.json`", "breaks off"]);
    std::fs::write(&scene.model, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")?;
    scene.run(&["x"], b"")?.refused(&["is a Git LFS pointer", "git lfs pull"]);
    Ok(())
}

#[test]
fn the_model_of_the_environment_is_used() -> Result<()> {
    let scene = Scene::new()?;
    let with =
        |model: &Path| Command::new(PROGRAM).arg("good film").env("EDGE_MODEL", model).output();
    let answer = with(&scene.model)?;
    assert!(answer.status.success() && String::from_utf8(answer.stdout)?.ends_with("good film\n"));
    let answer = with(&scene.folder.path().join("none.edge"))?;
    assert_eq!(answer.status.code(), Some(2));
    assert!(String::from_utf8(answer.stderr)?.contains("none.edge"));
    Ok(())
}

#[test]
fn an_onnx_file_needs_its_configuration_and_its_tokenizer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.onnx");
    let model = model.to_str().context("a path in UTF-8")?;
    std::fs::write(model, b"no graph")?;
    run(&[model, "x"], b"")?.refused(&["cannot read", "config.json"]);
    for (file, next) in [("config.json", "tokenizer.json"), ("tokenizer.json", "model.onnx")] {
        std::fs::copy(fixture("bert-exits").join(file), folder.path().join(file))?;
        run(&[model, "x"], b"")?.refused(&[next]);
    }
    std::fs::write(folder.path().join("config.json"), b"{")?;
    run(&[model, "x"], b"")?.refused(&["config.json"]);
    Ok(())
}

#[test]
fn a_path_as_first_argument_is_never_a_text() -> Result<()> {
    let scene = Scene::new()?;
    let folder = scene.folder.path();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(folder.join("student"))?;
    std::fs::write(folder.join("student/config.json"), b"{}")?;
    std::fs::create_dir(folder.join("empty"))?;
    std::fs::write(folder.join("notes.txt"), b"a film\n")?;
    // A default model exists, which a mistake would use.
    let with_default = |first: &str| -> Result<Answer> {
        run_with(&[first, "good film"], b"", |command| {
            command.env("EDGE_MODEL", &scene.model);
        })
    };
    for (first, said) in [
        (path("model.edg"), "there is no file"),
        ("model.edg".into(), "there is no file model.edg"),
        ("out/student".into(), "put the model before it"),
        (path("student"), "export it first: edge-export"),
        (path("empty"), "a folder; expected"),
        (path("notes.txt"), "bundle entry `manifest.json`"),
        ("NONE.EDGE".into(), "cannot read NONE.EDGE"),
    ] {
        with_default(&first)?.refused(&[said]);
    }
    let answer = with_default("good, bad or ugly.")?;
    assert_eq!((answer.status, answer.out.lines().count()), (0, 2), "{}", answer.err);
    Ok(())
}

#[test]
fn a_model_is_known_by_its_extension_in_capitals_and_by_being_a_file() -> Result<()> {
    let scene = Scene::new()?;
    for name in ["MODEL.EDGE", "model.bin"] {
        let path = scene.folder.path().join(name);
        std::fs::copy(&scene.model, &path)?;
        let answer = run(&[path.to_str().unwrap(), "good film"], b"")?;
        assert_eq!((answer.status, answer.out.lines().count()), (0, 1), "{name}: {}", answer.err);
    }
    Ok(())
}

#[test]
fn texts_in_another_encoding_are_named_and_get_no_answer() -> Result<()> {
    let scene = Scene::new()?;
    let text = "what a wonderful film\r\ndull and boring\r\ntrès bien\r\n";
    let utf16 = |mark: bool| -> Vec<u8> {
        let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let file = scene.folder.path().join("texts");
    for (bytes, name) in [(utf16(true), "UTF-16"), (utf16(false), "UTF-16"), (utf32, "UTF-32")] {
        scene.run(&["--json"], &bytes)?.refused(&[name, "expected UTF-8", "iconv"]);
        std::fs::write(&file, &bytes)?;
        let path = file.to_str().unwrap();
        scene.run(&["--file", path], b"")?.refused(&[name, path]);
    }
    Ok(())
}

#[test]
fn a_mark_of_utf8_is_no_part_of_the_first_text() -> Result<()> {
    let answer = Scene::new()?.run(&["--json"], "\u{feff}good film\r\nbad film".as_bytes())?;
    let lines = answer.json();
    assert_eq!((answer.status, lines.len()), (0, 2), "{}", answer.err);
    assert_eq!((&lines[0]["text"], &lines[1]["text"]), (&"good film".into(), &"bad film".into()));
    Ok(())
}

#[test]
fn a_line_with_a_nul_is_reported_and_the_rest_is_answered() -> Result<()> {
    let answer =
        Scene::new()?.run(&["--json"], b"a good film, all in all\nbad \0 film\nnot bad\n")?;
    assert_eq!((answer.status, answer.json().len()), (1, 3));
    assert!(answer.err.contains("line 2: a NUL at byte 5"), "{}", answer.err);
    Ok(())
}

#[test]
fn a_token_without_an_embedding_costs_its_text_only() -> Result<()> {
    let scene = Scene::new()?;
    // A token was added to the tokenizer, without a row of the embeddings.
    let checkpoint = scene.folder.path().join("checkpoint");
    std::fs::create_dir(&checkpoint)?;
    for file in std::fs::read_dir(fixture("bert-exits"))? {
        let file = file?;
        std::fs::copy(file.path(), checkpoint.join(file.file_name()))?;
    }
    let path = checkpoint.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let added = tokenizer["added_tokens"].as_array_mut().context("a list")?;
    let mut token = added[0].clone();
    (token["id"], token["content"]) = (1006.into(), "[url]".into());
    added.push(token);
    std::fs::write(&path, serde_json::to_vec(&tokenizer)?)?;
    let checkpoint = edge_toolkit::checkpoint::Checkpoint::open(&checkpoint)?;
    assert_eq!(checkpoint.tokens_without_embedding()?, ["[url]"]);
    edge_toolkit::export::export(&checkpoint, Precision::INT8, &scene.model, |_, _, _| ())?;

    let input = b"good film\nsee [url] now\nbad film\n";
    let answer = scene.run(&["--json"], input)?;
    let lines = answer.json();
    assert_eq!((answer.status, lines.len()), (1, 3), "{}", answer.err);
    assert!(
        answer.err.contains("line 2: tokenizer.json: gives the token id 1006"),
        "{}",
        answer.err
    );
    assert_eq!((&lines[1]["line"], &lines[0]["text"]), (&2.into(), &"good film".into()));
    let alone = scene.run(&["--json", "bad film"], b"")?.json();
    assert_eq!(lines[2], alone[0], "the neighbours' answers are those that they have alone");

    let answer = scene.run(&["good film", "[url]"], b"")?;
    assert_eq!((answer.status, answer.out.lines().count()), (1, 1), "{}", answer.err);
    assert!(answer.err.contains("text 2: "), "{}", answer.err);
    Ok(())
}

#[test]
fn a_closed_output_ends_it_quietly() -> Result<()> {
    let scene = Scene::new()?;
    let mut child = Command::new(PROGRAM)
        .arg(&scene.model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().context("piped")?;
    // The program may end before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&b"good film\n".repeat(5000))));
    let Output { status, stderr, .. } = child.wait_with_output()?;
    writer.join().expect("writing does not panic");
    assert_eq!((status.code(), String::from_utf8(stderr)?.as_str()), (Some(0), ""));
    Ok(())
}
