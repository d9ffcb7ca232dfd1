//! Tests of the GPU engine on a small model, against the CPU engine.

mod model;

use edge_runtime::engine::{
    ChosenEngine, CpuEngine, Engine, EngineChoice, ExitOn, GpuEngine, GpuOptions, Left, Logits,
    Route, Tokens,
};
use edge_runtime::exit::ExitRule;
use edge_runtime::graph::StageGraph;
use edge_runtime::{Error, ExitPolicy, GpuFailure, Task, Thresholds};
use model::{stages, tokens};

/// Opens the engine; `None` without an adapter, with a message.
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

/// Builds a model of four exits: both stages, then the second stage twice more.
fn deep(quantized: bool) -> Vec<StageGraph> {
    let [first, second] = stages(quantized);
    vec![first, second.clone(), second.clone(), second]
}

/// Builds the model of [`deep`] so that only first rows of the last stage are needed.
fn ending(quantized: bool) -> Vec<StageGraph> {
    let mut stages = deep(quantized);
    stages[3].next_hidden = None;
    stages
}

/// Rule of a policy; these models have no names for their labels.
fn rule(policy: &ExitPolicy) -> ExitRule<'_> {
    const TASK: &Task = &Task::SingleLabel { labels: Vec::new() };
    ExitRule { task: TASK, policy }
}

/// Runs an engine stage by stage and applies the policy here.
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
            if stage + 1 < engine.stages() && !rule(policy).leaves(stage, &left.exits) {
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

/// Tolerance of the small model's logits against the CPU engine.
///
/// A software adapter rounds as the CPU does, so int8 is quantized alike. Products in f32 are
/// summed in another order.
fn tolerance(gpu: &GpuEngine, quantized: bool) -> f32 {
    if gpu.is_software() && quantized { 0.0 } else { 2e-3 }
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
                    assert_same(&alone, &expected, tolerance(&gpu, quantized), &what);
                    let whole = gpu.run_all(&tokens(lengths), &rule(&never)).unwrap().unwrap();
                    assert_same(&whole, &alone, 0.0, &what);
                }
            }
        }
    }
}

/// Lists policies. Thresholds are halfway between neighbouring scores, so that none is near a tie.
fn policies(full: &[Left]) -> Vec<ExitPolicy> {
    use edge_runtime::task::single_label::{confidence, margin, normalized_entropy};
    let between = |score: fn(&[f32]) -> f32| {
        let mut scores: Vec<f32> =
            full.iter().flat_map(|l| &l.exits).map(|logits| score(logits)).collect();
        scores.sort_by(f32::total_cmp);
        let gaps = scores.windows(2).filter(|w| w[1] - w[0] > 1e-4);
        gaps.map(|w| (w[0] + w[1]) / 2.0).step_by(3).collect::<Vec<f32>>()
    };
    let mut policies = vec![ExitPolicy::Never];
    policies.extend(between(confidence).into_iter().map(ExitPolicy::confidence));
    policies.extend(between(normalized_entropy).into_iter().map(ExitPolicy::entropy));
    policies.extend(between(margin).into_iter().map(ExitPolicy::margin));
    for end in [0.0, 1.0] {
        policies.extend([ExitPolicy::confidence(end), ExitPolicy::entropy(end)]);
        policies.push(ExitPolicy::margin(end));
    }
    policies.extend((1..6).map(ExitPolicy::patience));
    let per_exit = [1.0, 0.0, 1.0, 0.0];
    policies.push(ExitPolicy::Confidence { threshold: Thresholds::PerExit(per_exit.into()) });
    policies
}

/// Cuts answers at full depth by the definition of the policy.
fn cut(full: &[Left], policy: &ExitPolicy) -> Vec<Left> {
    let cut = |l: &Left| {
        let last = l.exits.len() - 1;
        let stage = (0..last).find(|e| rule(policy).leaves(*e, &l.exits[..=*e])).unwrap_or(last);
        Left { stage, exits: l.exits[..=stage].to_vec() }
    };
    full.iter().map(cut).collect()
}

const MIXED: [usize; 23] =
    [33, 2, 64, 1, 7, 50, 16, 31, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19];

#[test]
fn sentences_leave_where_the_policy_says_and_nothing_runs_for_them_afterwards() {
    for quantized in [false, true] {
        let options = GpuOptions { count_workgroups: true, ..Default::default() };
        let Some(gpu) = gpu(options, deep(quantized)) else { return };
        let full = step_by_step(&gpu, tokens(&MIXED), &ExitPolicy::Never);
        let (mut parted, mut empty) = (0, 0);
        for policy in policies(&full) {
            let what = format!("int8 {quantized}, {policy:?}");
            let left = gpu.run_all(&tokens(&MIXED), &rule(&policy)).unwrap().unwrap();
            assert_same(&left, &cut(&full, &policy), 0.0, &what);
            for (stage, ran) in gpu.workgroups().into_iter().enumerate() {
                let inside = |(l, n): (&Left, &usize)| (l.stage >= stage).then_some(*n);
                let inside: Vec<usize> = left.iter().zip(&MIXED).filter_map(inside).collect();
                let tokens = inside.iter().sum();
                assert_eq!(ran, gpu.workgroups_for(stage, inside.len(), tokens), "{what}");
                parted += usize::from((1..MIXED.len()).contains(&inside.len()));
                empty += usize::from(ran == 0);
            }
            assert_same(&step_by_step(&gpu, tokens(&MIXED), &policy), &left, 0.0, &what);
        }
        assert!(parted > 5 && empty > 5, "{parted} {empty}: the test is too weak");
    }
}

#[test]
fn a_batch_is_read_once_and_takes_no_buffer_that_is_not_there() {
    let Some(gpu) = gpu(GpuOptions::default(), deep(true)) else { return };
    let policy = ExitPolicy::confidence(0.6);
    let first = gpu.run_all(&tokens(&MIXED), &rule(&policy)).unwrap().unwrap();
    let before = gpu.counts();
    for lengths in [&MIXED[..], &MIXED[3..9], &[1], &[64, 64, 2]] {
        gpu.run_all(&tokens(lengths), &rule(&policy)).unwrap().unwrap();
    }
    let after = gpu.counts();
    assert_eq!(after.reads, before.reads + 4);
    assert_eq!((after.buffers, after.pipelines), (before.buffers, before.pipelines));
    let again = gpu.run_all(&tokens(&MIXED), &rule(&policy)).unwrap().unwrap();
    assert_same(&again, &first, 0.0, "memory that is used again");
    step_by_step(&gpu, tokens(&MIXED[..7]), &policy);
    let counts = gpu.counts();
    assert_eq!((counts.buffers, counts.reads), (after.buffers, after.reads + 1 + 4));
}

#[test]
fn stages_may_come_while_a_batch_is_under_way() {
    let Some(mut gpu) = gpu(GpuOptions::default(), deep(true).into_iter().take(2)) else { return };
    let whole = self::gpu(GpuOptions::default(), deep(true)).unwrap();
    let expected = step_by_step(&whole, tokens(&MIXED), &ExitPolicy::Never);
    let mut batch = gpu.begin(tokens(&MIXED)).unwrap();
    let mut logits = Logits::default();
    for (stage, graph) in deep(true).into_iter().enumerate() {
        if stage >= 2 {
            gpu.add_stage(graph).unwrap();
        }
        gpu.run(stage, &mut batch, &mut logits).unwrap();
        let expected: Vec<&[f32]> = expected.iter().map(|l| &l.exits[stage][..]).collect();
        assert_eq!(logits.rows().collect::<Vec<_>>(), expected, "stage {stage}");
    }
}

#[test]
fn a_device_that_is_lost_is_an_error() {
    let lost = |error: Error| {
        assert!(matches!(&error, Error::Gpu { failure: GpuFailure::Lost, .. }), "{error}");
    };
    let Some(gpu) = gpu(GpuOptions::default(), deep(true)) else { return };
    let mut batch = gpu.begin(tokens(&MIXED)).unwrap();
    let mut logits = Logits::default();
    gpu.run(0, &mut batch, &mut logits).unwrap();
    gpu.destroy();
    lost(gpu.run(1, &mut batch, &mut logits).unwrap_err());
    lost(gpu.run_all(&tokens(&[3]), &rule(&ExitPolicy::Never)).unwrap().unwrap_err());
    let mut gpu = gpu;
    lost(gpu.add_stage(deep(true).remove(1)).unwrap_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu(GpuOptions::default(), deep(true)) else { return };
    for (sentences, words) in [
        (vec![vec![1; 65]], "node `embed`: a sentence of 65 tokens; the model takes at most 64"),
        (vec![vec![1], vec![50]], "node `embed`: token id 50; the model has 50 word pieces"),
        (vec![vec![1], vec![]], "sentence 1 of the batch has no tokens"),
    ] {
        let tokens = Tokens::new(&sentences);
        let error = gpu.run_all(&tokens, &rule(&ExitPolicy::Never)).unwrap().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut two = gpu;
    let error = two.add_stage(deep(true).remove(0)).unwrap_err().to_string();
    assert!(
        error.contains("takes token ids; the output of the stage before it is hidden"),
        "{error}"
    );
}

#[test]
fn the_cpu_takes_over_from_a_gpu_that_is_lost_and_says_why() {
    let Some(gpu) = gpu(GpuOptions::default(), []) else { return };
    let routes =
        vec![(0, Route::Cpu), (10, Route::Gpu(ExitOn::Host)), (100, Route::Gpu(ExitOn::Gpu))];
    let mut engine = ChosenEngine::between(CpuEngine::default(), gpu, Some(routes));
    for stage in deep(true) {
        engine.add_stage(stage).unwrap();
    }
    let policy = ExitPolicy::confidence(0.7);
    let by_gpu = engine.run_all(&tokens(&MIXED), &rule(&policy)).unwrap().unwrap();
    assert_eq!(by_gpu.len(), MIXED.len());
    assert!(engine.run_all(&tokens(&[9]), &rule(&policy)).is_none(), "few tokens are for the CPU");
    let by_host = engine.run_all(&tokens(&MIXED[..3]), &rule(&policy)).unwrap().unwrap();
    assert_same(&by_host, &by_gpu[..3], 0.0, "exits on the host");
    let reason = engine.report().reason.unwrap();
    assert!(reason.ends_with("the GPU is faster from 100 tokens on"), "{reason}");
    engine.gpu().unwrap().destroy();
    assert!(engine.run_all(&tokens(&MIXED), &rule(&policy)).is_none());
    let report = engine.report();
    assert_eq!(report.name, "cpu");
    assert!(report.reason.unwrap().contains("is lost"));
    let expected = step_by_step(&cpu(deep(true)), tokens(&MIXED), &policy);
    assert_same(&step_by_step(&engine, tokens(&MIXED), &policy), &expected, 0.0, "the CPU");
}

#[test]
fn both_are_measured_and_the_answers_are_the_same() {
    let Some(gpu) = gpu(GpuOptions::default(), []) else { return };
    let mut engine = ChosenEngine::between(CpuEngine::default(), gpu, None);
    for stage in deep(true) {
        engine.add_stage(stage).unwrap();
    }
    assert_eq!(engine.routes(), None);
    let policy = ExitPolicy::confidence(0.7);
    let left = engine.run_all(&tokens(&MIXED), &rule(&policy));
    assert_eq!(engine.routes().unwrap()[0].0, 0);
    let expected = step_by_step(&cpu(deep(true)), tokens(&MIXED), &policy);
    if let Some(left) = left {
        assert_same(&left.unwrap(), &expected, 2e-3, "the GPU");
    }
}

#[test]
fn a_software_adapter_is_not_chosen() {
    let Some(gpu) = gpu(GpuOptions::default(), []) else { return };
    if !gpu.is_software() {
        return eprintln!("NOT RUN: {} is a GPU", gpu.name());
    }
    let report = ChosenEngine::open(EngineChoice::Auto).unwrap().report();
    assert_eq!(report.name, "cpu");
    assert!(report.reason.unwrap().ends_with("is a software adapter"));
}
