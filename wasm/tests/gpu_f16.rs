//! Tests of the GPU engine in f16 against f32: on a small model, on the bundles in the folder
//! `EDGE_BUNDLES`, and on the shipped models if they exist.

mod model;

use edge_runtime::engine::{Engine, ExitOn, GpuEngine, GpuOptions, Left};
use edge_runtime::exit::ExitRule;
use edge_runtime::graph::{Elements, Op, StageGraph};
use edge_runtime::task::single_label::argmax;
use edge_runtime::{Classifier, Error, ExitPolicy, GpuFailure, Prediction, Task};
use model::{stages, tokens};
use std::path::{Path, PathBuf};

/// Tolerance of logits for each number format.
///
/// For float models it is the rounding of f16, 2^-11 of a number, layer after layer. For int8
/// models it is larger, because f16 rounds some activations to another integer.
const TOLERANCE: [(&str, f32); 2] = [("fp32", 0.02), ("int8", 0.5)];

/// Opens the engine; `None` without an adapter or f16, with a message.
fn gpu(f16: bool) -> Option<GpuEngine> {
    match GpuEngine::open_blocking(GpuOptions { f16, default_limits: true, ..Default::default() }) {
        Ok(engine) => Some(engine),
        Err(Error::Gpu { failure: GpuFailure::NoAdapter, problem }) => {
            eprintln!("NOT RUN: {problem}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Path of a file of the project.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Classifies texts in f32 and in f16, at full depth; `None` if a file or f16 is missing, with a
/// message.
fn both(bundle: &Path, texts: &[&str]) -> Option<(Classifier<GpuEngine>, [Vec<Prediction>; 2])> {
    let Ok(bytes) = std::fs::read(bundle) else {
        eprintln!("NOT RUN: {} is missing; ./demo makes it", bundle.display());
        return None;
    };
    let in_f32 = Classifier::with_engine(bytes.clone(), gpu(false)?).unwrap();
    let in_f16 = Classifier::with_engine(bytes, gpu(true)?).unwrap();
    let run = |c: &Classifier<GpuEngine>| c.classify(texts, &ExitPolicy::Never).unwrap();
    let answers = [run(&in_f32), run(&in_f16)];
    Some((in_f16, answers))
}

/// Returns the largest difference of two logits.
fn apart([a, b]: &[Vec<Prediction>; 2]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs =
        a.iter().zip(b).flat_map(|(a, b)| a.exits.concat().into_iter().zip(b.exits.concat()));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_are_near_those_in_f32() {
    let sentences = std::fs::read_to_string(file("tests/python/sentences.txt")).unwrap();
    // A software adapter takes minutes for all sentences.
    let texts: Vec<&str> = sentences.lines().step_by(4).collect();
    let mut bundles: Vec<PathBuf> = match std::env::var_os("EDGE_BUNDLES") {
        Some(folder) => std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect(),
        None => Vec::new(),
    };
    bundles.retain(|path| path.extension().is_some_and(|e| e == "edge"));
    if bundles.is_empty() {
        eprintln!("NOT RUN: EDGE_BUNDLES names no folder of bundles");
    }
    bundles.extend(
        ["sst2-minilm", "sst2-minilm-small"].map(|m| file(&format!("models/{m}/model.edge"))),
    );
    for bundle in bundles {
        let Some((classifier, answers)) = both(&bundle, &texts) else { continue };
        let precision = &classifier.manifest().weights.precision;
        let (_, tolerance) = TOLERANCE.into_iter().find(|(p, _)| p == precision).unwrap();
        let apart = apart(&answers);
        println!("{}: logits differ by {apart:.1e}", bundle.display());
        assert!(apart <= tolerance, "{}: {apart}", bundle.display());
        assert_ne!(apart, 0.0, "{}: nothing was in f16", bundle.display());
    }
}

#[test]
#[ignore = "takes minutes on a software adapter"]
fn accuracy_on_sst2_dev() {
    let Ok(dev) = std::fs::read_to_string(file("../shared/data/sst2/dev.tsv")) else {
        return eprintln!("NOT RUN: needs SST-2 dev in ../shared");
    };
    let rows = dev.lines().skip(1).map(|line| line.rsplit_once('\t').unwrap());
    let (texts, labels): (Vec<&str>, Vec<&str>) = rows.unzip();
    let labels: Vec<usize> = labels.iter().map(|label| label.parse().unwrap()).collect();
    for model in ["sst2-minilm", "sst2-minilm-small"] {
        let bundle = file(&format!("models/{model}/model.edge"));
        let Some((classifier, answers)) = both(&bundle, &texts) else { return };
        let (adapter, apart) = (classifier.engine().name(), apart(&answers));
        println!("{model} on {adapter}, {} texts: logits differ by {apart:.1e}", texts.len());
        let policies = [("full depth", ExitPolicy::Never), ("its policy", classifier.policy())];
        for (what, policy) in policies {
            let label = |p: &Prediction| {
                let rule = ExitRule { task: &classifier.manifest().task, policy: &policy };
                let leaves = |exit: &usize| rule.leaves(*exit, &p.exits[..=*exit]);
                let last = p.exits.len() - 1;
                argmax(&p.exits[(0..last).find(leaves).unwrap_or(last)])
            };
            let [a, b] = answers.each_ref().map(|a| a.iter().map(label).collect::<Vec<usize>>());
            let same = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a == b).count();
            let [in_f32, in_f16] =
                [&a, &b].map(|a| 100.0 * same(a, &labels) as f64 / labels.len() as f64);
            let differ = texts.len() - same(&a, &b);
            println!(
                "  {what}: {in_f32:.2} % in f32, {in_f16:.2} % in f16, {differ} labels differ"
            );
            assert!(in_f32 > 85.0 && (in_f32 - in_f16).abs() < 0.5, "{model}, {what}");
            assert!(differ * 100 <= texts.len(), "{model}, {what}: {differ} labels differ");
        }
    }
}

/// Builds a model of two stages; `change` changes the linear layers of the second stage.
fn changed(change: impl Fn(&mut Vec<f32>, &mut Vec<f32>)) -> Vec<StageGraph> {
    let mut stages = stages(false);
    for call in &mut stages[1].calls {
        if let Op::Linear { weight, bias, .. } = &mut call.op {
            let Elements::F32(values) = &mut weight.elements else { unreachable!() };
            change(values, bias);
        }
    }
    stages.into()
}

fn answers(
    mut engine: GpuEngine,
    stages: Vec<StageGraph>,
    exit_on: ExitOn,
) -> Result<Vec<Left>, Error> {
    for stage in stages {
        engine.add_stage(stage)?;
    }
    let task = Task::SingleLabel { labels: Vec::new() };
    let rule = ExitRule { task: &task, policy: &ExitPolicy::Never };
    engine.run_on(&tokens(&[3, 40, 1]), &rule, exit_on)
}

#[test]
fn what_is_beyond_f16_is_an_error() {
    let far = || changed(|_, bias| bias.fill(1e5));
    for exit_on in [ExitOn::Gpu, ExitOn::Host] {
        let (Some(in_f32), Some(in_f16)) = (gpu(false), gpu(true)) else { return };
        answers(in_f32, far(), exit_on).unwrap();
        let error = answers(in_f16, far(), exit_on).unwrap_err().to_string();
        assert!(error.contains("values beyond 65504, the largest f16"), "{error}");
    }
    let Some(in_f16) = gpu(true) else { return };
    let heavy = changed(|weights, _| weights[0] = -7e4);
    let error = answers(in_f16, heavy, ExitOn::Gpu).unwrap_err().to_string();
    assert!(error.contains("node `qkv`: a weight of -70000; the largest f16 is 65504"), "{error}");
}
