//! Benchmark of each kernel in one encoder layer with random weights: time, work and traffic.
//!
//!     cargo bench -p edge-runtime --no-default-features --bench kernels -- [TOKENS]...
//!
//! The shape is that of MiniLM-L6-H384. The weights are those of one layer and stay in the cache,
//! if it is large enough; in a whole model they come from further away. `ISAS=all`, or a list such
//! as `ISAS=Avx2,AvxVnni`, measures other instruction sets than the detected one.

use edge_runtime::engine::{CpuEngine, Engine, Logits, Tokens};
use edge_runtime::graph::{Activation, Call, Elements, Matrix, Norm, Op, StageGraph};
use edge_runtime::kernels::activation::activate;
use edge_runtime::kernels::attention::{Scratch, self_attention};
use edge_runtime::kernels::isa::Isa;
use edge_runtime::kernels::linear::{Weights, linear};
use edge_runtime::kernels::norm::add_norm;
use edge_runtime::kernels::pool::mean_pool;
use std::hint::black_box;
use std::time::{Duration, Instant};

const HIDDEN: usize = 384;
const HEADS: usize = 12;
const FFN: usize = 1536;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).flat_map(|a| a.parse()).collect();
    let asked = if asked.is_empty() { vec![16, 32, 128] } else { asked };
    let mut isas = Isa::available();
    match std::env::var("ISAS") {
        Ok(all) if all == "all" => {}
        Ok(list) => isas.retain(|isa| list.split(',').any(|name| name == format!("{isa:?}"))),
        Err(_) => isas = vec![Isa::detect()],
    }
    for isa in isas {
        for tokens in &asked {
            table(isa, *tokens);
        }
    }
}

fn table(isa: Isa, tokens: usize) {
    println!("\n{isa:?}, {tokens} tokens");
    println!("{:24} {:>10} {:>12} {:>10} {:>10}", "kernel", "µs", "operations", "bytes", "Gop/s");
    let report = |name: &str, operations: usize, bytes: usize, time: Duration| {
        let us = time.as_secs_f64() * 1e6;
        let rate = operations as f64 / time.as_secs_f64() / 1e9;
        println!("{name:24} {us:>10.2} {operations:>12} {bytes:>10} {rate:>10.1}");
    };
    let floats =
        |n: usize| -> Vec<f32> { (0..n).map(|i| (i * 7919 % 1013) as f32 / 506.0 - 1.0).collect() };
    let (x, residual) = (floats(tokens * HIDDEN), floats(tokens * HIDDEN));
    let mut out = vec![0.0; tokens * FFN];
    let offsets = [0, tokens];
    let norm = Norm { gamma: floats(HIDDEN), beta: floats(HIDDEN), epsilon: 1e-12 };

    let qkv = floats(tokens * 3 * HIDDEN);
    let mut scratch = Scratch::default();
    let n = tokens * HIDDEN;
    let time = fastest(|| {
        self_attention(isa, &qkv, &offsets, HEADS, usize::MAX, &mut scratch, &mut out[..n]);
    });
    report("SelfAttention", 4 * tokens * n, 16 * n, time);
    let time = fastest(|| add_norm(isa, &x, &residual, &norm, &mut out[..n]));
    report("AddNorm", 8 * n, 12 * n, time);
    let time = fastest(|| mean_pool(isa, &x, &offsets, HIDDEN, &mut out[..HIDDEN]));
    report("MeanPool", n, 4 * n, time);
    for (name, k, m, activation) in [
        ("Linear 384 x 1152", HIDDEN, 3 * HIDDEN, Activation::Identity),
        ("Linear 384 x 384", HIDDEN, HIDDEN, Activation::Identity),
        ("LinearGelu 384 x 1536", HIDDEN, FFN, Activation::Gelu),
        ("Linear 1536 x 384", FFN, HIDDEN, Activation::Identity),
    ] {
        let (x, weights) = (floats(tokens * k), Weights::new(k, &floats(k * m), floats(m)));
        let time = fastest(|| linear(isa, &x, &weights, activation, &mut out[..tokens * m]));
        report(name, 2 * tokens * k * m, 4 * (k * m + tokens * (k + m)), time);
    }
    let weights = Weights::new(HIDDEN, &floats(HIDDEN * HIDDEN), floats(HIDDEN));
    let time =
        fastest(|| linear(isa, &x[..HIDDEN], &weights, Activation::Tanh, &mut out[..HIDDEN]));
    report("LinearTanh, one row", 2 * HIDDEN * HIDDEN, 4 * HIDDEN * HIDDEN, time);

    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Tanh] {
        let mut values = floats(tokens * FFN);
        let time = fastest(|| activate(isa, black_box(&mut values), activation));
        report(&format!("{activation:?}"), tokens * FFN, 8 * tokens * FFN, time);
    }

    for (name, quantized, models) in [
        ("six layers, fp32", false, 1),
        ("six layers, int8", true, 1),
        // Larger than the cache: the weights come from memory, as for an occasional sentence.
        ("six layers, int8, cold", true, 12),
    ] {
        let engines: Vec<CpuEngine> = (0..models).map(|_| model(isa, quantized)).collect();
        let ids: Vec<u32> = (0..tokens as u32).map(|i| i * 31 % 1000).collect();
        let mut logits = Logits::default();
        let mut next = engines.iter().cycle();
        let time = median(|| {
            let engine = next.next().expect("there is one");
            let mut batch = engine.begin(Tokens::new(&[&ids])).expect("a good batch");
            for stage in 0..engine.stages() {
                engine.run(stage, &mut batch, &mut logits).expect("it runs");
            }
        });
        let operations = 6 * (24 * tokens * HIDDEN * HIDDEN + 4 * tokens * n);
        let bytes = 6 * 12 * HIDDEN * HIDDEN * if quantized { 1 } else { 4 };
        report(name, operations, bytes, time);
    }
}

fn model(isa: Isa, quantized: bool) -> CpuEngine {
    let mut engine = CpuEngine::with_isa(isa);
    engine.add_stage(embeddings()).expect("a good graph");
    for _ in 0..6 {
        engine.add_stage(layer(quantized)).expect("a good graph");
    }
    engine
}

/// Median of many runs.
fn median(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut times = vec![];
    while times.len() < 30 || (start.elapsed() < Duration::from_millis(500) && times.len() < 2000) {
        let once = Instant::now();
        work();
        times.push(once.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Fastest of many runs: other processes use the machine too.
fn fastest(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    let mut runs = 0;
    while runs < 10 || (start.elapsed() < Duration::from_millis(300) && runs < 20_000) {
        let once = Instant::now();
        work();
        best = best.min(once.elapsed());
        runs += 1;
    }
    best
}

fn matrix(rows: usize, columns: usize, quantized: bool) -> Matrix {
    let at = |i: usize| (i * 7919 % 251) as i32 - 125;
    let elements = if quantized {
        let values: Vec<u8> = (0..rows * columns).map(|i| at(i) as i8 as u8).collect();
        Elements::I8 { values: values.into(), scales: vec![1.0 / 4000.0; columns] }
    } else {
        Elements::F32((0..rows * columns).map(|i| at(i) as f32 / 4000.0).collect())
    };
    Matrix { rows, columns, elements }
}

fn norm() -> Norm {
    Norm { gamma: vec![1.0; HIDDEN], beta: vec![0.0; HIDDEN], epsilon: 1e-12 }
}

fn embeddings() -> StageGraph {
    let op = Op::Embed {
        words: matrix(1000, HIDDEN, false),
        positions: matrix(512, HIDDEN, false),
        norm: norm(),
    };
    StageGraph {
        name: "embeddings".into(),
        input: None,
        calls: vec![Call { name: "embed".into(), op, inputs: vec![0] }],
        next_hidden: Some((1, HIDDEN)),
        logits: None,
    }
}

fn layer(quantized: bool) -> StageGraph {
    let call = |name: &str, inputs: &[usize], op: Op| Call {
        name: name.into(),
        op,
        inputs: inputs.to_vec(),
    };
    let dense = |k: usize, n: usize, activation: Activation| Op::Linear {
        weight: matrix(k, n, quantized),
        bias: vec![0.1; n],
        activation,
    };
    let calls = vec![
        call("qkv", &[0], dense(HIDDEN, 3 * HIDDEN, Activation::Identity)),
        call("attention", &[1], Op::SelfAttention { heads: HEADS }),
        call("out", &[2], dense(HIDDEN, HIDDEN, Activation::Identity)),
        call("norm", &[3, 0], Op::AddNorm(norm())),
        call("up", &[4], dense(HIDDEN, FFN, Activation::Gelu)),
        call("down", &[5], dense(FFN, HIDDEN, Activation::Identity)),
        call("norm2", &[6, 4], Op::AddNorm(norm())),
    ];
    StageGraph {
        name: "layer".into(),
        input: Some(HIDDEN),
        calls,
        next_hidden: Some((7, HIDDEN)),
        logits: None,
    }
}
