//! Comparison of the fast backward passes with candle's own over composed operators, and with a
//! GPU's.

use candle_core::{DType, Device};
use edge_toolkit::checkpoint::{Checkpoint, Pooling};
use edge_toolkit::network::Network;
use edge_toolkit::network::{Batch, Gradient, Heads, Mode, Start, start};
use edge_toolkit::train::loss::{Losses, Targets};
use std::collections::BTreeMap;

fn network(fixture: &str, heads: Heads) -> Network {
    network_on(fixture, heads, Device::Cpu)
}

fn network_on(fixture: &str, heads: Heads, device: Device) -> Network {
    let from = Checkpoint::open(format!("../models/fixtures/{fixture}")).unwrap();
    let config = from.config.clone();
    let layers = (0..config.encoder.layers).collect();
    start(&Start { from: &from, config, layers, heads, seed: 1, device }).unwrap()
}

fn batch() -> Batch {
    Batch::new([vec![2, 5, 6, 7, 8, 9, 3], vec![2, 5, 3], vec![2, 11, 12, 13, 3]])
}

/// Loss and gradient of every parameter; missing rows of embeddings are zeros.
fn gradients(network: &Network, mode: &Mode, losses: &Losses) -> (f32, BTreeMap<String, Vec<f32>>) {
    let batch = batch();
    let output = network.forward(&batch, mode).unwrap();
    let targets = Targets {
        task: edge_toolkit::tasks::of(&network.config.task).unwrap(),
        labels: &[Some(0), None, Some(1)],
        teacher_logits: None,
        teacher: None,
        projections: &[],
    };
    let loss = losses.of(&output, &batch, &targets).unwrap();
    let mut store = loss.total.backward().unwrap();
    network.absorb(&mut store).unwrap();
    let gradients = network.parameters().into_iter().map(|p| {
        let all = match p.take_gradient() {
            None => Vec::new(),
            Some(Gradient::Dense(g)) => g.flatten_all().unwrap().to_vec1().unwrap(),
            Some(Gradient::Rows { rows, values }) => {
                let width = values.len() / rows.len();
                let mut all = vec![0.0; p.var().elem_count()];
                for (row, values) in rows.iter().zip(values.chunks_exact(width)) {
                    all[*row as usize * width..][..width].copy_from_slice(values);
                }
                all
            }
        };
        (p.name().to_owned(), all)
    });
    (loss.total.to_scalar().unwrap(), gradients.collect())
}

fn mode(fused: bool) -> Mode {
    Mode {
        training: Some((0.2, 77)),
        precision: DType::F32,
        attention: false,
        fused,
        quantized: None,
    }
}

#[test]
fn fast_and_composed_passes_agree() {
    let losses = Losses { itself: 0.5, ..Losses::default() };
    for (fixture, heads) in [
        ("bert-exits", Heads::Exits(vec![0, 1, 4], Pooling::Mean, 8)),
        ("bert-plain", Heads::Own),
        ("distilbert-exits", Heads::Exits(vec![1, 3], Pooling::Cls, 8)),
        ("distilbert-plain", Heads::Own),
    ] {
        let network = network(fixture, heads);
        let (loss, fast) = gradients(&network, &mode(true), &losses);
        let (composed_loss, composed) = gradients(&network, &mode(false), &losses);
        assert!((loss - composed_loss).abs() < 1e-5, "{fixture}: {loss} and {composed_loss}");
        for (name, slow) in &composed {
            let fast = &fast[name];
            let largest = slow.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert_eq!(fast.len(), slow.len(), "{fixture}: {name}");
            for (f, s) in fast.iter().zip(slow) {
                let off = (f - s).abs();
                assert!(off <= 1e-4 * largest + 1e-7, "{fixture}: {name}: {f} and {s}");
            }
        }
    }
}

/// Needs a GPU, and a build with `--features cuda`.
#[test]
fn a_gpu_gives_the_losses_and_gradients_of_the_cpu() {
    let (gpu, _) = match edge_toolkit::device("cuda") {
        Ok(gpu) => gpu,
        Err(reason) => return eprintln!("NOT RUN: {reason}"),
    };
    let losses = Losses { itself: 0.5, ..Losses::default() };
    for (fixture, heads) in [
        ("bert-exits", Heads::Exits(vec![0, 1, 4], Pooling::Mean, 8)),
        ("distilbert-exits", Heads::Exits(vec![1, 3], Pooling::Cls, 8)),
    ] {
        let [(loss, ours), (gpu_loss, theirs)] = [Device::Cpu, gpu.clone()].map(|device| {
            gradients(&network_on(fixture, heads.clone(), device), &mode(false), &losses)
        });
        assert!((loss - gpu_loss).abs() < 1e-4, "{fixture}: {loss} and {gpu_loss}");
        for (name, ours) in &ours {
            let largest = ours.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert_eq!(ours.len(), theirs[name].len(), "{fixture}: {name}");
            for (a, b) in ours.iter().zip(&theirs[name]) {
                let off = (a - b).abs();
                assert!(off <= 1e-3 * largest + 1e-6, "{fixture}: {name}: {a} and {b}");
            }
        }
    }
}

/// Candle's fused operators drop gradients without an error; none of this project's operators may
/// do so.
#[test]
fn every_parameter_gets_a_gradient() {
    for fused in [true, false] {
        let network = network("bert-exits", Heads::Exits(vec![0, 1, 4], Pooling::Mean, 8));
        let (_, gradients) = gradients(&network, &mode(fused), &Losses::default());
        for (name, gradient) in gradients {
            assert!(!gradient.is_empty(), "{name} got no gradient");
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
            assert!(gradient.iter().any(|g| *g != 0.0), "{name}: every gradient is 0");
        }
    }
}

#[test]
fn equal_keys_give_equal_bits() {
    let network = network("distilbert-exits", Heads::Exits(vec![1, 3], Pooling::Mean, 8));
    let run = || gradients(&network, &mode(true), &Losses::default());
    let (a, b) = (run(), run());
    assert_eq!(a.0.to_bits(), b.0.to_bits());
    assert_eq!(a.1, b.1);
}

#[test]
fn bf16_is_near_f32() {
    let network = network("bert-exits", Heads::Exits(vec![1, 4], Pooling::Mean, 8));
    let half = Mode { precision: DType::BF16, ..mode(true) };
    let (f32_loss, _) = gradients(&network, &mode(true), &Losses::default());
    let (loss, gradients) = gradients(&network, &half, &Losses::default());
    assert!((loss - f32_loss).abs() < 2e-2, "{loss} and {f32_loss}");
    assert!(gradients.values().all(|g| g.iter().all(|g| g.is_finite()) && !g.is_empty()));
}
