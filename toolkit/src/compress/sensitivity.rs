//! Measurement of the loss that 4-bit weights cause in each linear layer.
//!
//! Each layer is rounded alone. The exits' answers are compared with those of the model in which no
//! layer has 4 bits. The measure is the KL divergence, as a mean over sentences and exits (Cai et
//! al. 2020, "ZeroQ: A Novel Zero Shot Quantization Framework"). Layers are taken in the order of
//! their divergence per saved byte, until a budget is spent. The divergence of all chosen layers
//! together is measured, not summed up.
//!
//! Measurements are recorded line by line, so a run that was stopped continues.

use super::record;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::export::export;
use crate::network::Mode;
use crate::network::Network;
use crate::network::load;
use crate::quantize::Quantize;
use crate::quantize::{Int8, Precision, Site, Sites, int4};
use crate::train::{predict, tokenizer};
use candle_core::Device;
use edge_export::text_file::read_file;
use edge_runtime::bundle::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A linear layer with the loss and the saving that 4 bits cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// [Name](Site::name) of the layer.
    pub site: String,
    /// KL divergence of the exits' probabilities with 4 bits in this layer, in nats.
    pub divergence: f32,
    /// Bytes that 4 bits save.
    pub saved: u64,
    /// Digest of the weights, texts and other bit widths of the measurement.
    key: String,
}

/// Limit on the choice of layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Largest size of the bundle in bytes; the fewest layers that reach it are chosen.
    Bytes(u64),
    /// Largest KL divergence of all chosen layers together, in nats; the most layers within it are
    /// chosen.
    Divergence(f64),
}

/// Chosen layers with their divergence and size.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Layers with 4-bit weights.
    pub sites: Vec<Site>,
    /// KL divergence of all of them together, in nats.
    pub divergence: f64,
    /// Size of the bundle in bytes.
    pub bytes: u64,
}

/// A checkpoint whose layers are measured, with the texts.
pub struct Study {
    folder: PathBuf,
    checkpoint: Checkpoint,
    quantize: Quantize,
    network: Network,
    ids: Vec<Vec<u32>>,
    /// Logits with 4 bits in no layer, `[texts][exits][labels]`.
    usual: Vec<Vec<Vec<f32>>>,
    key: String,
}

impl Study {
    /// Opens a checkpoint and computes its logits without 4-bit layers. Word embeddings get
    /// `embedding_bits`, or the checkpoint's own bits.
    ///
    /// # Errors
    /// [`Error::Unfit`] if there are no texts or `embedding_bits` is invalid; errors of reading and
    /// computing.
    pub fn of<S: AsRef<str>>(
        folder: &Path,
        embedding_bits: Option<u8>,
        texts: &[S],
        stop: &AtomicBool,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, Error> {
        if texts.is_empty() {
            return Err(Error::Unfit("there is no text to measure layers with".into()));
        }
        let checkpoint = Checkpoint::open(folder)?;
        let mut quantize = checkpoint.config.quantize.unwrap_or_default();
        quantize.four_bits = Sites::NONE;
        quantize.embedding_bits = embedding_bits.unwrap_or(quantize.embedding_bits);
        quantize.int8().map_err(Error::Unfit)?;
        let tokenizer = tokenizer(&checkpoint, checkpoint.config.encoder.max_tokens)?;
        let ids = texts
            .iter()
            .map(|text| Ok(tokenizer.encode(text.as_ref()).map_err(Error::Tokenizer)?.ids))
            .collect::<Result<Vec<_>, Error>>()?;
        let weights = sha256_hex(&read_file(&checkpoint.weights_path())?);
        let measured = serde_json::to_string(&(weights, &ids, quantize)).expect("plain JSON");
        let key = sha256_hex(measured.as_bytes())[..16].to_owned();
        let network = load(&checkpoint, Device::Cpu)?;
        let folder = folder.into();
        let mut study =
            Study { folder, checkpoint, quantize, network, ids, usual: Vec::new(), key };
        study.usual = study.logits(Sites::NONE, stop, &mut progress)?;
        Ok(study)
    }

    /// Quantization settings with 4 bits in these layers.
    fn with(&self, sites: Sites) -> Quantize {
        Quantize { four_bits: sites, ..self.quantize }
    }

    fn int8(&self, sites: Sites) -> Result<Int8, Error> {
        self.with(sites).int8().map_err(Error::Unfit)
    }

    fn logits(
        &self,
        sites: Sites,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Vec<Vec<f32>>>, Error> {
        let mode = Mode { quantized: Some(self.int8(sites)?), ..Mode::predict() };
        predict(&self.network, &mode, &self.ids, stop, progress)
    }

    /// Measures the KL divergence with 4 bits in these layers, in nats.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `stop` is set, [`Error::Compute`].
    pub fn divergence(&self, sites: Sites, stop: &AtomicBool) -> Result<f64, Error> {
        let logits = self.logits(sites, stop, &mut |_, _| {})?;
        let pairs = self.usual.iter().flatten().zip(logits.iter().flatten());
        let all: Vec<f64> = pairs.map(|(p, q)| divergence(p, q)).collect();
        Ok(all.iter().sum::<f64>() / all.len() as f64)
    }

    /// Compares a budget with the size that 4 bits in all layers give, before any layer is
    /// measured.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the least size if it exceeds the budget; errors of exporting.
    pub fn check(&self, budget: Budget) -> Result<(), Error> {
        let Budget::Bytes(most) = budget else { return Ok(()) };
        let exits = self.network.heads.len();
        let sites =
            Sites::ALL.of_network(&self.network.config.encoder, exits).map_err(Error::Unfit)?;
        let bytes = self.bytes(sites.into_iter().collect())?;
        if bytes > most { Err(too_large(bytes, most)) } else { Ok(()) }
    }

    /// Measures every layer that `record` lacks. Returns all layers, those with the least
    /// divergence per saved byte first.
    ///
    /// # Errors
    /// [`Error::Unfit`] if a layer's shape does not allow 4 bits, [`Error::Interrupted`] if `stop`
    /// is set; errors of computing and of writing.
    pub fn rank(
        &self,
        record: &Path,
        stop: &AtomicBool,
        mut observe: impl FnMut(&Sensitivity, usize, usize),
    ) -> Result<Vec<Sensitivity>, Error> {
        let exits = self.network.heads.len();
        let sites =
            Sites::ALL.of_network(&self.network.config.encoder, exits).map_err(Error::Unfit)?;
        let mut all: Vec<Sensitivity> = record::read(record)?;
        all.retain(|s| s.key == self.key);
        for site in &sites {
            if all.iter().any(|s| s.site == site.name()) {
                continue;
            }
            let only = Sites::from_iter([*site]);
            let divergence = self.divergence(only, stop)? as f32;
            let (site, saved, key) = (site.name(), self.saved(*site), self.key.clone());
            all.push(Sensitivity { site, divergence, saved, key });
            record::store(record, &all)?;
            observe(&all[all.len() - 1], all.len(), sites.len());
        }
        let cost = |s: &Sensitivity| s.divergence / s.saved.max(1) as f32;
        all.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        Ok(all)
    }

    /// Bytes that 4 bits save: half of the weights, less the multipliers.
    fn saved(&self, site: Site) -> u64 {
        let width = self.network.heads.first().map_or(0, |head| head.dense.outputs());
        let [inputs, outputs] =
            site.shape(&self.network.config.encoder, width, self.network.config.task.width());
        (outputs * (inputs / 2 - inputs / 2 / int4::group(inputs))) as u64
    }

    /// Chooses layers within a budget, in the order of [`rank`](Self::rank).
    ///
    /// # Errors
    /// [`Error::Unfit`] if all layers together save too little; errors of computing and exporting.
    pub fn choose(
        &self,
        ranked: &[Sensitivity],
        budget: Budget,
        stop: &AtomicBool,
    ) -> Result<Chosen, Error> {
        let sites = ranked.iter().map(|s| s.site.parse().map_err(Error::Unfit));
        let sites = sites.collect::<Result<Vec<Site>, Error>>()?;
        let first = |n: usize| sites[..n].iter().copied().collect::<Sites>();
        let number = match budget {
            Budget::Bytes(most) => {
                let usual = self.bytes(Sites::NONE)?;
                let mut number = fewest(ranked, usual.saturating_sub(most));
                // The graphs differ by a few bytes too.
                while number < sites.len() && self.bytes(first(number))? > most {
                    number += 1;
                }
                number
            }
            Budget::Divergence(most) => {
                // Bisects between a number within the budget and one beyond it.
                let (mut within, mut beyond) = (0, sites.len() + 1);
                while within + 1 < beyond {
                    let middle = (within + beyond) / 2;
                    match self.divergence(first(middle), stop)? <= most {
                        true => within = middle,
                        false => beyond = middle,
                    }
                }
                within
            }
        };
        let bytes = self.bytes(first(number))?;
        if let Budget::Bytes(most) = budget
            && bytes > most
        {
            return Err(too_large(bytes, most));
        }
        let divergence = self.divergence(first(number), stop)?;
        Ok(Chosen { sites: sites[..number].to_vec(), divergence, bytes })
    }

    /// Exports with 4 bits in these layers and returns the size of the bundle in bytes.
    fn bytes(&self, sites: Sites) -> Result<u64, Error> {
        let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        let bundle = place.path().join("model.edge");
        let precision = Precision::Int8(self.int8(sites)?);
        Ok(export(&self.checkpoint, precision, &bundle, |_, _, _| {})?.bytes)
    }

    /// Writes the choice into the checkpoint's `config.json`, which export and training read.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Checkpoint`].
    pub fn save(&self, chosen: &Chosen) -> Result<(), Error> {
        let path = self.folder.join("config.json");
        let mut config: Value = serde_json::from_slice(&read_file(&path)?)
            .map_err(|e| Error::checkpoint(&path, e.to_string()))?;
        config["quantization"] = json!(self.with(chosen.sites.iter().copied().collect()));
        let text = serde_json::to_string_pretty(&config).expect("plain JSON") + "\n";
        Ok(crate::files::write(&path, text)?)
    }
}

fn too_large(bytes: u64, most: u64) -> Error {
    Error::Unfit(format!(
        "with 4 bits in all linear layers the bundle has {:.4} MB, more than {:.4} MB; word embeddings \
         of 4 bits, fewer word pieces or pruning make it smaller",
        bytes as f64 / 1e6,
        most as f64 / 1e6
    ))
}

/// Number of first layers that together save at least `bytes`; all of them if that is too little.
fn fewest(ranked: &[Sensitivity], bytes: u64) -> usize {
    let mut saved = 0;
    let after = |s: &Sensitivity| {
        saved += s.saved;
        saved >= bytes
    };
    if bytes == 0 { 0 } else { ranked.iter().position(after).map_or(ranked.len(), |i| i + 1) }
}

/// KL divergence Σ p ln(p/q) of the probabilities of two rows of logits.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let [p, q] = [p, q].map(|logits| {
        let logits: Vec<f64> = logits.iter().map(|l| f64::from(*l)).collect();
        let largest = logits.iter().fold(f64::NEG_INFINITY, |m, l| m.max(*l));
        let sum = logits.iter().map(|l| (l - largest).exp()).sum::<f64>().ln();
        logits.into_iter().map(move |l| l - largest - sum)
    });
    p.zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_is_kullbacks_and_leiblers() {
        assert_eq!(divergence(&[0.3, -0.7, 2.0], &[0.3, -0.7, 2.0]), 0.0);
        let expected = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        let found = divergence(&[7.0, 7.0], &[0.0, 3.0f32.ln()]);
        assert!((found - expected).abs() < 1e-7, "{found}");
        let sure = divergence(&[900.0, -900.0], &[-900.0, 900.0]);
        assert!((sure - 1800.0).abs() < 1e-9, "{sure}");
    }

    #[test]
    fn as_few_are_taken_as_save_enough() {
        let ranked = [3, 5, 2].map(|saved| Sensitivity {
            site: "layers.0.qkv".into(),
            divergence: 0.1,
            saved,
            key: String::new(),
        });
        let numbers = [0, 1, 3, 4, 8, 10, 11].map(|bytes| fewest(&ranked, bytes));
        assert_eq!(numbers, [0, 1, 1, 2, 2, 3, 3]);
    }
}
