//! Choice of the model: the first argument, `$EDGE_MODEL`, or the shipped model.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// Path of the shipped model in the project.
const SHIPPED: &str = "models/sst2-minilm/model.edge";

/// Returns true if a path has an extension, in small letters or capitals.
pub fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// Removes the model from the front of the arguments, if the first argument names one.
///
/// A first argument that exists, or looks like a path, is the model or an error. As a text, it
/// would be classified by a wrong model.
pub fn choose(arguments: &mut Vec<String>) -> anyhow::Result<PathBuf> {
    let Some(first) = arguments.first() else { return shipped() };
    let path = Path::new(first);
    if path.is_dir() {
        let remedy = if path.join("config.json").exists() {
            format!("a checkpoint's folder; export it first: edge-export {first} -o model.edge")
        } else {
            "a folder; expected the path of a model.edge or of an .onnx file".into()
        };
        bail!("{first} is {remedy}");
    }
    if path.exists() || has_extension(path, "edge") || has_extension(path, "onnx") {
        return Ok(PathBuf::from(arguments.remove(0)));
    }
    if looks_like_path(first) {
        bail!(
            "there is no file {first}; expected the path of a model.edge or of an .onnx file. If it \
             is a text, put the model before it: edge-run MODEL {first:?}"
        );
    }
    shipped()
}

/// Returns true if an argument is more likely a path than a text: it lacks white space, and has a
/// separator or ends like a file name.
fn looks_like_path(argument: &str) -> bool {
    let extension = || {
        let (stem, extension) = argument.rsplit_once('.')?;
        let letters = extension.chars().all(|c| c.is_ascii_alphanumeric());
        let some = extension.chars().any(|c| c.is_ascii_alphabetic());
        Some(!stem.is_empty() && letters && some && (2..=8).contains(&extension.len()))
    };
    !argument.contains(char::is_whitespace)
        && (argument.contains(std::path::is_separator) || extension() == Some(true))
}

/// Finds `$EDGE_MODEL`, or the shipped model: in this folder, or in the project that the program
/// was built in. The path of a shipped model is printed on standard error.
fn shipped() -> anyhow::Result<PathBuf> {
    if let Some(model) = std::env::var_os("EDGE_MODEL") {
        return Ok(model.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let found = std::iter::once(Path::new("."))
        .chain(program.ancestors())
        .map(|folder| folder.join(SHIPPED))
        .find(|path| path.exists());
    let model = found.with_context(|| {
        format!(
            "no model: name one (edge-run MODEL …), set EDGE_MODEL, or make {SHIPPED} with ./demo"
        )
    })?;
    eprintln!("edge-run: no model is named; using {}", model.display());
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_texts_are_told_apart() {
        for path in
            ["out/model.edg", "out/student", "./x", "model.edg", "a.b.onxx", "and/or", "x.PTH"]
        {
            assert!(looks_like_path(path), "{path}");
        }
        for text in [
            "good",
            "a wonderful film.",
            "it runs on node.js",
            "U.S.",
            "3.5",
            "wow...",
            "either / or",
            ".net",
            "",
        ] {
            assert!(!looks_like_path(text), "{text}");
        }
    }
}
