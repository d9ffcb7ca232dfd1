//! Tests that the GPU engine answers as the CPU engine does: on the shipped models, if they exist,
//! and on the bundles in the folder `EDGE_BUNDLES`.

use edge_runtime::Encoded;
use edge_runtime::engine::{Engine, ExitOn, GpuEngine, GpuOptions};
use edge_runtime::task::single_label::{confidence, margin, normalized_entropy};
use edge_runtime::{Classifier, Error, ExitPolicy, GpuFailure, Prediction, Thresholds};
use std::path::{Path, PathBuf};

/// Tolerance of logits.
const TOLERANCE: f32 = 2e-3;
/// Tolerance of int8 models where the adapter rounds every operation as the CPU does: a head in f32
/// sums in another order.
const EXACT: f32 = 1e-5;

/// Opens the engine; `None` without an adapter, with a message.
fn gpu(exit_on: ExitOn) -> Option<GpuEngine> {
    match GpuEngine::open_blocking(GpuOptions { default_limits: true, ..Default::default() }) {
        Ok(engine) => Some(engine.with_exit_on(exit_on)),
        Err(Error::Gpu { failure: GpuFailure::NoAdapter, problem }) => {
            eprintln!("NOT RUN: no GPU adapter ({problem})");
            None
        }
        Err(error) => panic!("{error}"),
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

/// Distance of an exit's logits from another decision.
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

/// Statistics of the comparisons.
#[derive(Default, Debug)]
struct Seen {
    sentences: usize,
    /// Sentences that left at another exit, within the tolerance of a threshold.
    ties: usize,
    largest: f32,
}

impl Seen {
    fn compare(&mut self, policy: &ExitPolicy, cpu: &[Prediction], gpu: &[Prediction], what: &str) {
        assert_eq!(cpu.len(), gpu.len(), "{what}");
        for (i, (cpu, gpu)) in cpu.iter().zip(gpu).enumerate() {
            self.sentences += 1;
            let what = || format!("{what}, {policy:?}, sentence {i}: {cpu:?} {gpu:?}");
            for (a, b) in cpu.exits.iter().zip(&gpu.exits) {
                let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                self.largest = self.largest.max(apart);
                assert!(apart <= TOLERANCE, "{apart}: {}", what());
            }
            if cpu.stage != gpu.stage {
                let exit = cpu.exits.len().min(gpu.exits.len()) - 1;
                let near = distance(policy, exit, &cpu.exits[exit]);
                assert!(near < TOLERANCE, "{}", what());
                self.ties += 1;
            }
        }
    }

    /// Prints the statistics. A software adapter rounds as the CPU does and has a tighter limit.
    fn finish(&self, adapter: &GpuEngine, what: &str) {
        println!("{what} on {}: {self:?}", adapter.name());
        if adapter.is_software() {
            assert!(self.ties == 0 && self.largest <= EXACT, "{self:?}");
        }
        assert!(self.ties * 1000 <= self.sentences, "{self:?}");
    }
}

/// Makes sentences of random tokens.
fn made_up<E: Engine>(classifier: &Classifier<E>, lengths: &[usize], seed: u64) -> Vec<Encoded> {
    let manifest = classifier.manifest();
    let mut state = seed;
    let mut id = || {
        // Knuth's MMIX generator; its high bits are random.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % manifest.encoder.vocabulary as u32
    };
    let sentence = |n: &usize| {
        let n = (*n).min(manifest.input.max_tokens);
        Encoded::from_ids((0..n).map(|_| id()).collect())
    };
    lengths.iter().map(sentence).collect()
}

/// Lists the bundles in a folder; none without `EDGE_BUNDLES`, with a message.
fn bundles() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("EDGE_BUNDLES") else {
        eprintln!("NOT RUN: EDGE_BUNDLES names no folder of bundles");
        return Vec::new();
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "edge"));
    paths.sort();
    assert!(!paths.is_empty(), "EDGE_BUNDLES holds no bundle");
    paths
}

#[test]
fn bundles_of_a_folder() {
    let texts = ["a film of rare beauty", "", "it is not dull, but it is not good either , i fear"];
    let lengths: Vec<usize> = (0..64).map(|i| 1 + i * 37 % 64).collect();
    for path in bundles() {
        let bytes = std::fs::read(&path).unwrap();
        let cpu = Classifier::from_bytes(bytes.clone()).unwrap();
        for exit_on in [ExitOn::Gpu, ExitOn::Host] {
            let Some(engine) = gpu(exit_on) else { return };
            let gpu = Classifier::with_engine(bytes.clone(), engine).unwrap();
            let mut seen = Seen::default();
            let what = format!("{}, exits on {exit_on:?}", path.display());
            // A software adapter takes minutes for everything. So the host applies every fourth
            // policy, and the largest batch gets as many. Policies come in threes of a kind.
            let policies = policies(cpu.manifest().exits()).into_iter().enumerate();
            for (i, policy) in policies.filter(|(i, _)| exit_on == ExitOn::Gpu || i % 4 == 0) {
                let a = cpu.classify(&texts, &policy).unwrap();
                let b = gpu.classify(&texts, &policy).unwrap();
                seen.compare(&policy, &a, &b, &what);
                let most = if i % 4 == 0 { 3 } else { 2 };
                for lengths in [&lengths[..1], &lengths[..9], &lengths[..]].into_iter().take(most) {
                    let a = cpu.classify_tokens(made_up(&cpu, lengths, 1), &policy).unwrap();
                    let b = gpu.classify_tokens(made_up(&gpu, lengths, 1), &policy).unwrap();
                    seen.compare(&policy, &a, &b, &what);
                }
            }
            seen.finish(gpu.engine(), &what);
        }
    }
}

#[test]
fn the_shipped_model() {
    shipped("sst2-minilm");
}

#[test]
fn the_shipped_small_model() {
    shipped("sst2-minilm-small");
}

fn shipped(name: &str) {
    const LENGTHS: [&[usize]; 6] = [
        &[1],
        &[2, 511],
        &[512],
        &[3, 17, 128, 9, 40, 1, 25, 64],
        &[12; 64],
        &[31, 32, 33, 15, 16, 17, 255, 7],
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../models/{name}/model.edge"));
    let Ok(bytes) = std::fs::read(&path) else {
        return eprintln!("NOT RUN: {} is missing; ./demo makes it", path.display());
    };
    let cpu = Classifier::from_bytes(bytes.clone()).unwrap();
    let Some(engine) = gpu(ExitOn::Gpu) else { return };
    let gpu = Classifier::with_engine(bytes, engine).unwrap();
    let own = cpu.policy();
    assert_ne!(own, ExitPolicy::Never, "{name}");
    let mut seen = Seen::default();
    for lengths in LENGTHS {
        let early = [own.clone(), ExitPolicy::entropy(0.4), ExitPolicy::patience(2)];
        // Long sentences take seconds on a software adapter.
        let some = if lengths.len() > 2 || lengths[0] == 1 { 3 } else { 1 };
        for policy in early.iter().take(some).chain([&ExitPolicy::Never]) {
            let a = cpu.classify_tokens(made_up(&cpu, lengths, 3), policy).unwrap();
            let b = gpu.classify_tokens(made_up(&gpu, lengths, 3), policy).unwrap();
            seen.compare(policy, &a, &b, &format!("{lengths:?}"));
        }
    }
    for text in ["a film of rare beauty", "it is not dull, but it is not good either"] {
        let (mut a, mut b) = Default::default();
        let a = cpu.classify_text(text, &own, &mut a).unwrap();
        let b = gpu.classify_text(text, &own, &mut b).unwrap();
        assert_eq!((a.label, a.stage, a.tokens), (b.label, b.stage, b.tokens), "{text}");
    }
    seen.finish(gpu.engine(), name);
}
