//! Smoothing of outliers: moves them from activations into weights, where the network in floats
//! stays the same (Xiao et al. 2023, "SmoothQuant: Accurate and Efficient Post-Training
//! Quantization for Large Language Models").
//!
//! A row of activations has one scale for all its channels, and the largest channel sets it.
//! Dividing channel j of a linear layer's input by a factor and multiplying column j of its weights
//! by the factor leaves the product unchanged. It brings the channels to a similar size. The
//! division happens in the layer before, whose output must reach that input alone, and only through
//! sums and products:
//!
//! - **values to attention output**: attention adds rows of the values up, channel by channel.
//!   Exact.
//! - **through the activation of the feed-forward network**: exact for ReLU, as f(x / s) = f(x) / s
//!   for s > 0. GELU is not homogeneous, so it is left alone.
//! - **norm to queries, keys and values, and norm to the feed-forward network**: left alone. BERT
//!   normalizes after the sum, so the norm's output is also the residual of the next sum, which
//!   would be divided too. SmoothQuant divides at a norm before the layer, and the residual goes
//!   around that norm.
//! - **queries and keys**: left alone, because their product is computed in floats.
//!
//! Factors are powers of two, so the network in floats gives identical bits. The int8 weights of
//! the divided layer have a scale for each output and stay the same integers.

use super::rewrite::Rewritten;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::data::in_order;
use crate::files::Output;
use crate::network::{Batch, Mode, Network, Values, load};
use crate::quantize::Site;
use crate::train::{predict, tokenizer};
use candle_core::{DType, Device, Tensor};
use edge_export::encoder::LayerPart;
use edge_runtime::graph::Activation;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Sentences per batch.
const BATCH: usize = 32;
/// Exponent of the largest factor, a power of 2; the smallest factor is its inverse.
const LARGEST: f32 = 10.0;

/// A checkpoint with smoother inputs of its int8 layers, before it is written.
pub struct Smoothed {
    /// Number of channels with a factor other than 1.
    pub moved: usize,
    /// Number of all channels that could have a factor.
    pub channels: usize,
    /// Mean difference between int8 and float logits before smoothing.
    pub before: f64,
    /// Mean difference between int8 and float logits after smoothing.
    pub after: f64,
    /// Folder of the original checkpoint.
    from: PathBuf,
    new: Rewritten,
}

impl Smoothed {
    /// True if int8 loses less than before.
    pub fn helps(&self) -> bool {
        self.after < self.before
    }

    /// Writes the checkpoint to `output`.
    ///
    /// # Errors
    /// [`Error::Output`] if `output` may not be written, [`Error::Io`].
    pub fn write(&self, output: impl Into<Output>) -> Result<(), Error> {
        self.new.clone().write(&self.from, &output.into())
    }
}

/// Smooths the inputs of the int8 layers of `checkpoint`, by their activations on `texts`. `alpha`
/// is the part of the difference between channels that moves into the weights, 0 to 1.
///
/// # Errors
/// [`Error::Unfit`] if there is no text or `alpha` is not between 0 and 1; [`Error::Interrupted`]
/// if `stop` is set; errors of reading and computing.
pub fn smooth<S: AsRef<str>>(
    checkpoint: &Path,
    texts: &[S],
    alpha: f32,
    stop: &AtomicBool,
    mut progress: impl FnMut(usize, usize),
) -> Result<Smoothed, Error> {
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::Unfit(format!("alpha is {alpha}; expected a number between 0 and 1")));
    }
    if texts.is_empty() {
        return Err(Error::Unfit("there is no text to measure activations with".into()));
    }
    let opened = Checkpoint::open(checkpoint)?;
    let tokenizer = tokenizer(&opened, opened.config.encoder.max_tokens)?;
    let ids = texts
        .iter()
        .map(|text| Ok(tokenizer.encode(text.as_ref()).map_err(Error::Tokenizer)?.ids))
        .collect::<Result<Vec<_>, Error>>()?;
    let network = load(&opened, Device::Cpu)?;
    let maxima = maxima(&network, &ids, stop, &mut progress)?;
    let mut new = Rewritten::read(checkpoint, &opened)?;
    let (mut moved, mut channels) = (0, 0);
    for layer in 0..opened.config.encoder.layers {
        let mut pairs =
            vec![(LayerPart::Value, LayerPart::AttentionOutput, Site::AttentionOutput(layer))];
        if opened.config.encoder.activation == Activation::Relu {
            pairs.push((LayerPart::Intermediate, LayerPart::Output, Site::Output(layer)));
        }
        for (before, after, site) in pairs {
            let [before, after] = [before, after].map(|part| opened.module(layer, part));
            let [weight, bias, reader] =
                [format!("{before}.weight"), format!("{before}.bias"), format!("{after}.weight")];
            let columns = new.tensor(&opened, &reader)?.to_dtype(DType::F32)?.abs()?.max(0)?;
            let factors = factors(&maxima[&site], &columns.to_vec1()?, alpha);
            channels += factors.len();
            moved += factors.iter().filter(|f| **f != 1.0).count();
            let factors = Tensor::new(factors, &Device::Cpu)?;
            let inverse = factors.recip()?;
            for (name, by) in
                [(weight, inverse.unsqueeze(1)?), (bias, inverse), (reader, factors.unsqueeze(0)?)]
            {
                let tensor = new.tensor(&opened, &name)?;
                *tensor = scaled(tensor, &by)?;
            }
        }
    }
    let error = |network: &Network, floats: &[f32]| -> Result<f64, Error> {
        let quantized = opened.config.quantize.unwrap_or_default().int8().map_err(Error::Unfit)?;
        let mode = Mode { quantized: Some(quantized), ..Mode::predict() };
        let rounded = predict(network, &mode, &ids, stop, &mut |_, _| {})?.concat().concat();
        let off: f64 = floats.iter().zip(&rounded).map(|(a, b)| f64::from((a - b).abs())).sum();
        Ok(off / floats.len() as f64)
    };
    let floats = predict(&network, &Mode::predict(), &ids, stop, &mut |_, _| {})?.concat().concat();
    let before = error(&network, &floats)?;
    let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let smooth = place.path().join("smooth");
    new.clone().write(checkpoint, &smooth.as_path().into())?;
    let after = error(&load(&Checkpoint::open(&smooth)?, Device::Cpu)?, &floats)?;
    Ok(Smoothed { moved, channels, before, after, from: checkpoint.into(), new })
}

/// Largest absolute value of every input channel of the linear layers.
fn maxima(
    network: &Network,
    sentences: &[Vec<u32>],
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<BTreeMap<Site, Vec<f32>>, Error> {
    let lengths: Vec<usize> = sentences.iter().map(Vec::len).collect();
    let mut all: BTreeMap<Site, Vec<f32>> = BTreeMap::new();
    let mut done = 0;
    for chosen in in_order(&lengths, BATCH) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted { step: None });
        }
        let batch = Batch::new(chosen.iter().map(|i| &sentences[*i]));
        network.linear_inputs(&batch, &Mode::predict(), &mut |site, x| {
            let x = x.contiguous()?;
            let width = x.dim(1)?;
            let seen = all.entry(site).or_insert_with(|| vec![0.0; width]);
            for row in Values::of(&x)?.chunks_exact(width) {
                seen.iter_mut().zip(row).for_each(|(m, v)| *m = m.max(v.abs()));
            }
            Ok(())
        })?;
        done += chosen.len();
        progress(done, sentences.len());
    }
    Ok(all)
}

/// Computes max|x|^α / max|w|^(1−α) of every channel, divided by the geometric mean and rounded to
/// a power of two. Channels that are zero everywhere get a factor of 1.
fn factors(activations: &[f32], weights: &[f32], alpha: f32) -> Vec<f32> {
    let wanted = |(x, w): (&f32, &f32)| {
        (*x > 0.0 && *w > 0.0).then(|| alpha * x.log2() - (1.0 - alpha) * w.log2())
    };
    let wanted: Vec<Option<f32>> = activations.iter().zip(weights).map(wanted).collect();
    let number = wanted.iter().flatten().count().max(1);
    let mean = wanted.iter().flatten().sum::<f32>() / number as f32;
    let power = |w: &Option<f32>| w.map_or(0.0, |w| (w - mean).round().clamp(-LARGEST, LARGEST));
    wanted.iter().map(|w| power(w).exp2()).collect()
}

/// Multiplies `tensor` by `by`. The product has the type of `tensor` if that holds it exactly, else
/// f32.
fn scaled(tensor: &Tensor, by: &Tensor) -> candle_core::Result<Tensor> {
    let exact = tensor.to_dtype(DType::F32)?.broadcast_mul(by)?;
    let stored = exact.to_dtype(tensor.dtype())?;
    let off = (stored.to_dtype(DType::F32)? - &exact)?.abs()?.flatten_all()?.max(0)?;
    Ok(if off.to_scalar::<f32>()? == 0.0 { stored } else { exact })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_powers_of_two_around_one() {
        assert_eq!(factors(&[8.0, 2.0, 0.5], &[1.0; 3], 1.0), [4.0, 1.0, 0.25]);
        assert_eq!(factors(&[8.0, 2.0, 0.5], &[1.0; 3], 0.5), [2.0, 1.0, 0.5]);
        assert_eq!(factors(&[1.0; 3], &[8.0, 2.0, 0.5], 0.0), [0.25, 1.0, 4.0]);
        assert_eq!(factors(&[0.0, 4.0, 4.0], &[1.0, 0.0, 1.0], 0.5), [1.0; 3]);
        assert_eq!(factors(&[1e30, 1e-30], &[1.0; 2], 1.0), [1024.0, 1.0 / 1024.0]);
    }

    #[test]
    fn a_product_that_the_type_does_not_hold_is_stored_in_f32() {
        let stored =
            |v: f32| Tensor::new(&[v], &Device::Cpu).unwrap().to_dtype(DType::F16).unwrap();
        let by = |v: f32| Tensor::new(&[v], &Device::Cpu).unwrap();
        // The smallest normal number with its last bit set.
        let small = stored(f32::from(half::f16::MIN_POSITIVE) * (1.0 + 1.0 / 1024.0));
        assert_eq!(scaled(&small, &by(0.5)).unwrap().dtype(), DType::F32);
        let product = scaled(&stored(0.75), &by(0.5)).unwrap();
        assert_eq!(product.dtype(), DType::F16);
        let value = product.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(value, [0.375]);
    }
}
