//! Runs of `edge-distill` that are killed, interrupted and resumed.
#![cfg(unix)]

use edge_toolkit::rng::Rng;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Number of training rows, in batches of 16, and of passes over them: 65 steps.
const ROWS: usize = 208;
const EPOCHS: usize = 5;
const STEPS: usize = 65;

/// Number of metrics lines: one for every step, and one for the held-out rows of every pass.
const LINES: usize = STEPS + EPOCHS;

/// A folder with data and a recipe.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        std::fs::write(place.path("data.tsv"), data()).unwrap();
        place.write_recipe("1e-3");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn work(&self) -> PathBuf {
        self.path("out.work")
    }

    fn write_recipe(&self, learning_rate: &str) {
        let start = Path::new("../models/fixtures/bert-exits").canonicalize().unwrap();
        let recipe = format!(
            "[data]
             train = 'data.tsv'
             hold_out = 16
             [model]
             start = '{}'
             [losses]
             self = 0.5
             [train]
             epochs = {EPOCHS}
             batch = 16
             learning_rate = {learning_rate}
             dropout = 0.1
             save_every = 5
             log_every = 1",
            start.display()
        );
        std::fs::write(self.path("recipe.toml"), recipe).unwrap();
    }

    fn start(&self, resume: bool) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-distill"));
        command.args(["finetune", "--device", "cpu", "--recipe"]).arg(self.path("recipe.toml"));
        command.arg("--output").arg(self.path("out"));
        if resume {
            // The number of threads changes no bit and may differ in a resumed run.
            command.arg("--resume").env("RAYON_NUM_THREADS", "1");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs to the end; standard error must contain `says`.
    fn run(&self, resume: bool, code: i32, says: &[&str]) {
        let output = self.start(resume).wait_with_output().unwrap();
        ended(&output, code, says);
    }

    /// Waits until this number of lines of metrics is written, or the run has ended.
    fn wait_for_lines(&self, run: &mut Child, lines: usize) {
        self.wait_for_lines_in(&self.work(), run, lines);
    }

    fn wait_for_lines_in(&self, work: &Path, run: &mut Child, lines: usize) {
        let begun = Instant::now();
        let path = work.join("metrics.jsonl");
        // A run that starts again overwrites the lines of the earlier run.
        let count = || {
            let bytes = std::fs::read(&path).unwrap_or_default();
            bytes.iter().filter(|b| **b == b'\n').count()
        };
        while count() < lines && run.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "no {lines} lines of metrics");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts a run and kills it after this number of lines. Returns true if the run was still
    /// going.
    fn start_and_kill(&self, resume: bool, lines: usize) -> bool {
        let mut run = self.start(resume);
        self.wait_for_lines(&mut run, lines);
        run.kill().unwrap();
        let output = run.wait_with_output().unwrap();
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{output:?}");
        killed
    }

    fn interrupt_after(&self, lines: usize) {
        let mut run = self.start(false);
        self.wait_for_lines(&mut run, lines);
        interrupt(&run);
        ended(&run.wait_with_output().unwrap(), 130, &["stopped after step", "--resume"]);
    }

    fn weights(&self) -> Vec<u8> {
        std::fs::read(self.path("out/model.safetensors")).unwrap()
    }

    fn check_weights(&self, about: &str) {
        assert!(self.weights() == *UNDISTURBED, "{about}: other weights");
    }

    fn states(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.work()).unwrap().map(|e| e.unwrap().path());
        let is_state = |path: &PathBuf| {
            path.file_name().unwrap().to_string_lossy().strip_prefix("state-").is_some()
        };
        entries.filter(is_state).collect()
    }
}

/// Weights of an undisturbed run.
static UNDISTURBED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let place = Place::new();
    place.run(false, 0, &["65 steps"]);
    assert_eq!(place.states(), [] as [PathBuf; 0], "a state is left over");
    let metrics = std::fs::read_to_string(place.work().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), LINES);
    place.weights()
});

/// Sentences of the fixture's own words. Sentences with more words of the first half are positive.
fn data() -> String {
    let tokenizer = std::fs::read("../models/fixtures/bert-exits/tokenizer.json").unwrap();
    let tokenizer: serde_json::Value = serde_json::from_slice(&tokenizer).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut words: Vec<&str> = vocabulary.keys().map(String::as_str).collect();
    words.retain(|word| word.len() > 2 && word.bytes().all(|b| b.is_ascii_lowercase()));
    assert!(words.len() > 100, "{} words", words.len());
    words.sort_unstable();
    let mut rng = Rng::new(&[3]);
    let mut data = "sentence\tlabel\n".to_owned();
    for _ in 0..ROWS + 16 {
        let length = 8 + rng.below(40);
        let chosen: Vec<_> = (0..length).map(|_| rng.below(words.len())).collect();
        let first = chosen.iter().filter(|word| **word < words.len() / 2).count();
        let sentence: Vec<_> = chosen.iter().map(|word| words[*word]).collect();
        data += &format!("{}\t{}\n", sentence.join(" "), usize::from(2 * first > chosen.len()));
    }
    data
}

fn interrupt(run: &Child) {
    let pid = run.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

fn ended(output: &Output, code: i32, says: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{:?}: {said}", output.status);
    assert!(!said.contains("panicked"), "{said}");
    for part in says {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let place = Place::new();
    let (mut in_time, mut in_time_resumed) = (0, 0);
    for round in 0..10u64 {
        let mut rng = Rng::new(&[round]);
        let mut lines = rng.below(LINES - 5);
        // Overwrites the checkpoint and the state of the round before.
        in_time += usize::from(place.start_and_kill(false, lines));
        for _ in 0..rng.below(3) {
            lines += rng.below(LINES - lines + 1);
            in_time_resumed += usize::from(place.start_and_kill(true, lines));
        }
        place.run(true, 0, &[]);
        place.check_weights(&format!("round {round}"));
        assert_eq!(place.states(), [] as [PathBuf; 0], "a state is left over");
        std::fs::remove_dir_all(place.path("out")).unwrap();
        std::fs::remove_file(place.work().join("metrics.jsonl")).unwrap();
    }
    println!("killed {in_time} of 10 runs, and {in_time_resumed} that went on");
    assert!(in_time >= 8, "only {in_time} of 10 runs were killed in time");
}

#[test]
fn an_interrupted_run_goes_on() {
    let place = Place::new();
    place.interrupt_after(7);
    let stored = place.states();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let copy = place.path("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(&stored[0]).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    place.run(true, 0, &["going on after step", "65 steps"]);
    place.check_weights("interrupted");
    let metrics = std::fs::read_to_string(place.work().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), LINES, "{metrics}");

    // A complete run is left unchanged.
    let written = || std::fs::metadata(place.path("out/model.safetensors")).unwrap().modified();
    let before = written().unwrap();
    place.run(true, 0, &["is complete already"]);
    assert_eq!(written().unwrap(), before);

    // Simulates a kill between writing the checkpoint and removing the state.
    std::fs::remove_file(place.work().join("complete.json")).unwrap();
    std::fs::rename(copy, &stored[0]).unwrap();
    place.run(true, 0, &["going on after step"]);
    place.check_weights("killed after the checkpoint");
}

#[test]
fn all_goes_on_by_the_same_command() {
    let place = Place::new();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-distill"));
        command.args(["all", "--device", "cpu", "--student"]).arg(place.path("recipe.toml"));
        command.arg("--test").arg(place.path("data.tsv")).arg("-o").arg(place.path("all"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut run = start();
    place.wait_for_lines_in(&place.path("all/student.work"), &mut run, 7);
    interrupt(&run);
    let stopped = run.wait_with_output().unwrap();
    ended(&stopped, 130, &["stopped after step", "run the same command again to go on"]);
    assert!(!String::from_utf8_lossy(&stopped.stderr).contains("--resume"));
    ended(&start().wait_with_output().unwrap(), 0, &["going on after step"]);
    let weights = std::fs::read(place.path("all/student/model.safetensors")).unwrap();
    assert!(weights == *UNDISTURBED, "other weights");
}

#[test]
fn another_recipe_does_not_go_on() {
    let place = Place::new();
    place.interrupt_after(7);
    place.write_recipe("2e-3");
    place.run(true, 2, &["another recipe", "to begin again"]);
    // The state still works for its own recipe.
    place.write_recipe("1e-3");
    place.run(true, 0, &["going on after step"]);
    place.check_weights("refused once");
}

#[test]
fn a_damaged_state_is_an_error() {
    let place = Place::new();
    place.interrupt_after(7);
    for file in ["tensors.safetensors", "position.json"] {
        let path = place.states()[0].join(file);
        let whole = std::fs::read(&path).unwrap();
        for length in [whole.len() - 1, whole.len() / 2, 5, 0] {
            std::fs::write(&path, &whole[..length]).unwrap();
            place.run(true, 2, &[path.to_str().unwrap(), "damaged", "to begin again"]);
        }
        std::fs::write(&path, whole).unwrap();
    }
    place.run(true, 0, &["going on after step"]);
    place.check_weights("mended");
}

#[test]
fn a_diverging_run_says_what_to_try() {
    let place = Place::new();
    place.write_recipe("1e30");
    place.run(false, 2, &["at step", "learning_rate"]);
    assert!(!place.path("out").exists());
}
