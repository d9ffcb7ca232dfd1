//! The teacher's hidden states and attention probabilities of every text, stored on disk and
//! computed once for all epochs.

use super::corpus::Corpus;
use super::loss::Losses;
use super::options::check;
use crate::Error;
use crate::data::in_order;
use crate::files::{self, Draft};
use crate::network::{Batch, Mode};
use crate::network::{Network, Output};
use candle_core::{Device, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Number of sentences in a batch of the teacher.
const BATCH: usize = 32;

/// Description of the stored values, in f16. For every text and every mapped layer of the teacher
/// they are the hidden states `[tokens, hidden]`, then the attention probabilities `[heads, tokens,
/// tokens]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stored {
    /// Digest of teacher and texts.
    key: String,
    /// Layers, counted from 1, ascending.
    layers: Vec<usize>,
    /// Number of the teacher's layers.
    of: usize,
    /// Hidden size; 0 if the hidden states are not stored.
    hidden: usize,
    /// Number of attention heads; 0 if their probabilities are not stored.
    heads: usize,
}

/// Stored layers of a teacher.
pub(super) struct TeacherLayers {
    kind: Stored,
    path: PathBuf,
    file: File,
    /// Offset of every text, in values.
    starts: Vec<u64>,
}

impl Stored {
    /// Number of values of one layer of a text.
    fn values(&self, tokens: usize) -> usize {
        tokens * self.hidden + self.heads * tokens * tokens
    }
}

impl TeacherLayers {
    /// Returns the layers that the losses need. They are read from the folder `work` if it has them
    /// for the same teacher and the same texts, else computed by the teacher.
    pub fn make(
        network: &Network,
        (corpus, key): (&Corpus, &[u8]),
        losses: &Losses,
        work: &Path,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, Error> {
        let mut layers = losses.layer_map.clone();
        layers.sort_unstable();
        layers.dedup();
        let kind = Stored {
            key: key.iter().map(|b| format!("{b:02x}")).collect(),
            layers,
            of: network.blocks.len(),
            hidden: if losses.hidden > 0.0 { network.config.encoder.hidden } else { 0 },
            heads: if losses.attention > 0.0 { network.config.encoder.heads } else { 0 },
        };
        let mut starts = vec![0];
        for tokens in &corpus.lengths {
            starts.push(
                starts.last().unwrap_or(&0) + (kind.layers.len() * kind.values(*tokens)) as u64,
            );
        }
        let (path, label) = (work.join("teacher-layers.f16"), work.join("teacher-layers.json"));
        let stored = std::fs::read(&label).ok().and_then(|json| serde_json::from_slice(&json).ok());
        if stored.as_ref() != Some(&kind) {
            write(network, corpus, &kind, &starts, &path, stop, progress)?;
            files::write(&label, serde_json::to_string(&kind).expect("plain JSON"))?;
        }
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        Ok(TeacherLayers { kind, path, file, starts })
    }

    /// Layers for a batch of the corpus, with the padding of a forward pass.
    pub fn of(&mut self, rows: &[usize], batch: &Batch, device: &Device) -> Result<Output, Error> {
        let Stored { hidden, heads, of, .. } = self.kind;
        let (n, longest) = (self.kind.layers.len(), batch.longest());
        let mut states = vec![Vec::with_capacity(batch.rows() * hidden); n];
        let mut attention = vec![vec![0.0; batch.sentences() * heads * longest * longest]; n];
        for (s, row) in rows.iter().enumerate() {
            let values = self.read(*row)?;
            let tokens = batch.starts[s + 1] - batch.starts[s];
            for (l, values) in values.chunks_exact(self.kind.values(tokens)).enumerate() {
                let (hidden, probabilities) = values.split_at(tokens * hidden);
                states[l].extend_from_slice(hidden);
                for (i, row) in probabilities.chunks_exact(tokens.max(1)).enumerate() {
                    let (head, query) = (i / tokens, i % tokens);
                    let at = ((s * heads + head) * longest + query) * longest;
                    attention[l][at..at + tokens].copy_from_slice(row);
                }
            }
        }
        // Layers without stored values are left empty; the losses use only stored layers.
        let none = Tensor::zeros(0, candle_core::DType::F32, device)?;
        let mut output = Output {
            logits: Vec::new(),
            hidden: vec![none.clone(); of + 1],
            attention: vec![none; of],
        };
        for ((layer, states), attention) in self.kind.layers.iter().zip(states).zip(attention) {
            if hidden > 0 {
                output.hidden[*layer] = Tensor::from_vec(states, (batch.rows(), hidden), device)?;
            }
            if heads > 0 {
                let shape = (batch.sentences(), heads, longest, longest);
                output.attention[layer - 1] = Tensor::from_vec(attention, shape, device)?;
            }
        }
        Ok(output)
    }

    fn read(&mut self, row: usize) -> Result<Vec<f32>, Error> {
        let io = |e| Error::io(&self.path, e);
        let mut bytes = vec![0; 2 * (self.starts[row + 1] - self.starts[row]) as usize];
        self.file.seek(SeekFrom::Start(2 * self.starts[row])).map_err(io)?;
        self.file.read_exact(&mut bytes).map_err(io)?;
        let (pairs, _) = bytes.as_chunks::<2>();
        Ok(pairs.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect())
    }
}

/// Computes the teacher's layers and writes the file.
fn write(
    network: &Network,
    corpus: &Corpus,
    kind: &Stored,
    starts: &[u64],
    path: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), Error> {
    let io = |e| Error::io(path, e);
    let mode =
        Mode { attention: kind.heads > 0, fused: network.device.is_cpu(), ..Mode::predict() };
    let mut draft = Draft::create(path)?;
    let mut done = 0;
    for rows in in_order(&corpus.lengths, BATCH) {
        check(stop)?;
        let batch = corpus.batch(&rows);
        let output = network.forward(&batch, &mode)?;
        let mut texts = vec![Vec::new(); rows.len()];
        for layer in &kind.layers {
            for (s, text) in texts.iter_mut().enumerate() {
                let (from, tokens) = (batch.starts[s], batch.starts[s + 1] - batch.starts[s]);
                if kind.hidden > 0 {
                    let part = output.hidden[*layer].narrow(0, from, tokens)?;
                    text.extend(part.flatten_all()?.to_vec1::<f32>()?);
                }
                if kind.heads > 0 {
                    let part = output.attention[layer - 1].get(s)?;
                    let part = part.narrow(1, 0, tokens)?.narrow(2, 0, tokens)?;
                    text.extend(part.flatten_all()?.to_vec1::<f32>()?);
                }
            }
        }
        for (row, text) in rows.iter().zip(texts) {
            let mut values = vec![f16::ZERO; text.len()];
            values.convert_from_f32_slice(&text);
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            draft.file().seek(SeekFrom::Start(2 * starts[*row])).map_err(io)?;
            draft.file().write_all(&bytes).map_err(io)?;
        }
        done += rows.len();
        progress(done, corpus.lengths.len());
    }
    Ok(draft.commit().map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::data::{Example, Split};

    #[test]
    fn what_is_read_is_what_the_teacher_says() {
        let checkpoint = Checkpoint::open("../models/fixtures/bert-exits").unwrap();
        let network = crate::network::load(&checkpoint, Device::Cpu).unwrap();
        let ids = vec![vec![2, 5, 6, 7, 3], vec![2, 3], vec![2, 8, 9, 3]];
        let corpus = Corpus {
            labels: Vec::new(),
            examples: vec![Example { text: String::new(), label: None }; 3],
            lengths: ids.iter().map(Vec::len).collect(),
            ids,
            split: Split { train: Vec::new(), held_out: Vec::new() },
            digest: [0; 32],
        };
        let losses =
            Losses { hidden: 1.0, attention: 1.0, layer_map: vec![4, 2, 4], ..Losses::default() };
        let work = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(false);
        let mut asked = 0;
        let rows = [2, 0];
        let batch = corpus.batch(&rows);
        for _ in 0..2 {
            let progress = &mut |_, _| asked += 1;
            let made = (&corpus, [7u8; 32].as_slice());
            let mut layers =
                TeacherLayers::make(&network, made, &losses, work.path(), &stop, progress).unwrap();
            let stored = layers.of(&rows, &batch, &Device::Cpu).unwrap();
            let mode = Mode { attention: true, ..Mode::predict() };
            let said = network.forward(&batch, &mode).unwrap();
            let near = |a: &Tensor, b: &Tensor| {
                let off = (a - b).unwrap().abs().unwrap().max_all().unwrap();
                assert!(off.to_scalar::<f32>().unwrap() < 2e-3);
            };
            for layer in [2, 4] {
                near(&stored.hidden[layer], &said.hidden[layer]);
                for (s, span) in batch.starts.windows(2).enumerate() {
                    let tokens = span[1] - span[0];
                    let part = |output: &Output| -> Tensor {
                        let all = output.attention[layer - 1].get(s).unwrap();
                        all.narrow(1, 0, tokens).unwrap().narrow(2, 0, tokens).unwrap()
                    };
                    near(&part(&stored), &part(&said));
                }
            }
        }
        assert_eq!(asked, 1, "the second time the teacher is not asked");
    }
}
