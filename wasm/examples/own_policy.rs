//! Chooses an exit policy from your own texts: at each exit the smallest confidence at which its
//! label equals the label of the last exit.
//!
//!     cargo run --release -p edge-runtime --example own_policy -- model.edge texts.txt
//!
//! The texts need no labels. On other texts the agreement is only likely. `edge-distill calibrate`
//! chooses thresholds for a budget of accuracy, on rows with labels.

use anyhow::Context;
use edge_runtime::task::single_label::{argmax, confidence};
use edge_runtime::{Classifier, ExitPolicy, Thresholds};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts] = arguments.as_slice() else {
        anyhow::bail!("usage: own_policy MODEL.edge TEXTS");
    };
    let classifier = Classifier::open(model)?;
    let file = std::fs::read_to_string(texts).with_context(|| format!("cannot read {texts}"))?;
    let texts: Vec<&str> = file.lines().filter(|line| !line.trim().is_empty()).collect();

    // At full depth each text passes all exits.
    let whole = classifier.classify(&texts, &ExitPolicy::Never)?;
    let mut thresholds = vec![0.0f32; classifier.manifest().exits()];
    for answer in &whole {
        let last = argmax(answer.exits.last().context("a model has an exit")?);
        for (logits, threshold) in answer.exits.iter().zip(&mut thresholds) {
            if argmax(logits) != last {
                *threshold = threshold.max(confidence(logits).next_up().min(1.0));
            }
        }
    }
    println!("thresholds: {thresholds:.3?}");

    let policy = ExitPolicy::Confidence { threshold: Thresholds::PerExit(thresholds) };
    let early = classifier.classify(&texts, &policy)?;
    let same = early.iter().zip(&whole).filter(|(a, b)| a.label == b.label).count();
    let layers: usize = early.iter().map(|a| classifier.layers_through(a.stage)).sum();
    let mean = layers as f64 / texts.len().max(1) as f64;
    let all = classifier.manifest().encoder.layers;
    println!(
        "{same} of {} answers are those of full depth, with {mean:.2} of {all} layers",
        texts.len()
    );
    Ok(())
}
