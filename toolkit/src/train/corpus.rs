//! Texts of a run: reading, splitting, and tokenizing.

use super::recipe::Recipe;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::data::{Columns, Dataset, Example, Split, hold_out};
use crate::hub::Hub;
use crate::network::Batch;
use edge_runtime::tokenizer::Tokenizer;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Texts of a run.
pub struct Corpus {
    /// Names of the labels.
    pub labels: Vec<String>,
    /// Rows of the training data, followed by the unlabelled ones.
    pub examples: Vec<Example>,
    /// Token ids of every row.
    pub ids: Vec<Vec<u32>>,
    /// Number of tokens of every row.
    pub lengths: Vec<usize>,
    /// Training rows and held-out rows.
    pub split: Split,
    /// SHA-256 of the trimmed texts, joined by newlines.
    pub digest: [u8; 32],
}

impl Corpus {
    /// Reads the data of the recipe; `note` receives the guesses.
    ///
    /// # Errors
    /// Errors of reading, splitting and tokenizing.
    pub fn read(
        recipe: &Recipe,
        tokenizer: &Tokenizer,
        note: &mut dyn FnMut(String),
    ) -> Result<Self, Error> {
        let (dataset, examples) = read(recipe, note)?;
        let labelled: Vec<&str> = dataset.texts();
        let data = &recipe.data;
        let held_out = data.hold_out.of(labelled.len());
        let mut split = if held_out == 0 {
            Split { train: (0..labelled.len()).collect(), held_out: Vec::new() }
        } else {
            hold_out(&labelled, held_out, data.hold_out_seed, data.hold_out_words)?
        };
        split.train.extend(labelled.len()..examples.len());
        let ids = examples
            .par_iter()
            .map(|e| Ok(tokenizer.encode(&e.text)?.ids))
            .collect::<Result<Vec<_>, edge_runtime::Error>>()
            .map_err(Error::Tokenizer)?;
        let mut digest = Sha256::new();
        for (i, example) in examples.iter().enumerate() {
            digest.update(if i > 0 { "\n" } else { "" });
            digest.update(example.text.trim());
        }
        Ok(Corpus {
            labels: dataset.labels,
            lengths: ids.iter().map(Vec::len).collect(),
            examples,
            ids,
            split,
            digest: digest.finalize().into(),
        })
    }

    /// Batch of these rows.
    pub fn batch(&self, rows: &[usize]) -> Batch {
        Batch::new(rows.iter().map(|r| &self.ids[*r]))
    }
}

/// Labelled data set, and all rows.
fn read(recipe: &Recipe, note: &mut dyn FnMut(String)) -> Result<(Dataset, Vec<Example>), Error> {
    let data = &recipe.data;
    let columns = data.columns();
    let labels = (!data.labels.is_empty()).then_some(data.labels.as_slice());
    let files = Hub::from_env()?.resolve_dataset(&data.train.to_string_lossy(), "train")?;
    let (dataset, guess) = Dataset::read_all(&files, &columns, labels)?;
    note(format!("{}: {} rows, {guess}", data.train.display(), dataset.examples.len()));
    let mut examples = dataset.examples.clone();
    if let Some(path) = &data.unlabelled {
        let columns = Columns { label: None, ..columns };
        let (more, guess) = Dataset::read_unlabelled(path, &columns)?;
        note(format!("{}: {} rows without labels, {guess}", path.display(), more.examples.len()));
        examples.extend(more.examples);
    }
    Ok((dataset, examples))
}

/// Tokenizer of a checkpoint, which truncates texts to `max_tokens` or to the maximum of the
/// network.
///
/// # Errors
/// Errors of reading the tokenizer.
pub fn tokenizer(checkpoint: &Checkpoint, max_tokens: usize) -> Result<Tokenizer, Error> {
    Ok(checkpoint.text_tokenizer(max_tokens)?)
}
