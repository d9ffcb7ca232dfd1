//! The GPU engine answers as the CPU engine does, on the fixtures and the shipped model.

use anyhow::Result;
use edge_runtime::engine::{Engine, ExitOn, GpuEngine, GpuOptions};
use edge_runtime::exit::{confidence, margin, normalized_entropy};
use edge_runtime::tokenizer::Encoded;
use edge_runtime::{Classifier, Error, ExitPolicy, GpuFailure, Prediction, Thresholds};
use edge_tests::{FIXTURES, Golden, PRECISIONS, Random, bundle, bundle_of, difference, project};
use edge_toolkit::export::{Precision, WeightBits};

/// How far logits may be apart.
const TOLERANCE: f32 = 2e-3;

/// The engine, or `None`, loudly, where there is no adapter.
fn gpu(exit_on: ExitOn) -> Result<Option<GpuEngine>> {
    match GpuEngine::open_blocking(GpuOptions { default_limits: true, ..Default::default() }) {
        Ok(engine) => Ok(Some(engine.with_exit_on(exit_on))),
        Err(Error::Gpu { failure: GpuFailure::NoAdapter, problem }) => {
            eprintln!("NOT RUN: no GPU adapter ({problem})");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn policies(exits: usize) -> Vec<ExitPolicy> {
    let mut policies = vec![ExitPolicy::Never, ExitPolicy::patience(1), ExitPolicy::patience(2)];
    for t in [0.0, 0.3, 0.55, 0.7, 0.9, 1.0] {
        policies.extend([ExitPolicy::confidence(t), ExitPolicy::entropy(t), ExitPolicy::margin(t)]);
    }
    let rising = (0..exits).map(|i| 0.55 + 0.4 * i as f32 / exits as f32).collect();
    policies.push(ExitPolicy::Margin { threshold: Thresholds::PerExit(rising) });
    policies
}

/// How far an exit's logits are from another decision.
fn distance(policy: &ExitPolicy, exit: usize, logits: &[f32]) -> f32 {
    let at = |t: &Thresholds| match t {
        Thresholds::Common(t) => *t,
        Thresholds::PerExit(all) => all[exit],
    };
    match policy {
        ExitPolicy::Confidence { threshold } => (confidence(logits) - at(threshold)).abs(),
        ExitPolicy::Entropy { threshold } => (normalized_entropy(logits) - at(threshold)).abs(),
        ExitPolicy::Margin { threshold } => (margin(logits) - at(threshold)).abs(),
        ExitPolicy::Patience { .. } => margin(logits),
        _ => f32::INFINITY,
    }
}

/// What has been compared.
#[derive(Default, Debug)]
struct Seen {
    sentences: usize,
    /// Near ties that went the other way.
    ties: usize,
    largest: f32,
}

impl Seen {
    fn compare(&mut self, policy: &ExitPolicy, cpu: &[Prediction], gpu: &[Prediction], what: &str) {
        assert_eq!(cpu.len(), gpu.len(), "{what}");
        for (i, (cpu, gpu)) in cpu.iter().zip(gpu).enumerate() {
            self.sentences += 1;
            for (a, b) in cpu.exits.iter().zip(&gpu.exits) {
                let apart = difference(a, b);
                self.largest = self.largest.max(apart);
                assert!(
                    apart <= TOLERANCE,
                    "{what}, {policy:?}, sentence {i}: {apart}: {a:?} {b:?}"
                );
            }
            if cpu.stage != gpu.stage {
                let exit = cpu.exits.len().min(gpu.exits.len()) - 1;
                let near = (0..=exit)
                    .map(|e| distance(policy, e, &cpu.exits[e]))
                    .fold(f32::INFINITY, f32::min);
                assert!(near < TOLERANCE, "{what}, {policy:?}, sentence {i}: {cpu:?} {gpu:?}");
                self.ties += 1;
            }
        }
    }
}

/// Sentences of made-up tokens.
fn made_up<E: Engine>(classifier: &Classifier<E>, lengths: &[usize], seed: u64) -> Vec<Encoded> {
    let architecture = &classifier.manifest().architecture;
    let mut random = Random::new(seed);
    let sentence = |n: &usize| {
        let n = (*n).min(architecture.max_tokens);
        let ids = (0..n).map(|_| random.below(architecture.vocabulary) as u32).collect();
        Encoded { ids, truncated: false }
    };
    lengths.iter().map(sentence).collect()
}

#[test]
fn fixtures() -> Result<()> {
    let mut seen = Seen::default();
    for (name, precision) in FIXTURES.into_iter().flat_map(|n| PRECISIONS.map(|p| (n, p))) {
        let golden = Golden::of(name)?;
        let bytes = bundle(name, precision)?;
        let cpu = Classifier::from_bytes(bytes.clone())?;
        for exit_on in [ExitOn::Gpu, ExitOn::Host] {
            let Some(engine) = gpu(exit_on)? else { return Ok(()) };
            let gpu = Classifier::with_engine(bytes.clone(), engine)?;
            let what = format!("{name}, {precision:?}, exits on {exit_on:?}");
            let mut random = Random::new(7);
            let lengths: Vec<usize> = (0..64).map(|_| 1 + random.below(64)).collect();
            for policy in policies(cpu.manifest().exits()) {
                let (a, b) = (
                    cpu.classify(&golden.texts(), &policy)?,
                    gpu.classify(&golden.texts(), &policy)?,
                );
                seen.compare(&policy, &a, &b, &what);
                for lengths in [&lengths[..1], &lengths[..9], &lengths[..]] {
                    let a = cpu.classify_tokens(made_up(&cpu, lengths, 1), &policy)?;
                    let b = gpu.classify_tokens(made_up(&gpu, lengths, 1), &policy)?;
                    seen.compare(&policy, &a, &b, &what);
                }
            }
        }
    }
    eprintln!("{seen:?}");
    assert!(seen.ties * 100 <= seen.sentences, "{seen:?}");
    Ok(())
}

#[test]
fn the_shipped_model() -> Result<()> {
    let mut seen = Seen::default();
    for precision in [Precision::Int8(WeightBits::Seven), Precision::Fp32] {
        let bytes = bundle_of(&project("models/sst2-minilm"), precision)?;
        let cpu = Classifier::from_bytes(bytes.clone())?;
        let Some(engine) = gpu(ExitOn::Gpu)? else { return Ok(()) };
        let gpu = Classifier::with_engine(bytes, engine)?;
        for lengths in [&[1][..], &[512], &[3, 17, 128, 9, 40, 1, 25, 64], &[12; 64]] {
            for policy in
                [ExitPolicy::Never, cpu.policy(), ExitPolicy::entropy(0.4), ExitPolicy::patience(2)]
            {
                let a = cpu.classify_tokens(made_up(&cpu, lengths, 3), &policy)?;
                let b = gpu.classify_tokens(made_up(&gpu, lengths, 3), &policy)?;
                seen.compare(&policy, &a, &b, &format!("{precision:?}, {lengths:?}"));
            }
        }
    }
    eprintln!("{seen:?}");
    assert!(seen.ties * 100 <= seen.sentences, "{seen:?}");
    Ok(())
}
