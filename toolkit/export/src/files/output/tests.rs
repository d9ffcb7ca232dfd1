use super::*;
use crate::files::unfinished;
use std::fs::{create_dir, read_to_string, write};

const MINE: &str = "rows that took a week";

fn output(folder: &Path, force: bool) -> Output {
    Output { folder: folder.into(), force }
}

/// Writes files with `text` into the output.
fn fill(output: &Output, names: &[&str], text: &str) -> Result<(), Error> {
    output.replace(|new| {
        names.iter().for_each(|name| write(new.join(name), text).unwrap());
        Ok(())
    })
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn refused(result: Result<(), Error>, said: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Output { .. }), "{error}");
    assert!(error.to_string().contains(said), "{error} (not {said})");
}

#[test]
fn a_folder_with_files_of_others_is_refused_and_stays() {
    let place = tempfile::tempdir().unwrap();
    write(place.path().join("train.csv"), MINE).unwrap();
    write(place.path().join("config.json"), MINE).unwrap();
    let output = output(place.path(), false);
    refused(output.check(&[]), "(config.json and 1 more)");
    refused(output.check(&[]), "--force");
    refused(output.open(), "did not write");
    refused(fill(&output, &["config.json"], "new"), "did not write");
    assert_eq!(entries(place.path()), ["config.json", "train.csv"]);
    assert_eq!(read_to_string(place.path().join("config.json")).unwrap(), MINE);
}

#[test]
fn new_and_empty_folders_and_earlier_outputs_are_written() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("not/yet");
    let output = output(&folder, false);
    output.check(&[]).unwrap();
    assert!(!folder.exists(), "a check makes nothing");
    fill(&output, &["config.json", "exits.json", "words.txt"], "first").unwrap();
    fill(&output, &["config.json"], "second").unwrap();
    // Files that only the first output had are gone, and so is everything computed from them.
    assert_eq!(entries(&folder), [MARKER, "config.json"]);
    write(folder.join("curve.csv"), "of the second").unwrap();
    write(folder.join("train.csv"), MINE).unwrap();
    output.check(&[]).unwrap();
    fill(&output, &["config.json"], "third").unwrap();
    assert_eq!(entries(&folder), [MARKER, "config.json", "train.csv"]);
    assert_eq!(read_to_string(folder.join("config.json")).unwrap(), "third");
    assert_eq!(read_to_string(folder.join("train.csv")).unwrap(), MINE);
    // A file that somebody added since is kept.
    refused(fill(&output, &["config.json", "train.csv"], "fourth"), "train.csv");
    assert_eq!(read_to_string(folder.join("train.csv")).unwrap(), MINE);
    assert_eq!(read_to_string(folder.join("config.json")).unwrap(), "third");
}

#[test]
fn force_replaces_the_files_of_a_checkpoint_only() {
    let place = tempfile::tempdir().unwrap();
    for name in ["train.csv", "config.json", "vocab.txt"] {
        write(place.path().join(name), MINE).unwrap();
    }
    create_dir(place.path().join("more")).unwrap();
    let output = output(place.path(), true);
    output.check(&[]).unwrap();
    fill(&output, &["config.json"], "new").unwrap();
    assert_eq!(entries(place.path()), [MARKER, "config.json", "more", "train.csv"]);
    assert_eq!(read_to_string(place.path().join("config.json")).unwrap(), "new");
    assert_eq!(read_to_string(place.path().join("train.csv")).unwrap(), MINE);
}

#[test]
fn a_failure_leaves_the_earlier_output() {
    let place = tempfile::tempdir().unwrap();
    let (folder, new) = (place.path().join("out"), place.path().join("new"));
    fill(&output(&folder, false), &["config.json"], "first").unwrap();
    for path in [&folder, &new] {
        let failed = output(path, false).replace(|new| {
            write(new.join("config.json"), "half").unwrap();
            Err(Error::Unfit("no more".into()))
        });
        assert!(failed.is_err());
    }
    assert_eq!(entries(&folder), [MARKER, "config.json"]);
    assert_eq!(read_to_string(folder.join("config.json")).unwrap(), "first");
    assert_eq!(entries(place.path()), ["out"]);
}

/// A replacement that was killed between any two steps is completed by the next command.
#[test]
fn a_replacement_that_was_cut_off_is_finished() {
    const NAMES: [&str; 3] = ["config.json", "exits.json", "model.safetensors"];
    for moved in 0..=NAMES.len() + 1 {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let output = output(folder, false);
        fill(&output, &["config.json", "vocab.txt"], "first").unwrap();
        write(folder.join("train.csv"), MINE).unwrap();
        let ready = folder.join(".edge-distill.ready");
        create_dir(&ready).unwrap();
        NAMES.iter().for_each(|name| write(ready.join(name), "second").unwrap());
        mark(&ready).unwrap();
        if moved > 0 {
            std::fs::remove_file(folder.join("vocab.txt")).unwrap();
        }
        for name in NAMES.iter().chain([&MARKER]).take(moved) {
            std::fs::rename(ready.join(name), folder.join(name)).unwrap();
        }
        assert_eq!(unfinished(folder), moved <= NAMES.len(), "{moved} moved");
        output.check(&[]).unwrap();
        assert!(!unfinished(folder));
        assert_eq!(entries(folder), [&[MARKER], &NAMES[..], &["train.csv"]].concat());
        for name in NAMES {
            assert_eq!(read_to_string(folder.join(name)).unwrap(), "second", "{moved} moved");
        }
    }
}

#[test]
fn an_input_is_not_written() {
    let place = tempfile::tempdir().unwrap();
    let (student, data) = (place.path().join("student"), place.path().join("train.csv"));
    fill(&output(&student, false), &["config.json", "recipe.toml"], "first").unwrap();
    write(&data, MINE).unwrap();
    write(place.path().join("recipe.toml"), MINE).unwrap();
    let around = place.path().join("student/../student");
    for path in [&student, &around] {
        refused(output(path, true).check(&[&student]), "is read by this command");
    }
    let forced = output(place.path(), true);
    forced.check(&[&student, &data]).unwrap();
    refused(forced.check(&[&place.path().join("recipe.toml")]), "`recipe.toml` in it is read");
    // A run's own recipe is written again unchanged.
    output(&student, false).check(&[&student.join("recipe.toml"), &data]).unwrap();
    refused(output(&student, false).check(&[&student.join("config.json")]), "`config.json`");
}

#[test]
fn a_path_that_is_no_folder_is_named() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("train.csv");
    write(&file, MINE).unwrap();
    refused(output(&file, true).check(&[]), "is a file");
    let below = output(&file.join("out"), false).check(&[]).unwrap_err().to_string();
    assert!(below.contains("train.csv/out"), "{below}");
    create_dir(place.path().join("config.json")).unwrap();
    refused(output(place.path(), true).check(&[]), "`config.json` is a folder");
    refused(output(Path::new("/"), true).check(&[]), "the root of the file system");
    assert_eq!(read_to_string(file).unwrap(), MINE);
}

#[test]
fn a_marker_names_files_of_its_folder_only() {
    let place = tempfile::tempdir().unwrap();
    let (folder, outside) = (place.path().join("out"), place.path().join("train.csv"));
    write(&outside, MINE).unwrap();
    fill(&output(&folder, false), &["config.json"], "first").unwrap();
    let marker = read_to_string(folder.join(MARKER)).unwrap();
    let forged = marker.replace("\"config.json\"", "\"../train.csv\", \"..\", \"config.json\"");
    assert_ne!(marker, forged);
    write(folder.join(MARKER), forged).unwrap();
    fill(&output(&folder, false), &["exits.json"], "second").unwrap();
    assert_eq!(read_to_string(outside).unwrap(), MINE);
    write(folder.join(MARKER), "{\"format\": \"another\"}").unwrap();
    refused(output(&folder, false).check(&[]), "did not write");
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_stays_and_modes_are_the_usual_ones() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o7777;
    create_dir(at("plain")).unwrap();
    fill(&output(&at("new"), false), &["config.json"], "first").unwrap();
    assert_eq!(mode(at("new")), mode(at("plain")));
    std::fs::set_permissions(at("new"), std::fs::Permissions::from_mode(0o750)).unwrap();
    symlink("new", at("link")).unwrap();
    fill(&output(&at("link"), false), &["config.json"], "second").unwrap();
    assert!(at("link").is_symlink());
    assert_eq!(read_to_string(at("new/config.json")).unwrap(), "second");
    assert_eq!(mode(at("new")), 0o750);
    symlink("nowhere", at("dangling")).unwrap();
    refused(output(&at("dangling"), false).check(&[]), "is a link");
}
