//! Commands in their order, on generated data: each takes the output of the one before.

use candle_core::{Device, Tensor};
use edge_toolkit::checkpoint::Checkpoint;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const WORDS: [[&str; 4]; 2] =
    [["good", "fine", "great", "lovely"], ["bad", "poor", "dull", "awful"]];

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

fn fail(arguments: &[&str]) -> String {
    let output = distill(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

#[test]
fn an_output_that_nobody_reads_to_its_end_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let (data, output) = (folder.path().join("data.tsv"), folder.path().join("pruned"));
    std::fs::write(&data, "sentence\tlabel\na good film\t1\na dull film\t0\n").unwrap();
    let mut prune = Command::new(env!("CARGO_BIN_EXE_edge-distill"));
    prune.args(["prune", fixture("bert-exits").to_str().unwrap(), "--heads", "0.5", "--data"]);
    unread(prune.args([&data, Path::new("-o"), &output]));
    assert!(output.join("config.json").exists());
}

/// Runs a command to its end with standard output closed.
fn unread(command: &mut Command) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Creates a folder with data and the recipes of a teacher and its student.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = String::from("sentence\tlabel\n");
    for i in 0..400 {
        let label = i % 2;
        let word = |n: usize| WORDS[label][(i / 2 + n) % 4];
        let film = format!("film {i} with {} and {} parts of the {}", word(0), word(1), i / 3);
        rows += &format!("{film}\t{}\n", ["down", "up"][label]);
    }
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("train.tsv", &rows);
    let start = fixture("bert-exits");
    let data = "[data]\ntrain = 'train.tsv'\nhold_out = 60\nhold_out_words = 3\n";
    let train = "[train]\nepochs = 2\nbatch = 16\nlearning_rate = 3e-3\n";
    let model = format!("[model]\nstart = '{}'\n", start.display());
    write("teacher.toml", &format!("{data}{model}exits = 'last'\n{train}"));
    write(
        "student.toml",
        &format!(
            "{data}{model}architecture = 'distilbert'\nlayers = [0, 2]\nexits = [0, 1, 2]\n\
             [teacher]\nmodel = '{}'\n[losses]\nsoft = 1\nself = 0.5\n{train}",
            start.display()
        ),
    );
    folder
}

#[test]
fn everything_at_once_ends_with_a_table() {
    let folder = place();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (teacher, student) = (path("teacher.toml"), path("student.toml"));
    let (test, output) = (path("train.tsv"), path("out"));
    let all = ["all", "--teacher", &teacher, "--student", &student, "--test", &test, "-o", &output];
    let table = succeed(&all);
    for row in ["teacher", "student ", "student int8 ", "student int8 with exits"] {
        assert!(table.contains(row), "no row `{row}` in\n{table}");
    }

    // A model and its bundle give the same answers, and the bundle contains the calibrated policy.
    let evaluate = |model: &str| -> Value {
        let model = path(model);
        let json = succeed(&["evaluate", &model, "--data", &test, "--json"]);
        serde_json::from_str(&json).unwrap()
    };
    let (checkpoint, bundle) = (evaluate("out/student"), evaluate("out/model.edge"));
    let full = |e: &Value| e["full_depth"]["accuracy"]["value"].as_f64().unwrap();
    assert!((full(&checkpoint) - full(&bundle)).abs() < 0.03, "{checkpoint} {bundle}");
    assert_eq!(checkpoint["policy"], bundle["policy"]);
    assert_ne!(bundle["policy"]["kind"], "never");
    let files = ["curve.csv", "curve.svg", "recipe.toml", "exits.json", "tokenizer_config.json"];
    for file in files {
        assert!(folder.path().join("out/student").join(file).exists(), "{file}");
    }

    // A second run trains nothing.
    let again = distill(&all);
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(said.matches("is complete already").count(), 2, "{said}");

    // A comparison of a model with itself finds no difference.
    let model = path("out/model.edge");
    let same = succeed(&["evaluate", &model, "--data", &test, "--against", &model, "--json"]);
    let same: Value = serde_json::from_str(&same).unwrap();
    assert_eq!(same["comparison"]["difference"]["value"], 0.0);

    // Removing word pieces that the data does not need leaves every logit the same.
    let (small, student) = (path("small"), path("out/student"));
    let said = succeed(&["vocabulary", &student, "--data", &test, "-o", &small]);
    assert!(said.contains("word pieces kept"), "{said}");
    let (before, after) = (evaluate("out/student"), evaluate("small"));
    assert_eq!(before["exits"], after["exits"]);

    // Removing word pieces that it has never seen leaves its own texts unchanged.
    let seen = path("seen");
    let count = |said: &str| said.split(' ').next().unwrap().parse::<usize>().unwrap();
    let fewer = succeed(&["vocabulary", &student, "--data", &test, "--seen", "1", "-o", &seen]);
    assert!(count(&fewer) < count(&said), "{fewer} of {said}");
    assert_eq!(evaluate("seen")["exits"], before["exits"]);
    // A text of other words is split into the remaining pieces, and none of them is unknown.
    let words = path("words.tsv");
    std::fs::write(&words, "sentence\tlabel\nan unheard-of zebra\tup\nquixotic\tdown\n").unwrap();
    let ids = Checkpoint::open(&seen).unwrap().tokenizer().unwrap();
    let tokenizer = tokenizers::Tokenizer::from_bytes(ids).unwrap();
    let pieces = tokenizer.encode("an unheard-of zebra, quixotic", false).unwrap();
    assert!(!pieces.get_tokens().contains(&"[UNK]".to_string()), "{:?}", pieces.get_tokens());

    // A model of the first layer gives the answers of the exit there.
    let one = path("one");
    succeed(&["prune", &student, "--layers", "1", "-o", &one]);
    let pruned = evaluate("one");
    for exit in 0..2 {
        for figure in ["layer", "accuracy", "calibration_error"] {
            assert_eq!(pruned["exits"][exit][figure], before["exits"][exit][figure]);
        }
    }
    assert_eq!(pruned["exits"].as_array().unwrap().len(), 2);
    let error = fail(&["prune", &student, "--layers", "3", "-o", &one]);
    assert!(error.contains("no exit after layer 3") && error.contains("[0, 1, 2]"), "{error}");

    // The mean of a checkpoint and one of three times its weights has twice its weights.
    let (triple, mean) = (path("triple"), path("mean"));
    let weights = |folder: &str| {
        let file = Path::new(folder).join("model.safetensors");
        candle_core::safetensors::load(file, &Device::Cpu).unwrap()
    };
    let times = |factor: f64| -> HashMap<String, Tensor> {
        let scaled = weights(&student).into_iter();
        scaled.map(|(name, tensor)| (name, (tensor * factor).unwrap())).collect()
    };
    std::fs::create_dir(&triple).unwrap();
    for file in ["config.json", "exits.json", "tokenizer.json"] {
        std::fs::copy(format!("{student}/{file}"), format!("{triple}/{file}")).unwrap();
    }
    candle_core::safetensors::save(&times(3.0), format!("{triple}/model.safetensors")).unwrap();
    succeed(&["average", &student, &triple, "-o", &mean]);
    let (twice, mean_of_two) = (times(2.0), weights(&mean));
    assert_eq!(twice.len(), mean_of_two.len());
    for (name, tensor) in twice {
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (a, b) in values(&tensor).iter().zip(values(&mean_of_two[&name])) {
            assert!((a - b).abs() <= 1e-6 * a.abs(), "{name}: {b} is not {a}");
        }
    }

    // Checkpoints of different vocabularies do not mix.
    let error = fail(&["average", &student, &small, "-o", &mean]);
    assert!(error.contains("differs in its config.json"), "{error}");
}

#[test]
fn what_does_not_go_together_is_said() {
    let folder = place();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (teacher, student, output) = (path("teacher.toml"), path("student.toml"), path("out"));
    for (arguments, message) in [
        (vec!["distill", "--recipe", &teacher, "-o", &output], "there is no [teacher]"),
        (vec!["finetune", "--recipe", &student, "-o", &output], "has a [teacher]"),
        (vec!["finetune", "--recipe", &path("none.toml"), "-o", &output], "none.toml"),
        (vec!["finetune", "--recipe", &teacher, "-o", &output, "--device", "gpu"], "`auto`"),
        (vec!["calibrate", &fixture("bert-plain").display().to_string()], "recipe.toml"),
        (vec!["evaluate", &path("train.tsv"), "--data", &path("train.tsv")], "train.tsv"),
    ] {
        let error = fail(&arguments);
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    assert!(!folder.path().join("out").exists(), "nothing is written by what fails");
}

/// Writes a recipe without held-out rows, for a start in one epoch.
fn short_recipe(folder: &Path, data: &str) -> String {
    let recipe = folder.join("short.toml");
    let model = format!("[model]\nstart = '{}'\nexits = 'last'\n", fixture("bert-exits").display());
    std::fs::write(&recipe, format!("[data]\n{data}\n{model}[train]\nepochs = 1\n")).unwrap();
    recipe.display().to_string()
}

#[test]
fn model_of_booleans_is_evaluated_on_every_format_of_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (mut json, mut csv, mut floats) =
        (String::new(), String::from("text,label\n"), String::from("text,label\n"));
    for i in 0..24 {
        let (text, label) = (format!("film {i} is {}", WORDS[i % 2][i % 4]), i % 3 == 0);
        json += &format!("{{\"text\": \"{text}\", \"label\": {label}}}\n");
        csv += &format!("{text},{}\n", if label { "True" } else { "False" });
        floats += &format!("{text},{}.0\n", u8::from(label));
    }
    for (name, rows) in [("d.jsonl", json), ("d.csv", csv), ("floats.csv", floats)] {
        std::fs::write(path(name), rows).unwrap();
    }
    for trained_on in ["d.jsonl", "d.csv", "floats.csv"] {
        let (recipe, model) =
            (short_recipe(folder.path(), &format!("train = '{trained_on}'")), path("m"));
        succeed(&["finetune", "--recipe", &recipe, "-o", &model]);
        let figures = ["d.jsonl", "d.csv", "floats.csv"]
            .map(|data| succeed(&["evaluate", &model, "--data", &path(data), "--json"]));
        assert_eq!(figures[0], figures[1], "{trained_on}");
        assert_eq!(figures[0], figures[2], "{trained_on}");
    }
}

#[test]
fn data_for_other_tasks_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |rows: &str| std::fs::write(folder.path().join("d.csv"), rows).unwrap();
    let output = folder.path().join("out").display().to_string();
    let train = |data: &str| {
        let recipe = short_recipe(folder.path(), &format!("train = 'd.csv'\n{data}"));
        fail(&["finetune", "--recipe", &recipe, "-o", &output])
    };
    rows("text,score\nhello,0.5\nhi,1.5\n");
    let error = train("label = 'score'");
    assert!(error.contains("d.csv, line 2: ") && error.contains("score (regression)"), "{error}");
    rows("text,emotions\nhello,joy\nhi,\"joy,love\"\n");
    let error = train("label = 'emotions'");
    assert!(error.contains("`joy,love` look like several labels a row"), "{error}");
    rows("sentence1,sentence2,label\nhello,hi,a\nbye,ciao,b\n");
    let error = train("");
    assert!(
        error.contains("two texts") && error.contains("`--text` (in a recipe `data.text`)"),
        "{error}"
    );
    assert!(!Path::new(&output).exists());
}

#[test]
fn notes_of_the_data_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..24)
        .map(|i| {
            format!(
                "{}\tfilm {i} is 很{}\n",
                ["good", "Bad", "bad", "bad"][i % 4],
                WORDS[i % 2][i % 4]
            )
        })
        .collect();
    std::fs::write(folder.path().join("d.tsv"), rows).unwrap();
    let data = "train = 'd.tsv'\ntext = 2\nlabel = 1\nhold_out = 0.25\nhold_out_words = 3";
    let recipe = short_recipe(folder.path(), data);
    let output = folder.path().join("out").display().to_string();
    let trained = distill(&["finetune", "--recipe", &recipe, "-o", &output]);
    let said = String::from_utf8(trained.stderr).unwrap();
    assert!(trained.status.success(), "{said}");
    assert!(
        said.contains("24 rows, TSV without a header, text from `2`, labels from `1`: bad, good")
    );
    assert!(said.contains("note: `Bad` (6 rows) is read as the label `bad`"), "{said}");
    let held_out = distill(&["evaluate", &output]);
    let said = String::from_utf8(held_out.stderr).unwrap();
    assert!(said.contains("6 rows held out of"), "{said}");
}

/// Checks hidden states through a projection, and attention, with a teacher whose layers are stored
/// on disk.
#[test]
fn a_student_is_held_to_the_teachers_layers() {
    let folder = place();
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeed(&["finetune", "--recipe", &path("teacher.toml"), "-o", &path("teacher")]);
    let recipe = std::fs::read_to_string(path("student.toml")).unwrap();
    let named = format!("[teacher]\nmodel = '{}'", fixture("bert-exits").display());
    assert!(recipe.contains(&named));
    let recipe = recipe.replace(&named, "[teacher]\nmodel = './teacher'");
    let losses = "[losses]\nhidden = 1\nattention = 1\n";
    let layered = recipe.replace("[losses]\n", losses);
    std::fs::write(path("layered.toml"), &layered).unwrap();
    succeed(&["distill", "--recipe", &path("layered.toml"), "-o", &path("out")]);
    let lines = std::fs::read_to_string(path("out.work/metrics.jsonl")).unwrap();
    let parts: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["parts"].clone())
        .filter(Value::is_object)
        .collect();
    let (first, last) = (parts.first().unwrap(), parts.last().unwrap());
    let at = |parts: &Value, part: &str| parts[part].as_f64().unwrap();
    assert!(at(last, "hidden") < at(first, "hidden"), "{first} to {last}");
    assert!(parts.iter().all(|p| (0.0..0.1).contains(&at(p, "attention"))), "{first} to {last}");
    let stored = std::fs::metadata(path("out.work/teacher-layers.f16")).unwrap();
    assert!(stored.len() > 0);

    // A narrower student uses a projection.
    let narrow = layered
        .replace("attention = 1\n", "")
        .replace("layers = [0, 2]\n", "layers = [0, 2]\nhidden = 16\nheads = 2\n");
    std::fs::write(path("narrow.toml"), narrow).unwrap();
    succeed(&["distill", "--recipe", &path("narrow.toml"), "-o", &path("narrow")]);
    let config = std::fs::read_to_string(path("narrow/config.json")).unwrap();
    assert!(config.contains("\"dim\": 16"), "{config}");

    // A mismatch is an error.
    let wrong = layered.replace("[losses]\n", "[losses]\nlayer_map = [1, 9]\n");
    std::fs::write(path("wrong.toml"), wrong).unwrap();
    let error = fail(&["distill", "--recipe", &path("wrong.toml"), "-o", &path("wrong")]);
    assert!(error.contains("layer_map"), "{error}");
}

#[test]
fn compress_finds_trains_and_exports_what_meets_a_goal() {
    let folder = place();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let teacher = std::fs::read_to_string(at("teacher.toml")).unwrap();
    std::fs::write(at("exits.toml"), teacher.replace("'last'", "'all'")).unwrap();
    let (recipe, student) = (at("exits.toml"), at("student"));
    succeed(&["finetune", "--recipe", &recipe, "-o", &student]);
    let compress = ["compress", &student, "--recipe", &recipe, "--weigh", "40"];
    let with = |goal: [&str; 2], output: &str| -> Vec<String> {
        let more = [goal[0], goal[1], "-o", output];
        compress.iter().chain(&more).map(|a| a.to_string()).collect()
    };
    let run = with(["--target-speedup", "1.5"], &at("small"));
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    let said = succeed(&run);
    assert!(said.contains("model.edge") && said.contains("of the multiplications"), "{said}");

    let record = std::fs::read_to_string(at("small/tried.jsonl")).unwrap();
    let tried: Vec<Value> = record.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |t: &Value, key: &str| t[key].as_f64();
    for t in &tried {
        let fits = of(t, "operations").unwrap() * 1.5 <= 1.0;
        assert_eq!(fits, of(t, "accuracy").is_some(), "{t}");
    }
    assert!(tried.iter().any(|t| of(t, "accuracy").is_some()));
    assert!(tried.iter().any(|t| of(t, "accuracy").is_none()));
    assert!(Path::new(&at("small/model.edge")).exists());

    // A cut record continues: recorded trials are not repeated, and the result is the same.
    let half: String = record.lines().take(tried.len() / 2).map(|l| format!("{l}\n")).collect();
    std::fs::write(at("small/tried.jsonl"), half).unwrap();
    assert_eq!(succeed(&run), said);
    assert_eq!(std::fs::read_to_string(at("small/tried.jsonl")).unwrap(), record);

    // For another checkpoint in the same folder, everything is tried again.
    let false_record =
        record.replace("\"key\":\"", "\"key\":\"0").replace("\"bytes\":", "\"bytes\":9");
    std::fs::write(at("small/tried.jsonl"), false_record).unwrap();
    assert_eq!(succeed(&run), said);
    assert_eq!(std::fs::read_to_string(at("small/tried.jsonl")).unwrap(), record);

    // Another goal in the same folder measures candidates that the first one left out.
    let run = with(["--target-speedup", "1"], &at("small"));
    succeed(&run.iter().map(String::as_str).collect::<Vec<_>>());
    let record = std::fs::read_to_string(at("small/tried.jsonl")).unwrap();
    assert_eq!(record.lines().count(), tried.len());
    assert!(!record.contains("\"accuracy\":null"));

    let run = with(["--target-size", "1kB"], &at("none"));
    let error = fail(&run.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("out of reach") && error.contains("may have 0.0010 MB"), "{error}");
    // The least size is at most the smallest candidate's, and is known before the search.
    let least = error.split("has about ").nth(1).unwrap().split(' ').next().unwrap();
    let smallest = tried.iter().map(|t| of(t, "bytes").unwrap()).fold(f64::INFINITY, f64::min);
    let least = 1e6 * least.parse::<f64>().unwrap();
    assert!(least < smallest + 100.0 && least > 0.9 * smallest, "{least}, not {smallest}");
    assert!(!Path::new(&at("none")).exists(), "something was tried");
    let run = with(["--target-speedup", "1000"], &at("none"));
    let error = fail(&run.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("1/1000 of the multiplications"), "{error}");
    assert!(!Path::new(&at("none")).exists(), "something was tried");
}

#[test]
fn a_goal_that_is_none_is_refused_before_anything_is_done() {
    let folder = place();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let model = fixture("bert-exits").display().to_string();
    let compress = ["compress", &model, "--recipe", &at("teacher.toml"), "-o", &at("out")];
    for (goal, words) in [
        (["--target-size", "8"], "8MB or 8B"),
        (["--target-size", "12000000"], "12000000B"),
        (["--target-speedup", "0"], "target speedup of 0"),
        (["--target-speedup", "0.5"], "target speedup of 0.5"),
        (["--target-speedup", "nan"], "target speedup of NaN"),
        (["--target-speedup", "inf"], "target speedup of inf"),
    ] {
        let error = fail(&[&compress[..], &goal].concat());
        assert!(error.contains(words), "{goal:?}: {error}");
    }
    for command in [
        [&compress[..], &["--target-speedup", "1"]].concat(),
        vec!["all", "--student", &at("student.toml"), "--test", &at("train.tsv"), "-o", &at("out")],
    ] {
        let error = fail(&[&command[..], &["--budget", "nan"]].concat());
        assert!(error.contains("a budget of NaN points"), "{error}");
    }
    std::fs::write(at("some.tsv"), "sentence\tlabel\na good film\tPOSITIVE\n").unwrap();
    let prune = ["prune", &model, "--heads", "0.5", "--weigh", "0", "-o", &at("out")];
    let error = fail(&[&prune[..], &["--data", &at("some.tsv")]].concat());
    assert!(error.contains("no text to weigh"), "{error}");
    let error = fail(&["sensitivity", &model, "--data", &at("train.tsv"), "--target-size", "8"]);
    assert!(error.contains("8MB or 8B"), "{error}");
    let none = at("none.tsv");
    let error = fail(&["all", "--student", &at("student.toml"), "--test", &none, "-o", &at("out")]);
    assert!(error.contains("none.tsv"), "{error}");
    let recipe = std::fs::read_to_string(at("student.toml")).unwrap();
    std::fs::write(at("all.toml"), recipe.replace("hold_out = 60", "hold_out = 0")).unwrap();
    let (recipe, test) = (at("all.toml"), at("train.tsv"));
    let error = fail(&["all", "--student", &recipe, "--test", &test, "-o", &at("out")]);
    assert!(error.contains("data.hold_out is 0"), "{error}");
    assert!(!folder.path().join("out").exists(), "something was written");
}

#[test]
fn progress_is_printed_where_there_is_no_terminal() {
    let folder = place();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let model = fixture("bert-exits").display().to_string();
    let config = std::fs::read_to_string(fixture("bert-exits").join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let label = |i: usize| config["id2label"][i.to_string()].as_str().unwrap();
    let rows: String = (0..40)
        .map(|i| format!("film {i} is {}\t{}\n", WORDS[i % 2][i % 4], label(i % 2)))
        .collect();
    std::fs::write(at("some.tsv"), format!("sentence\tlabel\n{rows}")).unwrap();
    std::fs::create_dir(at("model")).unwrap();
    for file in ["config.json", "exits.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(fixture("bert-exits").join(file), at(&format!("model/{file}"))).unwrap();
    }
    let suite =
        "rounds = 1\n[[models]]\nid = 'a'\nname = 'a'\nstep = 'finetune'\nmodel = 'model'\n";
    std::fs::write(at("suite.toml"), suite).unwrap();
    let data = at("some.tsv");
    for (command, lines) in [
        (vec!["evaluate", &model, "--data", &data], vec!["40/40 texts"]),
        (vec!["calibrate", &at("model"), "--data", &data], vec!["40/40 texts"]),
        (
            vec!["prune", &model, "--heads", "0.5", "--data", &data, "-o", &at("half")],
            vec!["4/40 texts", "40/40 texts"],
        ),
        (
            vec!["sensitivity", &at("model"), "--data", &data],
            vec!["40/40 texts", "1/", "layers.0."],
        ),
        (
            vec!["measure", &at("suite.toml"), "--data", &data, "-o", &at("measured")],
            vec!["rounds timed"],
        ),
        (
            vec!["finetune", "--recipe", &at("teacher.toml"), "-o", &at("teacher")],
            vec!["22/44 steps, loss", "44/44 steps, loss"],
        ),
    ] {
        let output = distill(&command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        for line in lines {
            assert!(said.contains(line), "{command:?}: no `{line}` in\n{said}");
        }
    }
}

#[test]
fn smoothing_that_does_not_help_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (data, output) = (at("texts.tsv"), at("smooth"));
    let rows: String =
        (0..40).map(|i| format!("film {i} is {}\t{}\n", WORDS[i % 2][i % 4], i % 2)).collect();
    std::fs::write(&data, format!("sentence\tlabel\n{rows}")).unwrap();
    let model = fixture("../sst2-minilm-small").display().to_string();
    let done = distill(&["smooth", &model, "--data", &data, "-o", &output]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("smooth is not written") && said.contains("before"), "{said}");
    assert!(done.stdout.is_empty() && !Path::new(&output).exists(), "it is written");
}

#[test]
fn layers_that_bear_4_bits_are_found_and_chosen() {
    let folder = place();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (model, data, bundle) = (at("model"), at("texts.tsv"), at("model.edge"));
    std::fs::create_dir(&model).unwrap();
    for file in ["config.json", "exits.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(fixture("bert-exits").join(file), format!("{model}/{file}")).unwrap();
    }
    let config = || -> Value {
        serde_json::from_str(&std::fs::read_to_string(format!("{model}/config.json")).unwrap())
            .unwrap()
    };
    let labels = config()["id2label"].as_object().unwrap().clone();
    let rows: String = (0..30)
        .map(|i| {
            format!("film {i} is {}\t{}\n", WORDS[i % 2][i % 4], labels["0"].as_str().unwrap())
        })
        .collect();
    std::fs::write(&data, format!("sentence\tlabel\n{rows}")).unwrap();
    let export = || -> u64 {
        let checkpoint = Checkpoint::open(&model).unwrap();
        let precision = checkpoint.config.int8();
        edge_toolkit::export::export(&checkpoint, precision, Path::new(&bundle), |_, _, _| ())
            .unwrap();
        std::fs::metadata(&bundle).unwrap().len()
    };
    let manifest = || {
        let classifier = edge_runtime::Classifier::open(&bundle).unwrap();
        classifier.manifest().weights.four_bits.clone()
    };
    let usual = export();
    assert!(manifest().is_empty());

    let command = ["sensitivity", &model, "--data", &data];
    let with = |more: &[&str]| succeed(&[&command[..], more].concat());
    let ranked = with(&[]);
    let layers = config()["num_hidden_layers"].as_u64().unwrap() as usize;
    let exits = Checkpoint::open(&model).unwrap().exits.unwrap().layers;
    assert_eq!(ranked.lines().count(), 1 + 4 * layers + exits.len(), "{ranked}");
    assert!(config()["quantization"].is_null(), "nothing was chosen");

    // A cut record continues.
    let record = format!("{model}/sensitivity.jsonl");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, &text[..text.len() / 2]).unwrap();
    assert_eq!(with(&[]), ranked);
    assert_eq!(std::fs::read_to_string(&record).unwrap(), text);

    // The bound is respected, and the chosen layers are exported.
    let said = with(&["--max-divergence", "0.002"]);
    let divergence: f64 = said.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(divergence > 0.0 && divergence <= 0.002, "{said}");
    let chosen = config()["quantization"]["four_bits"].as_array().unwrap().len();
    assert!(chosen > 0 && chosen < ranked.lines().count() - 1, "{said}");
    export();
    assert_eq!(manifest().len(), chosen);

    // A checkpoint trained further in that arithmetic is also exported with the chosen layers.
    let recipe = std::fs::read_to_string(at("teacher.toml")).unwrap();
    let start = fixture("bert-exits").display().to_string();
    let recipe = recipe.replace(&start, &model).replace("'last'", "[1, 2, 3, 4]") + "[quantize]\n";
    std::fs::write(at("qat.toml"), recipe).unwrap();
    succeed(&["finetune", "--recipe", &at("qat.toml"), "-o", &at("trained")]);
    let trained = std::fs::read_to_string(at("trained/config.json")).unwrap();
    let trained: Value = serde_json::from_str(&trained).unwrap();
    assert_eq!(trained["quantization"], config()["quantization"]);

    // A size is respected too. Graphs outweigh weights in this small fixture, so nearly all layers
    // need 4 bits.
    let target = usual - 4000;
    with(&["--target-size", &format!("{target}B")]);
    assert!(export() <= target);
    let smaller = config()["quantization"]["four_bits"].as_array().unwrap().len();
    assert!(smaller > chosen && manifest().len() == smaller);

    // Both ends of the scale.
    with(&["--max-divergence", "0"]);
    assert_eq!(export(), usual);
    with(&["--max-divergence", "1000"]);
    export();
    assert_eq!(manifest().len(), ranked.lines().count() - 1);

    let error = fail(&[&command[..], &["--target-size", "1kB"]].concat());
    assert!(error.contains("more than 0.0010 MB") && error.contains("pruning"), "{error}");
    let error = fail(&[&command[..], &["--max-divergence", "nan"]].concat());
    assert!(error.contains("it is 0 or more"), "{error}");
    let error = fail(&[&command[..], &["--embedding-bits", "5"]].concat());
    assert!(error.contains("embedding_bits is 5"), "{error}");
}
