//! Comparison of fake quantization with the runtime: a network that trains in int8 arithmetic gives
//! the answers of its exported bundle.

use candle_core::{DType, Device, Tensor, Var, safetensors};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::compress::{sensitivity::Study, smooth::smooth};
use edge_toolkit::export::export;
use edge_toolkit::measure::outcome::Outcomes;
use edge_toolkit::network::load;
use edge_toolkit::network::{Gradient, Mode};
use edge_toolkit::quantize::{EmbeddingBits, Int8, Precision, Site, Sites, WeightBits};
use edge_toolkit::train::{predict, tokenizer};
use std::path::Path;
use std::sync::atomic::AtomicBool;

const USUAL: Int8 = Int8::new(WeightBits::Seven, EmbeddingBits::Eight);
const FOUR_BITS: Int8 = Int8 { four_bits: Sites::ALL, ..USUAL };

fn modes() -> [Int8; 6] {
    let some = [Site::Qkv(0), Site::Output(1), Site::Dense(1)].into_iter().collect();
    [
        USUAL,
        Int8::new(WeightBits::Eight, EmbeddingBits::Eight),
        Int8::new(WeightBits::Seven, EmbeddingBits::Four),
        FOUR_BITS,
        Int8 { four_bits: some, ..USUAL },
        Int8 { four_bits: Sites::ALL, ..Int8::new(WeightBits::Eight, EmbeddingBits::Four) },
    ]
}

fn texts() -> Vec<String> {
    let texts = std::fs::read_to_string("../tests/python/sentences.txt").unwrap();
    texts.lines().map(String::from).collect()
}

/// Largest difference of a logit over the project's sentences.
fn difference(folder: &str, int8: Int8) -> f32 {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let place = tempfile::tempdir().unwrap();
    let bundle = place.path().join("model.edge");
    export(&checkpoint, Precision::Int8(int8), &bundle, |_, _, _| {}).unwrap();
    let texts = texts();
    let run = Outcomes::of_bundle(&bundle, &texts, vec![0; texts.len()], |_, _| {}).unwrap();

    let network = load(&checkpoint, Device::Cpu).unwrap();
    let tokenizer = tokenizer(&checkpoint, checkpoint.config.encoder.max_tokens).unwrap();
    let ids: Vec<_> = texts.iter().map(|t| tokenizer.encode(t).unwrap().ids).collect();
    let mode = Mode { quantized: Some(int8), ..Mode::predict() };
    let trained = predict(&network, &mode, &ids, &AtomicBool::new(false), &mut |_, _| {}).unwrap();
    let all = |logits: &[Vec<Vec<f32>>]| logits.concat().concat();
    let (run, trained) = (all(&run.logits), all(&trained));
    assert_eq!(run.len(), trained.len());
    run.iter().zip(&trained).fold(0.0, |m: f32, (a, b)| m.max((a - b).abs()))
}

#[test]
fn the_forward_pass_is_the_runtimes() {
    for folder in ["../models/fixtures/bert-exits", "../models/fixtures/distilbert-exits"] {
        for mode in modes() {
            let off = difference(folder, mode);
            assert!(off < 1e-4, "{folder} {mode:?}: logits differ by {off}");
        }
    }
}

#[test]
fn so_it_is_with_the_shipped_models() {
    for folder in ["../models/sst2-minilm", "../models/sst2-minilm-small"] {
        for mode in [USUAL, FOUR_BITS] {
            let off = difference(folder, mode);
            assert!(off < 1e-4, "{folder} {mode:?}: logits differ by {off}");
        }
    }
}

/// Computes one layer in both forms from the same rounded numbers: gradients of its weight and its
/// input.
#[test]
fn both_forms_estimate_the_same_gradients() {
    let checkpoint = Checkpoint::open("../models/fixtures/distilbert-exits").unwrap();
    let network = load(&checkpoint, Device::Cpu).unwrap();
    let layer = &network.blocks[0].intermediate;
    let inputs = network.config.encoder.hidden;
    let x: Vec<f32> = (0..6 * inputs).map(|i| ((i * 37 % 101) as f32 - 50.0) / 9.0).collect();
    for quantized in [USUAL, FOUR_BITS] {
        let [fast, composed] = [true, false].map(|fused| {
            let training = Some((0.0, 1));
            let mode = Mode { training, fused, quantized: Some(quantized), ..Mode::predict() };
            let x = Var::from_vec(x.clone(), (6, inputs), &Device::Cpu).unwrap();
            let out = layer.forward(x.as_tensor(), &mode).unwrap();
            let mut store = out.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            layer.weight.absorb(&mut store).unwrap();
            layer.bias.absorb(&mut store).unwrap();
            let Some(Gradient::Dense(of_weight)) = layer.weight.take_gradient() else { panic!() };
            drop(layer.bias.take_gradient());
            let all = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            [all(&of_weight), all(store.get(x.as_tensor()).unwrap())].concat()
        });
        let largest = fast.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
        assert_eq!(fast.len(), composed.len());
        for (f, c) in fast.iter().zip(&composed) {
            assert!((f - c).abs() <= 1e-5 * largest, "{f} and {c}, of at most {largest}");
        }
    }
}

/// Compares measurements in the trained network with exported bundles that are run.
#[test]
fn sensitivity_is_what_bundles_say() {
    let folder = Path::new("../models/fixtures/bert-exits");
    let (checkpoint, texts) = (Checkpoint::open(folder).unwrap(), texts());
    let stop = AtomicBool::new(false);
    let study = Study::of(folder, None, &texts, &stop, |_, _| {}).unwrap();
    let place = tempfile::tempdir().unwrap();
    let probabilities = |four_bits: Sites| -> Vec<Vec<f64>> {
        let bundle = place.path().join("model.edge");
        let precision = Precision::Int8(Int8 { four_bits, ..USUAL });
        export(&checkpoint, precision, &bundle, |_, _, _| {}).unwrap();
        let truth = vec![0; texts.len()];
        let run = Outcomes::of_bundle(&bundle, &texts, truth, |_, _| {}).unwrap();
        let softmax = |logits: &Vec<f32>| {
            let e: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp()).collect();
            e.iter().map(|v| v / e.iter().sum::<f64>()).collect()
        };
        run.logits.iter().flatten().map(softmax).collect()
    };
    let usual = probabilities(Sites::NONE);
    let some = [Site::Qkv(1), Site::Dense(0)].into_iter().collect();
    for sites in [some, Sites::from_iter([Site::Output(0)]), Sites::ALL] {
        let all = usual.iter().zip(probabilities(sites));
        let expected = all
            .map(|(p, q)| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>())
            .sum::<f64>()
            / usual.len() as f64;
        let found = study.divergence(sites, &stop).unwrap();
        assert!(found > 1e-8 && (found - expected).abs() < 1e-3 * expected, "{found} {expected}");
    }
    assert_eq!(study.divergence(Sites::NONE, &stop).unwrap(), 0.0);
}

fn in_floats(folder: &Path) -> Vec<f32> {
    let network = load(&Checkpoint::open(folder).unwrap(), Device::Cpu).unwrap();
    let tokenizer =
        tokenizer(&Checkpoint::open(folder).unwrap(), network.config.encoder.max_tokens).unwrap();
    let ids: Vec<_> = texts().iter().map(|t| tokenizer.encode(t).unwrap().ids).collect();
    let stop = AtomicBool::new(false);
    predict(&network, &Mode::predict(), &ids, &stop, &mut |_, _| {}).unwrap().concat().concat()
}

#[test]
fn smoothing_changes_nothing_in_floats() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("smooth");
    let stop = AtomicBool::new(false);
    for name in ["fixtures/bert-exits", "fixtures/distilbert-exits", "sst2-minilm-small"] {
        let folder = Path::new("../models").join(name);
        for alpha in [0.5, 1.0] {
            let done = smooth(&folder, &texts()[..40], alpha, &stop, |_, _| {}).unwrap();
            let (moved, channels) = (done.moved, done.channels);
            assert!(moved > 0 && moved <= channels, "{name}: {moved} of {channels}");
            assert_eq!(done.helps(), done.after < done.before);
            done.write(&output).unwrap();
            let pairs = in_floats(&folder).into_iter().zip(in_floats(&output));
            let off = pairs.fold(0.0, |m: f32, (a, b)| m.max((a - b).abs()));
            assert!(off < 1e-5, "{name}, {alpha}: logits differ by {off}");
        }
    }
    for alpha in [-0.1, 1.1, f32::NAN] {
        let folder = Path::new("../models/fixtures/bert-exits");
        let error = smooth(folder, &texts(), alpha, &stop, |_, _| {}).err().unwrap();
        assert!(error.to_string().contains("between 0 and 1"), "{error}");
    }
}

/// Scales some channels of the values by 64 and the next layer's weights by its inverse. Int8 loses
/// much by these outliers; smoothing finds and undoes the scale.
#[test]
fn smoothing_undoes_what_int8_cannot_bear() {
    let place = tempfile::tempdir().unwrap();
    let hard = place.path().join("hard");
    let from = Path::new("../models/fixtures/distilbert-exits");
    std::fs::create_dir(&hard).unwrap();
    for file in ["config.json", "exits.json", "tokenizer.json"] {
        std::fs::copy(from.join(file), hard.join(file)).unwrap();
    }
    let mut tensors = safetensors::load(from.join("model.safetensors"), &Device::Cpu).unwrap();
    let width = Checkpoint::open(from).unwrap().config.encoder.hidden;
    let factors = (0..width).map(|j| if j % 8 == 3 { 64.0f32 } else { 1.0 }).collect::<Vec<_>>();
    let factors = Tensor::new(factors, &Device::Cpu).unwrap();
    for (name, tensor) in &mut tensors {
        let by = match name {
            n if n.ends_with("v_lin.weight") => factors.unsqueeze(1).unwrap(),
            n if n.ends_with("v_lin.bias") => factors.clone(),
            n if n.ends_with("out_lin.weight") => factors.recip().unwrap().unsqueeze(0).unwrap(),
            _ => continue,
        };
        *tensor = tensor.to_dtype(DType::F32).unwrap().broadcast_mul(&by).unwrap();
    }
    safetensors::save(&tensors, hard.join("model.safetensors")).unwrap();
    let stop = AtomicBool::new(false);
    let done = smooth(&hard, &texts()[..60], 0.5, &stop, |_, _| {}).unwrap();
    assert!(done.helps() && done.after < 0.5 * done.before, "{} of {}", done.after, done.before);
}
