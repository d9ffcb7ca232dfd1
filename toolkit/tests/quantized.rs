//! Fake quantization against the runtime: what a network says that computes in int8 while it is trained is
//! what its exported bundle says.

use candle_core::{Device, Tensor, Var};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::export::{EmbeddingBits, Precision, WeightBits, export};
use edge_toolkit::model::{Gradient, Int8, Mode, Site, Sites};
use edge_toolkit::report::outcome::Outcomes;
use edge_toolkit::train::{load, predict, tokenizer};
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

/// The largest difference of a logit over the project's sentences.
fn difference(folder: &str, int8: Int8) -> f32 {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let place = tempfile::tempdir().unwrap();
    let bundle = place.path().join("model.edge");
    export(&checkpoint, Precision::Int8(int8), &bundle, |_, _, _| {}).unwrap();
    let texts = std::fs::read_to_string("../tests/python/sentences.txt").unwrap();
    let texts: Vec<String> = texts.lines().map(String::from).collect();
    let run = Outcomes::of_bundle(&bundle, &texts, vec![0; texts.len()], |_, _| {}).unwrap();

    let network = load(&checkpoint, Device::Cpu).unwrap();
    let tokenizer = tokenizer(&checkpoint, checkpoint.config.max_tokens).unwrap();
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

/// One layer, of which both forms see the same rounded numbers: its weight's gradient and its input's.
#[test]
fn both_forms_estimate_the_same_gradients() {
    let checkpoint = Checkpoint::open("../models/fixtures/distilbert-exits").unwrap();
    let network = load(&checkpoint, Device::Cpu).unwrap();
    let layer = &network.blocks[0].intermediate;
    let inputs = network.config.hidden;
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
