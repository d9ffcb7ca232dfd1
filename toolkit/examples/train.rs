//! Trains a classifier from Rust and exports it: data, recipe, training, bundle, answer.
//!
//!     cargo run --release -p edge-toolkit --example train -- models/fixtures/bert-exits out
//!
//! The start is a tiny BERT, which trains in seconds; `models/sst2-minilm` or a BERT of your own
//! learns more.

use anyhow::Context;
use candle_core::{DType, Device};
use edge_runtime::Classifier;
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::export::export;
use edge_toolkit::train::recipe::Recipe;
use edge_toolkit::train::{Event, Options, train};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Subjects of the training texts, each with its label.
const SUBJECTS: [(&str, &str); 6] = [
    ("money", "billing"),
    ("card", "billing"),
    ("invoice", "billing"),
    ("screen", "technical"),
    ("program", "technical"),
    ("button", "technical"),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [start, output] = arguments.as_slice() else {
        anyhow::bail!("usage: train CHECKPOINT OUTPUT");
    };
    let output = Path::new(output);
    std::fs::create_dir_all(output)?;

    // A table with a header: one text and one label a row.
    let mut rows = String::from("text,label\n");
    for number in 0..50 {
        for (subject, label) in SUBJECTS {
            rows += &format!("ticket {number} is about the {subject} again,{label}\n");
        }
    }
    std::fs::write(output.join("train.csv"), rows)?;

    // A recipe is a file, so that a checkpoint can include the settings of its training.
    let recipe = output.join("recipe.toml");
    let start = std::path::absolute(start)?;
    let text = format!(
        "[data]\ntrain = 'train.csv'\nhold_out = 40\nhold_out_words = 3\n\
         [model]\nstart = '{}'\nexits = 'all'\n\
         [train]\nepochs = 3\nbatch = 16\nlearning_rate = 3e-3\n",
        start.display()
    );
    std::fs::write(&recipe, text)?;

    let options = Options {
        output: output.join("student").into(),
        device: Device::Cpu,
        precision: DType::F32,
        stored: DType::F32,
        resume: true,
    };
    let trained =
        train(&Recipe::read(&recipe)?, &options, &AtomicBool::new(false), &mut |event| {
            if let Event::Note(note) = event {
                println!("{note}");
            }
        })?;
    println!("{} steps; accuracy on held-out rows: {:.2?}", trained.steps, trained.held_out);

    let checkpoint = Checkpoint::open(output.join("student"))?;
    let bundle = output.join("model.edge");
    export(&checkpoint, checkpoint.config.int8(), &bundle, |_, _, _| ())?;
    let classifier = Classifier::open(&bundle)?;
    let answers = classifier.classify(&["my card again"], &classifier.policy())?;
    println!("my card again: {}", answers.first().context("an answer for each text")?.label);
    Ok(())
}
