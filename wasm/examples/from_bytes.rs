//! Answers while a model is still arriving: pieces of bytes go into a `Loader`, which verifies
//! them.
//!
//!     cargo run --release -p edge-runtime --example from_bytes -- model.edge "what a wonderful film"
//!
//! The pieces come from a file here; they may come from a socket, a flash memory or a download.

use anyhow::Context;
use edge_runtime::{Limits, Loader};
use std::io::Read;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, text] = arguments.as_slice() else {
        anyhow::bail!("usage: from_bytes MODEL.edge TEXT");
    };
    let mut file = std::fs::File::open(model).with_context(|| format!("cannot open {model}"))?;
    let mut loader: Loader = Loader::new(Limits::default());
    let mut piece = vec![0; 64 << 10];
    let mut walk = None;
    loop {
        let length = file.read(&mut piece)?;
        loader.push(piece[..length].to_vec())?;
        // The classifier exists once the tokenizer has arrived; each further stage answers more
        // texts.
        if let Some(classifier) = loader.classifier() {
            if walk.is_none() {
                let tokens = classifier.tokenize(text)?;
                walk = Some(classifier.begin(vec![tokens], &classifier.policy())?);
            }
            if let Some(walk) = &mut walk
                && classifier.advance(walk)?
                && let Some(answer) = walk.predictions()[0].as_ref()
            {
                let total = loader.total().unwrap_or(0);
                println!("{} after {} of {total} bytes", answer.label, loader.bytes());
                return Ok(());
            }
        }
        if length == 0 {
            loader.check_complete()?;
            anyhow::bail!("{model}: ended before a text could leave");
        }
    }
}
