//! Measurements of `edge-bench`, so that another program can time this runtime and a peer in turn.
//!
//! Each measurement answers lines with lines: a line of work comes in, and a line goes out that
//! begins with its nanoseconds.

use crate::Error;
use edge_runtime::Encoded;
use edge_runtime::{Classifier, ExitPolicy};
use std::fmt::Display;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Answers every line of `input` with the result of `measure`, until the input ends.
///
/// # Errors
/// Errors of `measure`, and [`Error::Io`] if a line cannot be read or written.
pub fn answer<A: Display>(
    input: impl BufRead,
    mut output: impl Write,
    mut measure: impl FnMut(&str) -> Result<A, Error>,
) -> Result<(), Error> {
    for line in input.lines() {
        let line = line.map_err(|e| Error::io("standard input", e))?;
        let answer = measure(&line)?;
        writeln!(output, "{answer}")
            .and_then(|()| output.flush())
            .map_err(|e| Error::io("standard output", e))?;
    }
    Ok(())
}

/// Parses the numbers of a line.
///
/// # Errors
/// [`Error::Measure`] if a word is not a number, or the line is empty.
pub fn numbers<T: std::str::FromStr>(line: &str) -> Result<Vec<T>, Error> {
    let number = |word: &str| {
        word.parse()
            .map_err(|_| Error::Measure(format!("`{word}` is not a number in the expected range")))
    };
    let numbers = line.split_whitespace().map(number).collect::<Result<Vec<_>, Error>>()?;
    if numbers.is_empty() {
        return Err(Error::Measure(
            "a line without numbers; expected one or more, separated by spaces".into(),
        ));
    }
    Ok(numbers)
}

/// Opens a bundle.
///
/// # Errors
/// [`Error::Bundle`].
pub fn open(model: &Path) -> Result<Classifier, Error> {
    Classifier::open(model).map_err(|cause| Error::Bundle { path: model.into(), cause })
}

/// Returns the policy of the bundle, or full depth.
pub fn policy(classifier: &Classifier, exits: bool) -> ExitPolicy {
    if exits { classifier.policy() } else { ExitPolicy::Never }
}

/// Classifies one sentence of these token ids. Returns the nanoseconds, and the logits of the exit
/// at which it left.
///
/// # Errors
/// [`Error::Measure`] if an id is not in the vocabulary, or if the computation fails.
pub fn sentence(
    classifier: &Classifier,
    policy: &ExitPolicy,
    ids: Vec<u32>,
) -> Result<String, Error> {
    let manifest = classifier.manifest();
    if ids.len() > manifest.input.max_tokens {
        return Err(Error::Measure(format!(
            "{} tokens; the model takes 1 to {}",
            ids.len(),
            manifest.input.max_tokens
        )));
    }
    if let Some(id) = ids.iter().find(|id| **id as usize >= manifest.encoder.vocabulary) {
        return Err(Error::Measure(format!(
            "token id {id}; expected an id below {}, the number of word pieces",
            manifest.encoder.vocabulary
        )));
    }
    let sentence = vec![Encoded::from_ids(ids)];
    let start = Instant::now();
    let predictions =
        classifier.classify_tokens(sentence, policy).map_err(|e| Error::Measure(e.to_string()))?;
    let spent = start.elapsed();
    let logits = predictions[0].exits.last().expect("an exit was passed");
    let logits: Vec<String> = logits.iter().map(f32::to_string).collect();
    Ok(format!("{} {}", spent.as_nanos(), logits.join(" ")))
}

/// Classifies texts, tokenization included. Returns the time, and the label of each text as an
/// index.
///
/// # Errors
/// [`Error::Measure`] if the computation fails.
pub fn texts(
    classifier: &Classifier,
    policy: &ExitPolicy,
    texts: &[&str],
) -> Result<(Duration, Vec<usize>), Error> {
    let start = Instant::now();
    let predictions =
        classifier.classify(texts, policy).map_err(|e| Error::Measure(e.to_string()))?;
    let spent = start.elapsed();
    let index = |label: &String| classifier.labels().iter().position(|l| l == label);
    Ok((spent, predictions.iter().map(|p| index(&p.label).expect("one of the labels")).collect()))
}

/// Times of loading a model.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Time until the model is open.
    pub open: Duration,
    /// Time until the first answer.
    pub first_answer: Duration,
}

/// Opens a bundle and classifies a text at full depth.
///
/// # Errors
/// [`Error::Bundle`], or [`Error::Measure`] if the computation fails.
pub fn load(model: &Path, text: &str) -> Result<Load, Error> {
    let start = Instant::now();
    let classifier = open(model)?;
    let open = start.elapsed();
    classifier.classify(&[text], &ExitPolicy::Never).map_err(|e| Error::Measure(e.to_string()))?;
    Ok(Load { open, first_answer: start.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::export::export;
    use crate::quantize::Precision;

    fn fixture(folder: &Path) -> Classifier {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fixtures/bert-exits");
        let bundle = folder.join("model.edge");
        export(&Checkpoint::open(&from).unwrap(), Precision::Fp32, &bundle, |_, _, _| {}).unwrap();
        open(&bundle).unwrap()
    }

    #[test]
    fn labels_are_in_the_order_of_the_texts() {
        let folder = tempfile::tempdir().unwrap();
        let classifier = fixture(folder.path());
        let words = ["good", "bad", "a film", "the film is not what it was"];
        let label = |text: &str| texts(&classifier, &ExitPolicy::Never, &[text]).unwrap().1[0];
        let (_, together) = texts(&classifier, &ExitPolicy::Never, &words).unwrap();
        assert_eq!(together, words.map(label));
    }

    #[test]
    fn lines_are_answered_with_lines() {
        let folder = tempfile::tempdir().unwrap();
        let classifier = fixture(folder.path());
        let mut out = Vec::new();
        let serve = |input: &str, out: &mut Vec<u8>| {
            answer(input.as_bytes(), out, |line| {
                sentence(&classifier, &ExitPolicy::Never, numbers(line)?)
            })
        };
        serve("2 5 3\n2 3\n", &mut out).unwrap();
        let lines: Vec<Vec<f64>> =
            std::str::from_utf8(&out).unwrap().lines().map(|l| numbers(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert_eq!(line.len(), 1 + classifier.labels().len());
            assert!(line[0] > 0.0);
        }
        for (line, said) in [("", "without numbers"), ("2 x", "`x`"), ("99999999", "99999999")] {
            let error = serve(&format!("{line}\n"), &mut out).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let long = "2 ".repeat(classifier.manifest().input.max_tokens + 1);
        assert!(serve(&format!("{long}\n"), &mut out).unwrap_err().to_string().contains("1 to"));
    }
}
