//! Classifies the lines of a file in the order of the file, on all processors.
//!
//!     cargo run --release -p edge-runtime --example classify_file -- model.edge texts.txt

use anyhow::Context;
use edge_runtime::Classifier;
use std::io::{BufRead, BufReader, Write};

/// Number of lines that are read before they are classified together.
const LINES: usize = 1024;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts] = arguments.as_slice() else {
        anyhow::bail!("usage: classify_file MODEL.edge TEXTS");
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let classifier = Classifier::open(model)?.with_threads(threads);
    let policy = classifier.policy();
    let file = std::fs::File::open(texts).with_context(|| format!("cannot open {texts}"))?;
    let mut lines = BufReader::new(file).lines();
    let mut out = std::io::stdout().lock();
    loop {
        let part = lines.by_ref().take(LINES).collect::<Result<Vec<String>, _>>()?;
        if part.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = part.iter().map(String::as_str).collect();
        for (text, answer) in texts.iter().zip(classifier.classify(&texts, &policy)?) {
            let probability = answer.probabilities.iter().fold(0.0f32, |a, b| a.max(*b));
            writeln!(out, "{}\t{probability:.3}\tstage {}\t{text}", answer.label, answer.stage)?;
        }
    }
}
