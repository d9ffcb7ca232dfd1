//! The teacher's logits of every text, computed once and stored on disk.

use super::corpus::Corpus;
use super::options::check;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::data::in_order;
use crate::files::Draft;
use crate::network::Network;
use crate::network::{Batch, Mode, write_tensors};
use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Number of sentences in a batch.
const BATCH: usize = 64;

/// Logits of a network for texts of these token ids, `[texts][exits][labels]`, in their order.
/// `mode` applies, but the CPU always uses the fused form.
///
/// # Errors
/// [`Error::Compute`]; [`Error::Interrupted`] if `stop` is set.
pub fn predict<S: AsRef<[u32]>>(
    network: &Network,
    mode: &Mode,
    ids: &[S],
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<Vec<f32>>>, Error> {
    let mode = Mode { fused: network.device.is_cpu(), ..*mode };
    let lengths: Vec<usize> = ids.iter().map(|ids| ids.as_ref().len()).collect();
    let mut logits = vec![Vec::new(); ids.len()];
    let mut done = 0;
    for chosen in in_order(&lengths, BATCH) {
        check(stop)?;
        let batch = Batch::new(chosen.iter().map(|i| &ids[*i]));
        for exit in network.forward(&batch, &mode)?.logits {
            for (i, row) in chosen.iter().zip(exit.to_vec2::<f32>()?) {
                logits[*i].push(row);
            }
        }
        done += chosen.len();
        progress(done, ids.len());
    }
    Ok(logits)
}

/// Logits of the teacher's last exit for every row of the corpus, row major. They come from the
/// cache if it has the same `key`, the [`digest`] of teacher and texts.
///
/// # Errors
/// [`Error::Io`], [`Error::Compute`], [`Error::Interrupted`].
pub fn cached(
    network: &Network,
    (corpus, key): (&Corpus, &[u8]),
    cache: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<f32>, Error> {
    if let Ok(stored) = candle_core::safetensors::load(cache, &Device::Cpu)
        && let (Some(k), Some(logits)) = (stored.get("key"), stored.get("logits"))
        && k.to_vec1::<u8>().is_ok_and(|k| k == key)
    {
        return Ok(logits.flatten_all()?.to_vec1()?);
    }
    let logits = predict(network, &Mode::predict(), &corpus.ids, stop, progress)?;
    let rows = logits.len();
    let last: Vec<f32> = logits.into_iter().filter_map(|mut exits| exits.pop()).flatten().collect();
    let classes = last.len() / rows.max(1);
    let tensors = HashMap::from([
        ("key".to_owned(), Tensor::new(key, &Device::Cpu)?),
        ("texts".to_owned(), Tensor::new(corpus.digest.as_slice(), &Device::Cpu)?),
        ("logits".to_owned(), Tensor::from_slice(&last, (rows, classes), &Device::Cpu)?),
    ]);
    let draft = Draft::create(cache)?;
    write_tensors(&tensors, draft.path())?;
    draft.commit()?;
    Ok(last)
}

/// Digest of the inputs of the logits: the weights and the tokens.
///
/// # Errors
/// [`Error::Io`].
pub fn digest(checkpoint: &Checkpoint, corpus: &Corpus) -> Result<[u8; 32], Error> {
    let path = checkpoint.weights_path();
    let mut digest = Sha256::new();
    digest.update(edge_export::text_file::read_file(&path)?);
    digest.update(corpus.digest);
    for ids in &corpus.ids {
        digest.update((ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
    }
    Ok(digest.finalize().into())
}

/// Reads the logits of an external teacher; see [`super::recipe::Teacher::outputs`].
///
/// # Errors
/// [`Error::Data`] if the logits are for other texts or other labels.
pub fn read_outputs(path: &PathBuf, corpus: &Corpus) -> Result<Vec<f32>, Error> {
    let wrong = |problem: String| Error::Data { path: path.clone(), line: None, problem };
    let stored = candle_core::safetensors::load(path, &Device::Cpu)
        .map_err(|e| wrong(format!("not a safetensors file: {e}")))?;
    let tensor =
        |name: &str| stored.get(name).ok_or_else(|| wrong(format!("tensor `{name}` is missing")));
    let (logits, texts) = (tensor("logits")?, tensor("texts")?);
    let shape = [corpus.ids.len(), corpus.labels.len()];
    if logits.dims() != shape || logits.dtype() != DType::F32 {
        return Err(wrong(format!(
            "`logits` is {:?} {:?}; expected F32 {shape:?} for this data",
            logits.dtype(),
            logits.dims()
        )));
    }
    if !texts.to_vec1::<u8>().is_ok_and(|t| t == corpus.digest) {
        return Err(wrong(
            "was made for other texts: expected `texts` to be the SHA-256 of the texts of this run"
                .into(),
        ));
    }
    let logits: Vec<f32> = logits.flatten_all()?.to_vec1()?;
    match logits.iter().position(|l| !l.is_finite()) {
        Some(i) => Err(wrong(format!(
            "`logits` contains {} in row {}; expected finite values",
            logits[i],
            i / shape[1]
        ))),
        None => Ok(logits),
    }
}
