//! Outputs of `edge-export`: files of other origin are kept, devices and pipes stay devices and
//! pipes.

use edge_runtime::Classifier;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with texts, files of other origin and a checkpoint.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.write("train.tsv", b"sentence\tlabel\na good film\tup\na bad film\tdown\n");
        place.write("mine/train.csv", b"rows that took a week");
        place.write("mine/config.json", b"settings of another program");
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fixtures/bert-exits");
        for file in ["config.json", "exits.json", "model.safetensors", "tokenizer.json"] {
            let bytes = std::fs::read(fixture.join(file)).unwrap();
            place.write(&format!("checkpoint/{file}"), &bytes);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-export"));
        command.arg("checkpoint").args(arguments).current_dir(self.folder.path());
        command
    }

    fn export(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Every file with its content.
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

#[test]
fn an_output_that_nobody_reads_to_its_end_is_no_error() {
    let place = Place::new();
    let mut export = place.command(&["-o", "model.edge"]);
    let mut child = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(place.path("model.edge").exists());
}

#[test]
fn an_export_makes_its_folders_and_leaves_the_checkpoint() {
    let place = Place::new();
    let succeed = |arguments: &[&str]| {
        let output = place.export(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    };
    succeed(&["--format", "onnx", "-o", "onnx/of/model.onnx"]);
    for name in ["model.onnx", "tokenizer.json", "config.json"] {
        assert!(place.path("onnx/of").join(name).exists(), "{name}");
    }
    succeed(&["-o", "edge/model.edge"]);
    succeed(&["-o", "checkpoint/model.edge"]);
    Classifier::open(place.path("edge/model.edge")).unwrap();

    let before = place.files();
    for arguments in [
        &["-o", "checkpoint/model.safetensors"][..],
        &["-o", "checkpoint/config.json"],
        &["--format", "onnx", "-o", "checkpoint/../checkpoint/tokenizer.json"],
        &["--format", "onnx", "-o", "mine/model.onnx"],
        &["--format", "onnx", "-o", "new/config.json"],
        &["--format", "tensorrt", "--calibrate", "train.tsv", "-o", "train.tsv"],
        &["-o", "mine"],
    ] {
        let output = place.export(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        let target = Path::new(arguments.last().unwrap()).file_name().unwrap();
        assert!(said.contains(target.to_str().unwrap()) || said.contains("config.json"), "{said}");
        assert!(place.files() == before, "{arguments:?} changed files");
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::fs::Permissions;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    fn mode(path: PathBuf) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_model_goes_into_devices_pipes_and_the_files_of_links() {
        let place = Place::new();
        let succeed = |arguments: &[&str]| {
            let output = place.export(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", said(&output));
            output
        };
        succeed(&["-o", "model.edge"]);
        let whole = std::fs::read(place.path("model.edge")).unwrap();

        std::fs::write(place.path("older.edge"), "older").unwrap();
        std::fs::set_permissions(place.path("older.edge"), Permissions::from_mode(0o640)).unwrap();
        symlink("older.edge", place.path("link.edge")).unwrap();
        succeed(&["-o", "link.edge"]);
        assert!(place.path("link.edge").is_symlink());
        assert!(std::fs::read(place.path("older.edge")).unwrap() == whole);
        assert_eq!(mode(place.path("older.edge")), 0o640);

        for format in ["edge", "onnx"] {
            let fifo = place.path(format);
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            let reader = std::thread::spawn({
                let fifo = fifo.clone();
                move || {
                    let mut bytes = Vec::new();
                    std::fs::File::open(fifo).unwrap().read_to_end(&mut bytes).unwrap();
                    bytes
                }
            });
            succeed(&["--format", format, "-o", format]);
            let bytes = reader.join().unwrap();
            assert!(format == "onnx" && !bytes.is_empty() || bytes == whole);
            assert!(fifo.symlink_metadata().unwrap().file_type().is_fifo());
        }
        assert!(!place.path("tokenizer.json").exists(), "nothing is put beside a pipe");

        // Messages about the model go to another stream.
        assert!(succeed(&["-o", "/dev/stdout"]).stdout == whole);

        let null = place.path("null");
        let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).output();
        let made = made.is_ok_and(|made| made.status.success());
        if !made || std::fs::File::create(&null).is_err() {
            eprintln!(
                "SKIPPED: no device node can be made here, it takes root and a file system with devices"
            );
            return;
        }
        succeed(&["-o", "null"]);
        succeed(&["--format", "onnx", "-o", "null"]);
        assert!(null.symlink_metadata().unwrap().file_type().is_char_device());
        assert!(!place.path("tokenizer.json").exists(), "nothing is put beside a device");
    }
}
