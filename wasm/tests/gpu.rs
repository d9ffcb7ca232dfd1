//! The GPU engine on a small model, against the CPU engine.
#![cfg(feature = "wgpu")]

mod model;

use edge_runtime::engine::{CpuEngine, Engine, GpuEngine, GpuOptions, Left, Logits, Tokens};
use edge_runtime::graph::StageGraph;
use edge_runtime::{Error, ExitPolicy, GpuFailure};
use model::{HIDDEN, stages, tokens};

/// The engine, or `None`, loudly, where there is no adapter.
fn gpu(options: GpuOptions, stages: impl IntoIterator<Item = StageGraph>) -> Option<GpuEngine> {
    let mut engine = match GpuEngine::open_blocking(options) {
        Ok(engine) => engine,
        Err(Error::Gpu { failure: GpuFailure::NoAdapter, problem }) => {
            eprintln!("NOT RUN: no GPU adapter ({problem})");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    for stage in stages {
        engine.add_stage(stage).unwrap();
    }
    Some(engine)
}

fn cpu(stages: impl IntoIterator<Item = StageGraph>) -> CpuEngine {
    let mut engine = CpuEngine::default();
    for stage in stages {
        engine.add_stage(stage).unwrap();
    }
    engine
}

/// The two stages, and the second one twice more: four exits.
fn deep(quantized: bool) -> Vec<StageGraph> {
    let [first, second] = stages(quantized);
    vec![first, second.clone(), second.clone(), second]
}

/// Both stages so that only first rows of the last are asked for.
fn ending(quantized: bool) -> Vec<StageGraph> {
    let mut stages = deep(quantized);
    stages[3].next_hidden = None;
    stages
}

/// By the trait, stage by stage, with the policy applied here.
fn step_by_step<E: Engine>(engine: &E, tokens: Tokens, policy: &ExitPolicy) -> Vec<Left> {
    let mut inside: Vec<usize> = (0..tokens.sentences()).collect();
    let mut left = vec![Left { stage: 0, exits: Vec::new() }; inside.len()];
    let mut batch = engine.begin(tokens).unwrap();
    let mut logits = Logits::default();
    for stage in 0..engine.stages() {
        assert!(engine.run(stage, &mut batch, &mut logits).unwrap());
        let mut stay = Vec::new();
        for (row, (logits, sentence)) in logits.rows().zip(&inside).enumerate() {
            let left = &mut left[*sentence];
            left.stage = stage;
            left.exits.push(logits.to_vec());
            if stage + 1 < engine.stages() && !policy.leaves(stage, &left.exits) {
                stay.push(row);
            }
        }
        inside = stay.iter().map(|row| inside[*row]).collect();
        engine.keep(&mut batch, &stay).unwrap();
    }
    left
}

fn assert_same(a: &[Left], b: &[Left], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!(a.stage, b.stage, "{what}, sentence {i}: {a:?} {b:?}");
        for (a, b) in a.exits.iter().flatten().zip(b.exits.iter().flatten()) {
            assert!((a - b).abs() <= tolerance, "{what}, sentence {i}: {a} is not {b}");
        }
    }
}

const LENGTHS: [&[usize]; 5] =
    [&[1], &[5, 1, 17], &[33, 2, 64, 1, 1, 1, 16, 31], &[64; 9], &[3; 300]];

#[test]
fn the_same_answers_as_on_the_cpu() {
    for quantized in [false, true] {
        for unpacked in [false, true] {
            let options = GpuOptions { unpacked, default_limits: true, ..Default::default() };
            for model in [deep(quantized), ending(quantized)] {
                let Some(gpu) = gpu(options, model.clone()) else { return };
                let cpu = cpu(model);
                for lengths in LENGTHS {
                    let what = format!("int8 {quantized}, unpacked {unpacked}, {lengths:?}");
                    let never = ExitPolicy::Never;
                    let expected = step_by_step(&cpu, tokens(lengths), &never);
                    let alone = step_by_step(&gpu, tokens(lengths), &never);
                    assert_same(&alone, &expected, 2e-3, &what);
                    let whole = gpu.run_all(&tokens(lengths), &never).unwrap().unwrap();
                    assert_same(&whole, &alone, 0.0, &what);
                }
            }
        }
    }
}
