//! Comparison of pruning and fake quantization with PyTorch's own; `tests/goldens/make_compress.py`
//! describes each golden. A physically pruned network is compared with the whole network with the
//! same parts set to zero.

use candle_core::{DType, Device, Tensor, safetensors};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::compress::structure::{Kept, importance, prune};
use edge_toolkit::network::Linear;
use edge_toolkit::network::Network;
use edge_toolkit::network::load;
use edge_toolkit::network::{Batch, Gradient, Mode, Parameter};
use edge_toolkit::quantize::{EmbeddingBits, Int8, WeightBits};
use edge_toolkit::train::sparsity::{self, Masks, Method, Sparsity};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const FIXTURES: [&str; 2] = ["bert-exits", "distilbert-exits"];

fn fixture(name: &str) -> Checkpoint {
    Checkpoint::open(format!("../models/fixtures/{name}")).unwrap()
}

fn network(name: &str) -> Network {
    load(&fixture(name), Device::Cpu).unwrap()
}

fn goldens() -> HashMap<String, Tensor> {
    safetensors::load("../tests/goldens/compress.safetensors", &Device::Cpu).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn near(ours: &[f32], theirs: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}, {i}: {a}, not {b}");
    }
}

#[test]
fn masks_are_pytorchs() {
    let goldens = goldens();
    let worth: Vec<f32> = floats(&goldens["weight"]).iter().map(|w| w.abs()).collect();
    let mut tried = 0;
    for (name, mask) in &goldens {
        let Some(kind) = name.strip_prefix("mask/") else { continue };
        let ours = match kind.split_once(':') {
            None => sparsity::largest(&worth, kind.parse().unwrap()),
            Some((n, m)) => sparsity::n_of_m(&worth, n.parse().unwrap(), m.parse().unwrap()),
        };
        let theirs: Vec<bool> = floats(mask).iter().map(|m| *m != 0.0).collect();
        assert_eq!(ours, theirs, "{kind}");
        tried += 1;
    }
    assert_eq!(tried, 6);
}

/// Passes `x` through a linear layer with the identity as its other factor, to read the quantized
/// `x`.
#[test]
fn rounding_and_its_estimator_are_pytorchs() {
    let goldens = goldens();
    let weight = floats(&goldens["weight"]);
    let parameter = |values: Vec<f32>, shape: &[usize]| {
        Parameter::new("p", values, shape, &Device::Cpu).unwrap()
    };
    let identity =
        |n: usize| (0..n * n).map(|i| f32::from(u8::from(i % (n + 1) == 0))).collect::<Vec<_>>();
    let layer = Linear {
        weight: parameter(weight.clone(), &[24, 32]),
        bias: parameter(vec![0.0; 24], &[24]),
        site: None,
    };
    for (bits, name) in [(WeightBits::Seven, "7"), (WeightBits::Eight, "8")] {
        for fused in [true, false] {
            let quantized = Some(Int8::new(bits, EmbeddingBits::Eight));
            let training = Some((0.0, 1));
            let mode = Mode { training, fused, quantized, ..Mode::predict() };
            let x = candle_core::Var::from_vec(identity(32), (32, 32), &Device::Cpu).unwrap();
            let out = layer.forward(x.as_tensor(), &mode).unwrap();
            let theirs = floats(&goldens[&format!("fake/weight-{name}")]);
            near(&floats(&out.t().unwrap()), &theirs, 1e-6, name);
            if bits == WeightBits::Eight {
                continue;
            }
            let mut store = out.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            layer.weight.absorb(&mut store).unwrap();
            let Some(Gradient::Dense(gradient)) = layer.weight.take_gradient() else { panic!() };
            drop(layer.bias.take_gradient());
            let theirs = floats(&goldens["fake/weight-gradient"]);
            near(&floats(&gradient), &theirs, 1e-5, "gradient");
        }
    }
    let eye = Linear {
        weight: parameter(identity(32), &[32, 32]),
        bias: parameter(vec![0.0; 32], &[32]),
        site: None,
    };
    let quantized = Some(Int8::new(WeightBits::Eight, EmbeddingBits::Eight));
    let x = Tensor::from_vec(weight, (24, 32), &Device::Cpu).unwrap();
    let rows = eye.forward(&x, &Mode { quantized, ..Mode::predict() }).unwrap();
    near(&floats(&rows), &floats(&goldens["fake/rows"]), 1e-6, "rows");
}

#[test]
fn importance_is_what_autograd_says() {
    let goldens = goldens();
    for name in FIXTURES {
        let of = |part: &str| floats(&goldens[&format!("{name}/{part}")]);
        let (ids, lengths, labels) = (of("ids"), of("lengths"), of("labels"));
        let longest = ids.len() / lengths.len();
        let sentences: Vec<_> = ids
            .chunks_exact(longest)
            .zip(lengths.iter().zip(&labels))
            .map(|(ids, (n, label))| {
                (ids[..*n as usize].iter().map(|id| *id as u32).collect::<Vec<_>>(), *label as u32)
            })
            .collect();
        let network = network(name);
        let ours = importance(&network, &sentences, &AtomicBool::new(false), |_, _| {}).unwrap();
        for (ours, part) in [(ours.heads, "heads"), (ours.neurons, "neurons")] {
            let theirs = of(part);
            let width = theirs.len() / ours.len();
            for (ours, theirs) in ours.iter().zip(theirs.chunks_exact(width)) {
                let length = theirs.iter().map(|t| t * t).sum::<f32>().sqrt();
                let theirs: Vec<f32> = theirs.iter().map(|t| t / length).collect();
                let ours: Vec<f32> = ours.iter().map(|v| *v as f32).collect();
                near(&ours, &theirs, 1e-4, &format!("{name} {part}"));
            }
        }
    }
}

#[test]
fn a_pruned_network_is_the_whole_one_without_its_parts() {
    let place = tempfile::tempdir().unwrap();
    for name in FIXTURES {
        let whole = network(name);
        let layers = whole.blocks.len();
        let kept = Kept {
            heads: (0..layers)
                .map(|l| (0..whole.blocks[l].heads).filter(|h| h % 2 == l % 2).collect())
                .collect(),
            neurons: (0..layers)
                .map(|l| {
                    (0..whole.config.encoder.intermediate).filter(|n| n % (l + 2) > 0).collect()
                })
                .collect(),
        };
        let output = place.path().join(name);
        prune(Path::new(&format!("../models/fixtures/{name}")), &kept, &output).unwrap();
        let opened = Checkpoint::open(&output).unwrap();
        for layer in 0..layers {
            assert_eq!(opened.config.encoder.widths(layer).heads, kept.heads[layer].len());
            assert_eq!(opened.config.encoder.widths(layer).intermediate, kept.neurons[layer].len());
        }
        let pruned = load(&opened, Device::Cpu).unwrap();

        let size = whole.config.encoder.head_size();
        for (layer, block) in whole.blocks.iter().enumerate() {
            let zero = |linear: &Linear, size: usize, kept: &[usize]| {
                let inputs = linear.weight.var().dim(1).unwrap();
                let mut values = floats(linear.weight.var().as_tensor());
                for (i, v) in values.iter_mut().enumerate() {
                    if !kept.contains(&(i % inputs / size)) {
                        *v = 0.0;
                    }
                }
                let shape = linear.weight.var().shape().clone();
                let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
                linear.weight.var().set(&values).unwrap();
            };
            zero(&block.attention_output, size, &kept.heads[layer]);
            zero(&block.output, 1, &kept.neurons[layer]);
        }
        let batch = Batch::new([vec![2, 5, 6, 7, 8, 9, 3], vec![2, 11, 3]]);
        for fused in [true, false] {
            let mode = Mode { fused, ..Mode::predict() };
            let logits = |n: &Network| {
                let exits = n.forward(&batch, &mode).unwrap().logits;
                exits.iter().flat_map(floats).collect::<Vec<_>>()
            };
            near(&logits(&pruned), &logits(&whole), 1e-5, name);
        }
    }
}

/// Runs one step of gradients of ones, with and without masks.
#[test]
fn masked_weights_stay_zero_and_movement_counts_what_moves() {
    let network = network("distilbert-exits");
    let steps = 10;
    for method in [Method::Magnitude, Method::Movement] {
        let sparsity = Sparsity { method, share: 0.5, end: 0.5, every: 1, ..Sparsity::default() };
        let mut masks = Masks::new(&network, &sparsity).unwrap();
        masks.hide(0, steps).unwrap();
        let weight = &network.blocks[0].query.weight;
        let scores: Vec<_> = masks.parameters().collect();
        assert_eq!(scores.is_empty(), method == Method::Magnitude);
        let gradient: Vec<f32> =
            (0..weight.var().elem_count()).map(|i| (i % 7) as f32 - 3.0).collect();
        weight.add_gradient(gradient.clone()).unwrap();
        masks.pass_on().unwrap();
        if let Some(scores) = scores.first() {
            let Some(Gradient::Dense(of_scores)) = scores.take_gradient() else { panic!() };
            let values = floats(weight.var().as_tensor());
            let products: Vec<f32> = values.iter().zip(&gradient).map(|(w, g)| w * g).collect();
            assert_eq!(floats(&of_scores), products);
            let moved: Vec<f32> = products.iter().map(|p| -p).collect();
            let moved = Tensor::from_vec(moved, scores.var().shape(), &Device::Cpu).unwrap();
            scores.var().set(&moved).unwrap();
        }
        drop(weight.take_gradient());
        for step in 1..=steps {
            masks.hide(step, steps).unwrap();
        }
        let seen = floats(weight.masked().unwrap().as_tensor());
        let zeros = seen.iter().filter(|v| **v == 0.0).count();
        assert_eq!(zeros, seen.len() / 2, "{method:?}");
        weight.add_gradient(vec![1.0; seen.len()]).unwrap();
        masks.pass_on().unwrap();
        let Some(Gradient::Dense(passed)) = weight.take_gradient() else { panic!() };
        for (seen, passed) in seen.iter().zip(floats(&passed)) {
            assert_eq!(passed, f32::from(u8::from(*seen != 0.0)));
        }
    }
}
