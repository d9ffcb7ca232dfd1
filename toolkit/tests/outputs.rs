//! Outputs of the commands: only files of this program are replaced, removed or overwritten.

use edge_toolkit::train::work_folder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fixtures").join(name)
}

/// A folder with data, the recipe of a teacher and a student's, and a checkpoint.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        let rows: String = (0..40)
            .map(|i| format!("film {i} is {}\t{}\n", ["good", "bad"][i % 2], ["up", "down"][i % 2]))
            .collect();
        place.write("train.tsv", &format!("sentence\tlabel\n{rows}"));
        let start = fixture("bert-exits");
        let recipe = format!(
            "[data]\ntrain = 'train.tsv'\n[model]\nstart = '{}'\n[train]\nepochs = 1\nbatch = 16\n",
            start.display()
        );
        place.write("teacher.toml", &recipe);
        place.write("student.toml", &format!("{recipe}[teacher]\nmodel = '{}'\n", start.display()));
        place.write("mine/train.csv", "rows that took a week");
        place.write("mine/config.json", "settings of another program");
        place.write("mine/student/notes.txt", "notes");
        let mut copied = Vec::new();
        for file in std::fs::read_dir(start).unwrap().map(|f| f.unwrap()) {
            let to = place.path("checkpoint").join(file.file_name());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(file.path(), &to).unwrap();
            copied.push(to);
        }
        assert!(copied.len() > 3);
        // Labels of its data.
        let config = place.path("checkpoint/config.json");
        let mut json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        json["id2label"] = serde_json::json!({"0": "down", "1": "up"});
        std::fs::write(config, json.to_string()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program).args(arguments).current_dir(self.folder.path()).output().unwrap()
    }

    fn distill(&self, arguments: &[&str]) -> Output {
        self.run(env!("CARGO_BIN_EXE_edge-distill"), arguments)
    }

    fn succeed(&self, arguments: &[&str]) {
        let output = self.distill(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }

    /// Runs `edge-distill`, which must fail with these words and leave every file unchanged.
    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &str) {
        let before = self.files();
        let output = self.distill(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words) && !said.contains("panicked"), "{arguments:?}: {said}");
        assert!(self.files() == before, "{arguments:?} changed files");
    }

    /// Reads every file with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = std::fs::read(&path).unwrap();
                    files.insert(path, content);
                }
            }
        }
        files
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const TEACHER: [&str; 3] = ["finetune", "--recipe", "teacher.toml"];

/// Lists every command that writes a folder, without its output.
const COMMANDS: [&[&str]; 7] = [
    &TEACHER,
    &["distill", "--recipe", "student.toml"],
    &["prune", "checkpoint", "--layers", "1"],
    &["average", "checkpoint", "checkpoint"],
    &["smooth", "checkpoint", "--data", "train.tsv"],
    &["vocabulary", "checkpoint", "--data", "train.tsv"],
    &["compress", "checkpoint", "--recipe", "teacher.toml", "--target-speedup", "1.5"],
];

#[test]
fn a_folder_of_others_and_a_plain_file_are_refused_by_every_command() {
    let place = Place::new();
    let all = ["all", "--student", "student.toml", "--test", "train.tsv"];
    for command in COMMANDS.into_iter().chain([&all[..]]) {
        for (output, words) in [
            ("mine", "mine: holds files that this program did not write"),
            (".", ".: holds files that this program did not write"),
            ("..", "..: holds files"),
            ("train.tsv", "train.tsv: is a file; expected a folder"),
            ("train.tsv/out", "train.tsv/out"),
        ] {
            place.refused(&[command, &["-o", output]].concat(), words);
        }
    }
    for command in &COMMANDS[2..] {
        let with = |more: &[&'static str]| [command, more].concat();
        place.refused(&with(&["-o", "checkpoint", "--force"]), "is read by this command");
    }
}

#[test]
fn the_folders_in_an_output_are_looked_at_before_anything_is_computed() {
    let place = Place::new();
    let all = ["all", "--student", "student.toml", "--test", "train.tsv", "-o", "mine", "--force"];
    place.write("mine/student.work/metrics.jsonl", "a week of measurements");
    place.write("run.work/state-1/results.csv", "more of them");
    // --force replaces the program's own files and keeps all others.
    place.refused(&all[..7], "mine: holds files");
    place.refused(&[&TEACHER[..], &["-o", "run"]].concat(), "run.work: holds files");
    let mut compress = COMMANDS[6].to_vec();
    compress.extend(["-o", "out"]);
    place.succeed(&[&TEACHER[..], &["-o", "out"]].concat());
    place.write("out/start/notes.txt", "notes");
    place.refused(&compress, "start: holds files");
}

#[test]
fn the_checkpoint_that_a_run_starts_from_is_no_output() {
    let place = Place::new();
    place.succeed(&[&TEACHER[..], &["-o", "out"]].concat());
    let recipe = std::fs::read_to_string(place.path("teacher.toml")).unwrap();
    let start = fixture("bert-exits").display().to_string();
    place.write("on.toml", &recipe.replace(&start, "./out"));
    place.refused(&["finetune", "--recipe", "on.toml", "-o", "out"], "is read by this command");
    place.succeed(&["finetune", "--recipe", "on.toml", "-o", "further"]);
    // A second run, also by the recipe that is stored with it.
    place.succeed(&[&TEACHER[..], &["-o", "out"]].concat());
    place.succeed(&["finetune", "--recipe", "out/recipe.toml", "-o", "out"]);
}

#[test]
fn force_leaves_the_files_of_others() {
    let place = Place::new();
    place.succeed(&[COMMANDS[2], &["-o", "mine", "--force"]].concat());
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    assert_eq!(read("mine/train.csv"), "rows that took a week");
    assert_eq!(read("mine/student/notes.txt"), "notes");
    assert!(read("mine/config.json").contains("\"num_hidden_layers\": 1"));
    // It has been an output since then.
    place.succeed(&[COMMANDS[3], &["-o", "mine"]].concat());
    assert_eq!(read("mine/train.csv"), "rows that took a week");
}

#[test]
fn the_folder_that_one_is_in_is_an_output_when_it_is_empty() {
    let place = Place::new();
    let empty = place.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let train = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-distill"));
        command.args(["finetune", "--recipe", "../teacher.toml", "-o", "."]);
        command.current_dir(&empty).output().unwrap()
    };
    for _ in 0..2 {
        let output = train();
        assert!(output.status.success(), "{}", said(&output));
        assert!(empty.join("model.safetensors").exists());
        assert!(place.path("empty.work/metrics.jsonl").exists());
    }
    assert_eq!(work_folder(&empty.join("..")), {
        let full = place.folder.path().canonicalize().unwrap();
        full.with_file_name(format!("{}.work", full.file_name().unwrap().to_str().unwrap()))
    });
}

#[test]
fn measurements_replace_measurements_only() {
    let place = Place::new();
    let suite = "rounds = 1\n[[models]]\nid = 'tiny'\nname = 'tiny'\nstep = 'distil'\nmodel = 'checkpoint'\n";
    place.write("suite.toml", suite);
    place.write("measured/tiny.json", "{\"rows\": 7}");
    let measure = ["measure", "suite.toml", "--data", "train.tsv", "-o", "measured"];
    place.refused(&measure, "tiny.json: is not a measurement");
    std::fs::remove_file(place.path("measured/tiny.json")).unwrap();
    place.write("measured/notes.txt", "notes");
    for _ in 0..2 {
        place.succeed(&measure);
    }
    assert!(place.path("measured/notes.txt").exists());
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: PathBuf) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn outputs_have_the_usual_modes_and_files_that_are_changed_keep_theirs() {
        let place = Place::new();
        std::fs::write(place.path("plain"), "").unwrap();
        let usual = mode(place.path("plain"));
        let at = |name: &str| place.path(name);
        place.succeed(&[&TEACHER[..], &["-o", "out"]].concat());
        for name in ["model.safetensors", "config.json", "tokenizer.json", "recipe.toml"] {
            assert_eq!(mode(at("out").join(name)), usual, "{name}");
        }
        assert_eq!(mode(at("out")), mode(at("mine")));
        assert_eq!(mode(at("out.work/metrics.jsonl")), usual);
        let changed = ["config.json", "exits.json", "curve.svg", "sensitivity.jsonl"];
        for name in changed {
            let path = at("out").join(name);
            std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
        }
        place.succeed(&["calibrate", "out", "--data", "train.tsv"]);
        let budget = ["--max-divergence", "1"];
        place.succeed(&[&["sensitivity", "out", "--data", "train.tsv"][..], &budget].concat());
        for name in changed {
            assert_eq!(mode(at("out").join(name)), 0o640, "{name}");
        }
        assert_eq!(mode(at("out/curve.csv")), usual);
    }
}
