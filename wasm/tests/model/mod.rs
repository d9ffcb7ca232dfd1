//! A small model in two stages with made-up weights.

use edge_runtime::engine::Tokens;
use edge_runtime::graph::{Activation, Call, Elements, Matrix, Norm, Op, StageGraph};

/// Width of the hidden states.
pub const HIDDEN: usize = 36;

fn matrix(rows: usize, columns: usize, scales: Option<usize>) -> Matrix {
    let at = |i: usize| (i * 31 % 101) as i32 - 50;
    let elements = match scales {
        Some(scales) => Elements::I8 {
            values: (0..rows * columns).map(|i| at(i) as i8 as u8).collect(),
            scales: vec![0.01; scales],
        },
        None => Elements::F32((0..rows * columns).map(|i| at(i) as f32 / 50.0).collect()),
    };
    Matrix { rows, columns, elements }
}

/// Builds two stages that have all kernels together, including embeddings and exits.
pub fn stages(quantized: bool) -> [StageGraph; 2] {
    let norm = || Norm { gamma: vec![1.0; HIDDEN], beta: vec![0.1; HIDDEN], epsilon: 1e-5 };
    let call = |name: &str, inputs: &[usize], op: Op| Call {
        name: name.into(),
        op,
        inputs: inputs.to_vec(),
    };
    let linear = |k: usize, n: usize, activation: Activation| Op::Linear {
        weight: matrix(k, n, quantized.then_some(n)),
        bias: vec![0.1; n],
        activation,
    };
    let words = matrix(50, HIDDEN, quantized.then_some(50));
    let positions = matrix(64, HIDDEN, quantized.then_some(64));
    let embed = Op::Embed { words, positions, norm: norm() };
    let first = StageGraph {
        name: "stage-0".into(),
        input: None,
        calls: vec![
            call("embed", &[0], embed),
            call("pool", &[1], Op::MeanPool),
            call("head", &[2], linear(HIDDEN, 3, Activation::Identity)),
        ],
        next_hidden: Some((1, HIDDEN)),
        logits: Some((3, 3)),
    };
    let second = StageGraph {
        name: "stage-1".into(),
        input: Some(HIDDEN),
        calls: vec![
            call("qkv", &[0], linear(HIDDEN, 3 * HIDDEN, Activation::Identity)),
            call("attention", &[1], Op::SelfAttention { heads: 3 }),
            call("out", &[2], linear(HIDDEN, HIDDEN, Activation::Identity)),
            call("norm", &[3, 0], Op::AddNorm(norm())),
            call("up", &[4], linear(HIDDEN, 50, Activation::Gelu)),
            call("down", &[5], linear(50, HIDDEN, Activation::Identity)),
            call("norm2", &[6, 4], Op::AddNorm(norm())),
            call("first", &[7], Op::FirstPool),
            call("pooler", &[8], linear(HIDDEN, HIDDEN, Activation::Tanh)),
            call("head", &[9], linear(HIDDEN, 3, Activation::Identity)),
        ],
        next_hidden: Some((7, HIDDEN)),
        logits: Some((10, 3)),
    };
    [first, second]
}

/// Makes a batch of sentences of these lengths.
pub fn tokens(lengths: &[usize]) -> Tokens {
    let sentences: Vec<Vec<u32>> =
        lengths.iter().map(|n| (0..*n as u32).map(|i| i * 7 % 50).collect()).collect();
    Tokens::new(&sentences)
}
