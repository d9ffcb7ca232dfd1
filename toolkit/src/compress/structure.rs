//! Structured pruning: whole attention heads and whole neurons of the feed-forward networks are
//! removed. The rest is smaller and faster on every machine.
//!
//! The importance of a part is the change of the loss without it, to first order: |a · ∂L/∂a| for
//! its output a, summed over sentences. Heads follow Michel et al. 2019, "Are Sixteen Heads Really
//! Better than One?", and neurons follow Molchanov et al. 2017, "Pruning Convolutional Neural
//! Networks for Resource Efficient Inference". Both divide the scores of a layer by their Euclidean
//! norm before layers are compared.

use super::rewrite::Rewritten;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::files::Output;
use crate::network::Network;
use crate::network::{Batch, Gradient, Linear, Mode, Values};
use crate::tasks;
use crate::train::loss::{Losses, Targets};
use candle_core::Tensor;
use edge_export::encoder::{LayerPart, Widths};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Importance of every head and every neuron, by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Importance {
    /// Scores of the heads, `[layers][heads]`.
    pub heads: Vec<Vec<f64>>,
    /// Scores of the neurons, `[layers][intermediate]`.
    pub neurons: Vec<Vec<f64>>,
}

/// Indices of the parts that are kept, ascending, by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Attention heads.
    pub heads: Vec<Vec<usize>>,
    /// Neurons of the feed-forward networks.
    pub neurons: Vec<Vec<usize>>,
}

/// Granularity of feed-forward widths: matrix products compute this number of neurons at once. A
/// layer with at least this number keeps a multiple of it.
pub const NEURONS: usize = 64;

/// Computes the importance of a network's parts for the cross-entropy of all exits with the labels
/// of these sentences, given as token ids.
///
/// # Errors
/// [`Error::Interrupted`] if `stop` is set, [`Error::Compute`].
pub fn importance<S: AsRef<[u32]>>(
    network: &Network,
    sentences: &[(S, u32)],
    stop: &AtomicBool,
    mut progress: impl FnMut(usize, usize),
) -> Result<Importance, Error> {
    let task = tasks::of(&network.config.task)?;
    let size = network.config.encoder.head_size();
    let blocks = &network.blocks;
    let mut all = Importance {
        heads: blocks.iter().map(|b| vec![0.0; b.heads]).collect(),
        neurons: blocks.iter().map(|b| vec![0.0; b.intermediate.outputs()]).collect(),
    };
    let fused = network.device.is_cpu();
    let mode = Mode { training: Some((0.0, 0)), fused, ..Mode::predict() };
    for (done, (ids, label)) in sentences.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted { step: None });
        }
        let batch = Batch::new([ids]);
        let output = network.forward(&batch, &mode)?;
        let labels = [Some(*label)];
        let targets = Targets {
            task,
            labels: &labels,
            teacher_logits: None,
            teacher: None,
            projections: &[],
        };
        let loss = Losses::default().of(&output, &batch, &targets)?;
        network.absorb(&mut loss.total.backward()?)?;
        for (layer, block) in blocks.iter().enumerate() {
            let of_columns = by_input(&block.attention_output)?;
            for (sum, head) in all.heads[layer].iter_mut().zip(of_columns.chunks_exact(size)) {
                *sum += head.iter().sum::<f64>().abs();
            }
            let of_neurons = by_input(&block.output)?;
            all.neurons[layer].iter_mut().zip(of_neurons).for_each(|(sum, v)| *sum += v.abs());
        }
        network.parameters().iter().for_each(|p| drop(p.take_gradient()));
        progress(done + 1, sentences.len());
    }
    all.heads.iter_mut().chain(&mut all.neurons).for_each(|scores| {
        let length = scores.iter().map(|s| s * s).sum::<f64>().sqrt();
        scores.iter_mut().for_each(|s| *s /= length.max(f64::MIN_POSITIVE));
    });
    Ok(all)
}

/// Computes a · ∂L/∂a for every input a of a linear layer, summed over the rows. With y = W a, the
/// sum is Σₒ W · ∂L/∂W, because ∂L/∂W = ∂L/∂y aᵀ and ∂L/∂a = Wᵀ ∂L/∂y.
fn by_input(linear: &Linear) -> Result<Vec<f64>, Error> {
    let weight = linear.weight.var();
    let mut sums = vec![0.0; weight.dim(1)?];
    let Some(gradient) = linear.weight.take_gradient() else { return Ok(sums) };
    let Gradient::Dense(gradient) = gradient else {
        unreachable!("only embeddings have gradients of rows")
    };
    let cpu = |t: &Tensor| t.to_device(&candle_core::Device::Cpu)?.contiguous();
    let (weight, gradient) = (cpu(weight.as_tensor())?, cpu(&gradient)?);
    let (weight, gradient) = (Values::of(&weight)?, Values::of(&gradient)?);
    for (w, g) in weight.chunks_exact(sums.len()).zip(gradient.chunks_exact(sums.len())) {
        for ((sum, w), g) in sums.iter_mut().zip(w).zip(g) {
            *sum += f64::from(*w) * f64::from(*g);
        }
    }
    Ok(sums)
}

impl Importance {
    /// Importance in the first layers alone.
    pub fn first(&self, layers: usize) -> Importance {
        let of = |scores: &[Vec<f64>]| scores.iter().take(layers).cloned().collect();
        Importance { heads: of(&self.heads), neurons: of(&self.neurons) }
    }

    /// Chooses the most important parts across all layers, for a share of all heads and a share of
    /// all neurons, 0 to 1. Each layer keeps at least one head and [`NEURONS`] neurons.
    pub fn keep(&self, heads: f64, neurons: f64) -> Kept {
        Kept { heads: most(&self.heads, heads, 1), neurons: most(&self.neurons, neurons, NEURONS) }
    }
}

/// Fewest parts that [`Importance::keep`] leaves in layers of these widths, for any importance. The
/// number is exact for one layer. For several layers it is a lower bound, because each may round
/// down.
pub fn fewest(widths: &[Widths], heads: f64, neurons: f64) -> Kept {
    let of_layer = |size: usize, share: f64, step: usize| -> Vec<usize> {
        if widths.len() == 1 {
            let scores = (0..size).map(|part| -(part as f64)).collect();
            return most(&[scores], share, step).concat();
        }
        let bound = ((share * size as f64) as usize).saturating_sub(step / 2);
        (0..bound.max(1)).collect()
    };
    Kept {
        heads: widths.iter().map(|w| of_layer(w.heads, heads, 1)).collect(),
        neurons: widths.iter().map(|w| of_layer(w.intermediate, neurons, NEURONS)).collect(),
    }
}

/// Chooses the largest `share` of all scores together. Each layer keeps a multiple of `step`, or
/// all of its scores if there are fewer.
fn most(scores: &[Vec<f64>], share: f64, step: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<f64> = scores.iter().flatten().copied().collect();
    all.sort_by(|a, b| b.total_cmp(a));
    let number = (share * all.len() as f64).round() as usize;
    let least = all.get(number.saturating_sub(1)).copied().unwrap_or(f64::INFINITY);
    let of_layer = |scores: &Vec<f64>| {
        let step = step.min(scores.len());
        let passing = scores.iter().filter(|s| **s >= least).count();
        let steps = ((passing as f64 / step as f64).round() as usize).max(1);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        order.truncate(if passing == scores.len() { passing } else { steps * step });
        order.sort_unstable();
        order
    };
    scores.iter().map(of_layer).collect()
}

/// Writes `checkpoint` to `output` with only the parts in `kept`. The exit policy is left out,
/// because its accuracy is lost until the rest is trained.
///
/// # Errors
/// [`Error::Checkpoint`], [`Error::Output`] if `output` may not be written, [`Error::Io`].
///
/// # Panics
/// If `kept` belongs to another checkpoint.
pub fn prune(checkpoint: &Path, kept: &Kept, output: impl Into<Output>) -> Result<(), Error> {
    let output = output.into();
    output.check(&[checkpoint])?;
    let opened = Checkpoint::open(checkpoint)?;
    let encoder = &opened.config.encoder;
    let mut new = Rewritten::read(checkpoint, &opened)?;
    let mut widths = Vec::new();
    for (layer, (heads, neurons)) in kept.heads.iter().zip(&kept.neurons).enumerate() {
        let size = encoder.head_size();
        let rows = |parts: &[usize], size: usize| -> Vec<u32> {
            parts.iter().flat_map(|p| (p * size..(p + 1) * size).map(|r| r as u32)).collect()
        };
        let (of_heads, of_neurons) = (rows(heads, size), rows(neurons, 1));
        let mut select = |module: LayerPart, part: &str, dim: usize, rows: &[u32]| {
            let name = format!("{}.{part}", opened.module(layer, module));
            let tensor = new.tensor(&opened, &name)?;
            let rows = Tensor::new(rows, tensor.device())?;
            *tensor = tensor.index_select(&rows, dim)?;
            Ok::<_, Error>(())
        };
        for module in [LayerPart::Query, LayerPart::Key, LayerPart::Value] {
            select(module, "weight", 0, &of_heads)?;
            select(module, "bias", 0, &of_heads)?;
        }
        select(LayerPart::AttentionOutput, "weight", 1, &of_heads)?;
        select(LayerPart::Intermediate, "weight", 0, &of_neurons)?;
        select(LayerPart::Intermediate, "bias", 0, &of_neurons)?;
        select(LayerPart::Output, "weight", 1, &of_neurons)?;
        widths.push(Widths { heads: heads.len(), intermediate: neurons.len() });
    }
    if widths.iter().enumerate().any(|(layer, w)| *w != encoder.widths(layer)) {
        new.config["layer_widths"] = json!(widths);
    }
    new.write(checkpoint, &output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worthiest_stay_wherever_they_are() {
        let scores = [vec![5.0, 1.0, 4.0], vec![0.1, 0.2, 0.3], vec![3.0, 2.0, 2.5]];
        assert_eq!(most(&scores, 0.5, 1), [vec![0, 2], vec![2], vec![0, 1, 2]]);
        assert_eq!(most(&scores, 1.0, 2), vec![vec![0, 1, 2]; 3]);
        assert_eq!(most(&scores, 0.0, 1), [vec![0], vec![2], vec![0]]);
        assert_eq!(most(&scores, 0.5, 2), [vec![0, 2], vec![1, 2], vec![0, 1, 2]]);
        assert_eq!(most(&scores, 0.5, 64), vec![vec![0, 1, 2]; 3]);
    }

    #[test]
    fn no_worth_leaves_fewer_parts_than_the_fewest() {
        let mut random = crate::rng::Rng::new(&[5]);
        for layers in 1..4 {
            for (heads, intermediate) in [(12, 1536), (5, 1000), (3, 320)] {
                let widths = vec![Widths { heads, intermediate }; layers];
                for share in [1.0, 0.75, 0.5] {
                    let mut scores = |size: usize, spread: f64| -> Vec<Vec<f64>> {
                        let mut layer = |l: usize| {
                            (0..size)
                                .map(|_| f64::from(random.normal()) + spread * l as f64)
                                .collect()
                        };
                        (0..layers).map(&mut layer).collect()
                    };
                    let bound = fewest(&widths, share, share);
                    for spread in [0.0, 0.1, 3.0] {
                        let heads = scores(heads, spread);
                        let neurons = scores(intermediate, spread);
                        let kept = Importance { heads, neurons }.keep(share, share);
                        for (kept, bound) in
                            [(kept.heads, &bound.heads), (kept.neurons, &bound.neurons)]
                        {
                            let (kept, bound) = (kept.concat().len(), bound.concat().len());
                            assert!(kept >= bound, "{kept} below {bound}");
                            assert!(layers > 1 || kept == bound, "{kept}, not {bound}");
                        }
                    }
                }
            }
        }
    }
}
