//! Ranges of the inputs of linear layers, and the scales of int8 that follow from them.
//!
//! Static quantization fixes a scale before a model runs, so it needs the range of the activations.
//! [`observe`] collects a [`Histogram`] of absolute values for every linear layer over some texts.
//! A [`Method`] selects the range: larger values are clipped, smaller values are rounded.

use super::{Form, stage};
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::quantize::{Precision, Site};
use edge_runtime::engine::{CpuEngine, Engine, Logits, Tokens};
use edge_runtime::graph::{Op, StageGraph};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Number of texts per batch.
const BATCH: usize = 32;

/// Method that selects the range of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// Largest absolute value: nothing is clipped.
    MinMax,
    /// Percentile of the absolute values, more than 0 and at most 100 (McKinstry et al. 2018,
    /// "Discovering Low-Precision Networks Close to Full-Precision Networks for Efficient Embedded
    /// Inference").
    Percentile(f64),
    /// Range with the least squared error of rounding and clipping (Sung et al. 2015, "Resiliency
    /// of Deep Neural Networks under Quantization").
    Mse,
    /// Range with the least KL divergence between the distributions of the values and of the
    /// rounded values. It is TensorRT's entropy calibration (Migacz 2017, "8-bit Inference with
    /// TensorRT").
    Kl,
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "min-max" => return Ok(Method::MinMax),
            "mse" => return Ok(Method::Mse),
            "kl" => return Ok(Method::Kl),
            _ => {}
        }
        let percent = text.strip_prefix("percentile:").and_then(|p| p.parse().ok());
        percent.filter(|p| *p > 0.0 && *p <= 100.0).map(Method::Percentile).ok_or_else(|| {
            "expected min-max, percentile:P with P above 0 and up to 100, mse or kl".into()
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::MinMax => f.write_str("min-max"),
            Method::Percentile(percent) => write!(f, "percentile:{percent}"),
            Method::Mse => f.write_str("mse"),
            Method::Kl => f.write_str("kl"),
        }
    }
}

/// Histogram of absolute values.
///
/// Its bins have equal widths. The width is a power of two and doubles for larger values, so the
/// order of the values is irrelevant.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: Vec<u64>,
    width: f32,
    largest: f32,
}

impl Histogram {
    /// Number of bins; at least half of them are in use after the first value other than zero.
    pub const BINS: usize = 4096;
    /// Initial width, 2⁻¹⁰⁰.
    const NARROWEST: f32 = f32::from_bits((127 - 100) << 23);

    /// Empty histogram.
    pub fn new() -> Self {
        Histogram { counts: vec![0; Self::BINS], width: Self::NARROWEST, largest: 0.0 }
    }

    /// Counts absolute values. Returns `None` and counts nothing if a value is NaN or infinite.
    pub fn add(&mut self, values: &[f32]) -> Option<()> {
        let largest = values.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
        if values.iter().any(|v| !v.is_finite()) {
            return None;
        }
        while largest >= self.width * Self::BINS as f32 {
            let half = Self::BINS / 2;
            for bin in 0..half {
                self.counts[bin] = self.counts[2 * bin] + self.counts[2 * bin + 1];
            }
            self.counts[half..].fill(0);
            self.width *= 2.0;
        }
        let inverse = self.width.recip();
        values.iter().for_each(|v| self.counts[(v.abs() * inverse) as usize] += 1);
        self.largest = self.largest.max(largest);
        Some(())
    }

    /// Largest absolute value seen.
    pub fn largest(&self) -> f32 {
        self.largest
    }

    /// Scale of symmetric integers up to `levels` (127 for int8): `x ≈ round(x / scale) · scale`.
    /// It is 1 if all values were zero.
    pub fn scale(&self, method: Method, levels: u8) -> f32 {
        let scale = self.range(method, levels) / f32::from(levels);
        if scale > f32::MIN_POSITIVE { scale } else { 1.0 }
    }

    /// Range of the integers up to `levels`, at most [`largest`](Self::largest).
    ///
    /// ```
    /// use edge_export::export::ranges::{Histogram, Method};
    /// let mut seen = Histogram::new();
    /// seen.add(&(1..=1000).map(|i| i as f32 / 100.0).collect::<Vec<_>>());
    /// assert_eq!(seen.range(Method::MinMax, 127), 10.0);
    /// assert!((seen.range(Method::Percentile(99.0), 127) - 9.9).abs() < 0.01);
    /// ```
    pub fn range(&self, method: Method, levels: u8) -> f32 {
        let bins = match method {
            Method::MinMax => Self::BINS,
            Method::Percentile(percent) => self.percentile(percent),
            Method::Mse => self.least_error(levels),
            Method::Kl => self.least_divergence(levels),
        };
        (bins as f32 * self.width).min(self.largest)
    }

    /// Bins up to the last non-empty one.
    fn used(&self) -> &[u64] {
        let used = self.counts.iter().rposition(|c| *c > 0).map_or(0, |last| last + 1);
        &self.counts[..used]
    }

    /// Least number of bins that contain this percentage of the values.
    fn percentile(&self, percent: f64) -> usize {
        let all: u64 = self.counts.iter().sum();
        let wanted = (percent / 100.0 * all as f64).ceil() as u64;
        let mut sum = 0;
        let reached = self.counts.iter().position(|c| {
            sum += c;
            sum >= wanted
        });
        reached.map_or(Self::BINS, |last| last + 1)
    }

    /// Number of bins whose range has the least squared error. The values of a bin are assumed to
    /// be at its middle.
    fn least_error(&self, levels: u8) -> usize {
        let used = self.used();
        let levels = f64::from(levels);
        let error = |range: usize| -> f64 {
            let step = range as f64 / levels;
            let of_bin = |(bin, count): (usize, &u64)| {
                let middle = bin as f64 + 0.5;
                let rounded = (middle / step).round_ties_even().min(levels) * step;
                *count as f64 * (middle - rounded).powi(2)
            };
            used.iter().enumerate().filter(|(_, c)| **c > 0).map(of_bin).sum()
        };
        let candidates = (used.len() / 64).max(1)..=used.len();
        candidates.min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or(Self::BINS)
    }

    /// Number of bins whose range has the least divergence; of equal ones the largest. Zeros and
    /// values next to them would outweigh all others after an activation, so the first bin gets the
    /// count of the second.
    fn least_divergence(&self, levels: u8) -> usize {
        let levels = usize::from(levels) + 1;
        let mut counts: Vec<f64> = self.used().iter().map(|c| *c as f64).collect();
        if counts.len() <= levels {
            return Self::BINS;
        }
        counts[0] = counts[1];
        let mut beyond: f64 = counts[levels..].iter().sum();
        let mut best = (f64::INFINITY, Self::BINS);
        for range in levels..=counts.len() {
            let divergence = divergence(&counts[..range], beyond, levels);
            if divergence <= best.0 {
                best = (divergence, range);
            }
            beyond -= counts.get(range).unwrap_or(&0.0);
        }
        best.1
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// KL divergence Σ p ln(p/q) between the counts p and their quantization q to `levels` steps. The
/// last count of p includes the values `beyond` the range. q is the mean of the non-empty bins of a
/// step.
fn divergence(counts: &[f64], beyond: f64, levels: usize) -> f64 {
    let bins = counts.len();
    let inside: f64 = counts.iter().sum();
    let all = inside + beyond;
    let mut sum = 0.0;
    for level in 0..levels {
        // Bins b with level ≤ b · levels / bins < level + 1.
        let (first, end) = ((level * bins).div_ceil(levels), ((level + 1) * bins).div_ceil(levels));
        let step = &counts[first..end];
        let hit = step.iter().filter(|c| **c > 0.0).count();
        let mean = step.iter().sum::<f64>() / hit.max(1) as f64 / inside;
        for (bin, count) in step.iter().enumerate() {
            let p = if first + bin + 1 == bins { count + beyond } else { *count } / all;
            if p > 0.0 {
                let q = if *count > 0.0 { mean } else { 0.0 };
                sum += p * (p / q).ln();
            }
        }
    }
    sum
}

/// Inputs of the linear layers of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges {
    /// Absolute values of each layer's inputs.
    pub sites: BTreeMap<Site, Histogram>,
}

impl Ranges {
    /// Scale of a layer's input; 1 for a layer without observations. See [`Histogram::scale`].
    pub fn scale(&self, site: Site, method: Method, levels: u8) -> f32 {
        self.sites.get(&site).map_or(1.0, |seen| seen.scale(method, levels))
    }
}

/// Collects the inputs of all linear layers over `texts`, computed by the runtime in 32-bit floats.
///
/// # Errors
/// [`Error::Unfit`] if there is no text, or an input contains NaN or infinity; errors of reading
/// the checkpoint.
pub fn observe<S: AsRef<str>>(
    checkpoint: &Checkpoint,
    texts: &[S],
    mut progress: impl FnMut(usize, usize),
) -> Result<Ranges, Error> {
    if texts.is_empty() {
        return Err(Error::Unfit(
            "there are no texts to measure the ranges of activations; expected at least one".into(),
        ));
    }
    let tokenizer = checkpoint.text_tokenizer(checkpoint.config.encoder.max_tokens)?;
    let (engine, exits) = engine(checkpoint)?;
    let mut ranges = Ranges::default();
    let mut done = 0;
    for texts_now in texts.chunks(BATCH) {
        let ids = texts_now.iter().map(|text| Ok(tokenizer.encode(text.as_ref())?.ids));
        let ids = ids.collect::<Result<Vec<_>, _>>().map_err(Error::Tokenizer)?;
        let mut batch = engine.begin(Tokens::new(&ids))?;
        for (stage, exit) in exits.iter().enumerate() {
            let mut overflow = None;
            engine.run_watched(stage, &mut batch, &mut Logits::default(), &mut |node, x| {
                let Some(site) = stage::site(node, stage, *exit) else { return };
                if ranges.sites.entry(site).or_default().add(x).is_none() {
                    overflow.get_or_insert(site);
                }
            })?;
            if let Some(site) = overflow {
                return Err(Error::Unfit(format!("the input of {site} contains NaN or infinity")));
            }
        }
        done += texts_now.len();
        progress(done, texts.len());
    }
    Ok(ranges)
}

/// Stages of a checkpoint in 32-bit floats, and the exit of each.
fn engine(checkpoint: &Checkpoint) -> Result<(CpuEngine, Vec<Option<usize>>), Error> {
    let form = Form { precision: Precision::Fp32, packed: None };
    let mut engine = CpuEngine::default();
    let mut exits = Vec::new();
    for index in 0..=checkpoint.config.encoder.layers {
        let (graph, exit) = stage::stage(checkpoint, index, form)?;
        let mut graph = StageGraph::decode(&format!("stage {index}"), graph.into())?;
        // Hidden states leave every stage, so the engine computes all of their rows, like an ONNX
        // file.
        let pool = graph.calls.iter().find(|call| matches!(call.op, Op::MeanPool | Op::FirstPool));
        graph.next_hidden = graph
            .next_hidden
            .or(pool.map(|pool| (pool.inputs[0], checkpoint.config.encoder.hidden)));
        engine.add_stage(graph)?;
        exits.push(exit);
    }
    Ok((engine, exits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normals;

    fn of(values: &[f32]) -> Histogram {
        let mut seen = Histogram::new();
        seen.add(values).expect("finite numbers");
        seen
    }

    /// Bins of width 1 with these counts.
    fn counted(count: impl Fn(f64) -> f64, outliers: u64) -> Histogram {
        let mut counts: Vec<u64> = (0..2999).map(|bin| count(f64::from(bin)) as u64).collect();
        counts.push(outliers);
        counts.resize(Histogram::BINS, 0);
        Histogram { counts, width: 1.0, largest: 3000.0 }
    }

    #[test]
    fn the_order_does_not_matter() {
        let normals = normals(3, 5000).into_iter().zip(0..);
        let values: Vec<f32> = normals.map(|(x, i)| x * 1.3f32.powi(i % 40)).collect();
        let all = of(&values);
        let mut backwards = Histogram::new();
        values.chunks(7).rev().for_each(|part| backwards.add(part).expect("finite numbers"));
        assert_eq!(all, backwards);
        assert_eq!(all.counts.iter().sum::<u64>(), 5000);
        let used = all.used().len();
        assert!(used > Histogram::BINS / 2, "{used}");
        let largest = values.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
        assert_eq!(all.range(Method::MinMax, 127), largest);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_numbers() {
        let values: Vec<f32> = normals(4, 20_000).iter().map(|x| x * 5.0).collect();
        let seen = of(&values);
        let mut sizes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        for percent in [0.005, 10.0, 50.0, 99.0, 99.99, 100.0] {
            let rank = (percent / 100.0 * 20_000.0_f64).ceil() as usize;
            let difference = seen.range(Method::Percentile(percent), 127) - sizes[rank - 1];
            assert!((0.0..=seen.width).contains(&difference), "{percent}: {difference}");
        }
    }

    /// The expected values were computed with NumPy: both methods by their definitions, over all
    /// ranges.
    #[test]
    fn ranges_are_the_best_of_all() {
        let laplace = counted(|bin| 1e6 * (-bin / 150.0).exp(), 3);
        let normal = counted(|bin| 1e5 * (-(bin / 700.0).powi(2)).exp(), 1);
        for (seen, mse, kl) in [(laplace, 1461.0, 1664.0), (normal, 1926.0, 2305.0)] {
            assert_eq!(seen.range(Method::Mse, 127), mse);
            assert_eq!(seen.range(Method::Kl, 127), kl);
        }
    }

    #[test]
    fn a_uniform_distribution_is_kept_whole() {
        let values: Vec<f32> = (0..100_000).map(|i| i as f32 * 1e-5).collect();
        for method in [Method::Mse, Method::Kl, Method::Percentile(100.0)] {
            let range = of(&values).range(method, 127);
            assert!((0.99..=1.0).contains(&range), "{method}: {range}");
        }
    }

    #[test]
    fn nothing_zeros_and_one_number_have_a_scale() {
        let methods = [Method::MinMax, Method::Percentile(99.9), Method::Mse, Method::Kl];
        for method in methods {
            assert_eq!(Histogram::new().scale(method, 127), 1.0);
            assert_eq!(of(&[0.0; 9]).scale(method, 127), 1.0);
            let one = of(&[-3.0]).scale(method, 127) * 127.0;
            assert!((one - 3.0).abs() < 0.05, "{method}: {one}");
        }
        let mut seen = of(&[1.0]);
        assert_eq!(seen.add(&[f32::NAN]), None);
        assert_eq!(seen.add(&[f32::NEG_INFINITY, 2.0]), None);
        assert_eq!(seen, of(&[1.0]));
    }

    #[test]
    fn methods_have_names() {
        for name in ["min-max", "percentile:99.99", "mse", "kl"] {
            assert_eq!(name.parse::<Method>().map(|m| m.to_string()), Ok(name.into()));
        }
        for name in ["max", "percentile", "percentile:", "percentile:0", "percentile:101", "KL"] {
            assert!(name.parse::<Method>().is_err(), "{name}");
        }
    }
}
