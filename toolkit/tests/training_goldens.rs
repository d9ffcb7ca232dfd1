//! Comparison of losses, gradients and AdamW with PyTorch's; `tests/goldens/make_training.py`
//! describes each golden.

use candle_core::{DType, Device, Tensor};
use edge_toolkit::checkpoint::Checkpoint;
use edge_toolkit::network::Linear;
use edge_toolkit::network::load;
use edge_toolkit::network::{Batch, Gradient, Mode, Parameter, Values};
use edge_toolkit::network::{Network, Output};
use edge_toolkit::train::loss::{Distance, Loss, Losses, Targets};
use edge_toolkit::train::optimizer::{AdamW, Schedule};
use serde_json::Value;
use std::collections::HashMap;

const FIXTURES: [&str; 2] = ["bert-exits", "distilbert-exits"];

/// Largest difference of a loss from PyTorch's.
const LOSS: f32 = 1e-5;
/// Largest difference of a gradient, as a share of the norm and of the largest number of the whole.
const GRADIENT: f64 = 1e-4;
/// Largest value of a gradient that is 0 except for rounding.
const NOISE: f64 = 1e-7;
/// Largest difference of a weight after ten steps.
const WEIGHT: f64 = 2e-5;

struct Golden {
    tensors: HashMap<String, Tensor>,
    manifest: Value,
    fixture: &'static str,
    network: Network,
}

impl Golden {
    fn open(fixture: &'static str) -> Self {
        let folder = "../tests/goldens/training";
        let tensors =
            candle_core::safetensors::load(format!("{folder}/{fixture}.safetensors"), &Device::Cpu);
        let manifest = std::fs::read_to_string(format!("{folder}/manifest.json")).unwrap();
        let checkpoint = Checkpoint::open(format!("../models/fixtures/{fixture}")).unwrap();
        Golden {
            tensors: tensors.unwrap(),
            manifest: serde_json::from_str(&manifest).unwrap(),
            fixture,
            network: load(&checkpoint, Device::Cpu).unwrap(),
        }
    }

    fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no golden `{name}`", self.fixture))
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.tensor(name).flatten_all().unwrap().to_vec1().unwrap()
    }

    fn rows(&self, name: &str) -> Vec<usize> {
        let rows: Vec<i64> = self.tensor(name).to_vec1().unwrap();
        rows.into_iter().map(|row| row as usize).collect()
    }

    /// Names that the manifest lists under `path`.
    fn names(&self, path: &str) -> Vec<&str> {
        let list = self.manifest.pointer(&format!("/fixtures/{}/{path}", self.fixture)).unwrap();
        list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
    }

    fn temperature(&self) -> f64 {
        self.manifest["temperature"].as_f64().unwrap()
    }

    fn exit_weights(&self) -> Vec<f64> {
        self.floats("exit_weights").into_iter().map(f64::from).collect()
    }

    /// Hidden states of the teacher under `name`, and its attention probabilities.
    fn teacher(&self, name: &str, batch: &Batch) -> Output {
        let hidden = self.tensor(name);
        let (layers, _, longest, width) = hidden.dims4().unwrap();
        let real: Vec<u32> = (0..batch.sentences())
            .flat_map(|s| {
                let first = s * longest;
                (first..first + batch.starts[s + 1] - batch.starts[s]).map(|row| row as u32)
            })
            .collect();
        let real = Tensor::new(real, &Device::Cpu).unwrap();
        // No loss uses the teacher's embeddings.
        let mut all = vec![Tensor::zeros((batch.rows(), width), DType::F32, &Device::Cpu).unwrap()];
        for layer in 0..layers {
            let rows = hidden.get(layer).unwrap().reshape(((), width)).unwrap();
            all.push(rows.index_select(&real, 0).unwrap());
        }
        let attention = self.tensor("teacher/attention");
        let attention = (0..layers).map(|l| attention.get(l).unwrap()).collect();
        Output { logits: Vec::new(), hidden: all, attention }
    }

    /// Completes a tensor of which the golden has some rows; the others are those of `rest`.
    fn whole(&self, name: &str, prefix: &str, rest: Vec<f32>) -> Vec<f32> {
        let stored = self.floats(&format!("{prefix}/{name}"));
        if stored.len() == rest.len() {
            return stored;
        }
        let width = self.network.config.encoder.hidden;
        let rows = if name.ends_with("word_embeddings.weight") {
            let of = if prefix == "adamw" { "adamw" } else { "batch" };
            self.rows(&format!("{of}/rows"))
        } else {
            assert!(name.ends_with("position_embeddings.weight"), "{name}: a part of it");
            (0..stored.len() / width).collect()
        };
        assert_eq!(stored.len(), rows.len() * width, "{name}");
        let mut whole = rest;
        for (row, values) in rows.into_iter().zip(stored.chunks_exact(width)) {
            whole[row * width..][..width].copy_from_slice(values);
        }
        whole
    }
}

/// Removes the padding of a batch, and returns it with the labels.
fn unpad(ids: &Tensor, lengths: &Tensor, labels: &Tensor) -> (Batch, Vec<Option<u32>>) {
    let ids: Vec<Vec<i64>> = ids.to_vec2().unwrap();
    let lengths: Vec<i64> = lengths.to_vec1().unwrap();
    let labels: Vec<i64> = labels.to_vec1().unwrap();
    let sentences = ids.iter().zip(lengths).map(|(ids, length)| {
        ids[..length as usize].iter().map(|id| *id as u32).collect::<Vec<_>>()
    });
    (Batch::new(sentences), labels.into_iter().map(|label| Some(label as u32)).collect())
}

fn mode(fused: bool, attention: bool) -> Mode {
    Mode { training: Some((0.0, 1)), precision: DType::F32, attention, fused, quantized: None }
}

fn value(p: &Parameter) -> Vec<f32> {
    p.read().unwrap().to_vec()
}

/// Gradient of a parameter; missing rows are 0.
fn gradient(p: &Parameter) -> Option<Vec<f32>> {
    Some(match p.take_gradient()? {
        Gradient::Dense(g) => Values::of(&g.contiguous().unwrap()).unwrap().to_vec(),
        Gradient::Rows { rows, values } => {
            let width = values.len() / rows.len();
            let mut all = vec![0.0; p.var().elem_count()];
            for (row, values) in rows.iter().zip(values.chunks_exact(width)) {
                all[*row as usize * width..][..width].copy_from_slice(values);
            }
            all
        }
    })
}

fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |m, v| if v.is_nan() { v } else { m.max(v.abs()) })
}

fn differences<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = f64> + Clone + 'a {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b))
}

fn wide(values: &[f32]) -> impl Iterator<Item = f64> + '_ {
    values.iter().map(|v| f64::from(*v))
}

fn backward(network: &Network, loss: &Loss, projections: &[Linear]) {
    let mut store = loss.total.backward().unwrap();
    network.absorb(&mut store).unwrap();
    projections.iter().for_each(|p| p.weight.absorb(&mut store).unwrap());
}

/// Losses with only one part enabled.
fn only(loss: &str, golden: &Golden) -> Losses {
    let on = |names: &[&str]| f64::from(u8::from(names.contains(&loss)));
    Losses {
        hard: on(&["hard"]),
        soft: on(&["soft"]),
        itself: on(&["self"]),
        hidden: on(&["hidden_mse", "hidden_projected", "hidden_cosine"]),
        hidden_distance: if loss == "hidden_cosine" { Distance::Cosine } else { Distance::Mse },
        attention: on(&["attention"]),
        temperature: golden.temperature(),
        exit_weights: golden.exit_weights(),
        layer_map: (1..=golden.network.blocks.len()).collect(),
    }
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    for fixture in FIXTURES {
        let golden = Golden::open(fixture);
        for loss in
            ["hard", "soft", "self", "hidden_mse", "hidden_projected", "hidden_cosine", "attention"]
        {
            for fused in [true, false] {
                check_loss(&golden, loss, fused);
            }
        }
    }
}

fn check_loss(golden: &Golden, name: &str, fused: bool) {
    let network = &golden.network;
    let about = format!("{}, {name}, {}", golden.fixture, if fused { "fused" } else { "composed" });
    let (batch, labels) = unpad(
        golden.tensor("batch/ids"),
        golden.tensor("batch/lengths"),
        golden.tensor("batch/labels"),
    );
    let output = network.forward(&batch, &mode(fused, name == "attention")).unwrap();
    for (i, logits) in output.logits.iter().enumerate() {
        let logits: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
        let theirs = golden.tensor("student/logits").get(i).unwrap().flatten_all().unwrap();
        let off = largest(differences(&logits, &theirs.to_vec1().unwrap()));
        assert!(off < 1e-5, "{about}: the logits of exit {i} are off by {off}");
    }

    let projected = name == "hidden_projected";
    let hidden = if projected { "projection/teacher_hidden" } else { "teacher/hidden" };
    let teacher = golden.teacher(hidden, &batch);
    let mut projections = Vec::new();
    if projected {
        let weight = golden.tensor("projection/weight");
        let parameter = |values: Vec<f32>, shape: &[usize]| {
            Parameter::new("projection.weight", values, shape, &Device::Cpu).unwrap()
        };
        let bias = parameter(vec![0.0; weight.dim(0).unwrap()], &weight.dims()[..1]);
        let weight = parameter(golden.floats("projection/weight"), weight.dims());
        // One projection for all layers, whose gradients are summed.
        let one = Linear { weight, bias, site: None };
        projections = vec![one; network.blocks.len()];
    }
    let targets = Targets {
        task: edge_toolkit::tasks::of(&network.config.task).unwrap(),
        labels: &labels,
        teacher_logits: Some(golden.tensor("teacher/logits").clone()),
        teacher: Some(&teacher),
        projections: &projections,
    };
    let loss = only(name, golden).of(&output, &batch, &targets).unwrap();
    let (ours, theirs) =
        (loss.total.to_scalar::<f32>().unwrap(), golden.floats(&format!("{name}/loss"))[0]);
    assert!((ours - theirs).abs() < LOSS, "{about}: {ours}; PyTorch's is {theirs}");
    backward(network, &loss, &projections);

    let without = golden.names(&format!("without_gradient/{name}"));
    let noise = golden.names("noise_for_gradient");
    let mut worst = (0.0f64, 0.0f64, 0.0f64);
    let mut parameters = network.parameters();
    parameters.extend(projections.first().map(|p| p.weight.clone()));
    for p in parameters {
        let (ours, about) = (gradient(&p), format!("{about}: the gradient of {}", p.name()));
        if without.contains(&p.name()) {
            assert!(ours.is_none_or(|g| g.iter().all(|g| *g == 0.0)), "{about} is not 0");
            continue;
        }
        let ours = ours.unwrap_or_else(|| panic!("{about} is missing"));
        let theirs = golden.whole(p.name(), name, vec![0.0; p.var().elem_count()]);
        let off = differences(&ours, &theirs);
        if noise.contains(&p.name()) {
            let off = largest(off);
            worst.2 = worst.2.max(off);
            assert!(off <= NOISE, "{about} is off by {off}; it would be 0 without rounding");
            continue;
        }
        let of_norm = norm(off.clone()) / norm(wide(&theirs));
        let of_largest = largest(off) / largest(wide(&theirs));
        assert!(of_norm <= GRADIENT, "{about} is off by {of_norm} of its norm");
        assert!(of_largest <= GRADIENT, "{about} is off by {of_largest} of its largest number");
        worst = (worst.0.max(of_norm), worst.1.max(of_largest), worst.2);
    }
    println!(
        "{about}: loss off by {:.1e}, gradients by {:.1e} of the norm, {:.1e} of the largest, \
         noise {:.1e}",
        ours - theirs,
        worst.0,
        worst.1,
        worst.2
    );
}

#[test]
fn ten_steps_of_adamw_are_pytorchs() {
    for fixture in FIXTURES {
        check_adamw(fixture, true);
        check_adamw(fixture, false);
    }
}

fn check_adamw(fixture: &'static str, fused: bool) {
    let golden = Golden::open(fixture);
    let network = &golden.network;
    let setting =
        |name: &str| golden.manifest.pointer(&format!("/adamw/{name}")).unwrap().as_f64().unwrap();
    let (steps, warmup, total) =
        (setting("steps") as usize, setting("warmup") as usize, setting("total") as usize);
    let mut optimizer = AdamW::new(
        network.parameters(),
        (setting("betas/0"), setting("betas/1")),
        setting("eps"),
        setting("decay"),
    )
    .unwrap();
    let losses = Losses {
        hard: 1.0,
        soft: 1.0,
        itself: 1.0,
        temperature: golden.temperature(),
        exit_weights: golden.exit_weights(),
        ..Losses::default()
    };
    let before: Vec<_> = network.parameters().iter().map(|p| value(p)).collect();
    let (rates, their_losses, norms) =
        (golden.floats("adamw/rates"), golden.floats("adamw/losses"), golden.floats("adamw/norms"));
    let mut worst = (0.0f32, 0.0f64);
    for step in 1..=steps {
        let of = |name: &str| golden.tensor(&format!("adamw/{name}")).get(step - 1).unwrap();
        let (batch, labels) = unpad(&of("ids"), &of("lengths"), &of("labels"));
        let rate = setting("rate") * Schedule::Linear.factor(step, warmup, total);
        let their_rate = f64::from(rates[step - 1]);
        assert!((rate - their_rate).abs() < 1e-9, "rate {rate}; PyTorch's is {their_rate}");

        let output = network.forward(&batch, &mode(fused, false)).unwrap();
        let targets = Targets {
            task: edge_toolkit::tasks::of(&network.config.task).unwrap(),
            labels: &labels,
            teacher_logits: Some(of("teacher_logits")),
            teacher: None,
            projections: &[],
        };
        let loss = losses.of(&output, &batch, &targets).unwrap();
        let (ours, theirs) = (loss.total.to_scalar::<f32>().unwrap(), their_losses[step - 1]);
        worst.0 = worst.0.max((ours - theirs).abs() / theirs);
        assert!(
            (ours - theirs).abs() < 1e-4 * theirs,
            "{fixture}, step {step}: the loss is {ours}, PyTorch's {theirs}"
        );
        backward(network, &loss, &[]);
        let ours = optimizer.step(rate, 1.0, Some(setting("max_norm"))).unwrap().norm;
        let theirs = f64::from(norms[step - 1]);
        let off = (ours - theirs).abs() / theirs;
        worst.1 = worst.1.max(off);
        assert!(off < 1e-4, "{fixture}, step {step}: the norm is {ours}, PyTorch's {theirs}");
    }

    let noise = golden.names("noise_for_gradient");
    let seen = golden.rows("adamw/rows");
    let longest = golden.tensor("adamw/ids").dim(2).unwrap();
    let mut worst_weight = 0.0f64;
    for (p, before) in network.parameters().iter().zip(before) {
        let (name, width) = (p.name(), network.config.encoder.hidden);
        if noise.contains(&name) {
            continue;
        }
        // PyTorch's decay also reaches positions and types that no sentence has; decay here leaves
        // those alone.
        let unseen: Vec<usize> = if name.ends_with("word_embeddings.weight") {
            (0..network.config.encoder.vocabulary).filter(|row| !seen.contains(row)).collect()
        } else if name.ends_with("position_embeddings.weight") {
            (longest..network.config.encoder.max_tokens).collect()
        } else if name.ends_with("token_type_embeddings.weight") {
            (1..network.config.encoder.token_types).collect()
        } else {
            Vec::new()
        };
        let (ours, mut theirs) = (value(p), golden.whole(name, "adamw", before.clone()));
        for row in unseen {
            let range = row * width..(row + 1) * width;
            assert_eq!(ours[range.clone()], before[range.clone()], "{fixture}: {name}, row {row}");
            theirs[range.clone()].copy_from_slice(&before[range]);
        }
        let off = largest(differences(&ours, &theirs));
        worst_weight = worst_weight.max(off);
        assert!(off <= WEIGHT, "{fixture}: {name} is off by {off} after {steps} steps");
        assert_ne!(ours, before, "{fixture}: {name} did not change");
    }
    println!(
        "{fixture}: losses off by {:.1e}, norms by {:.1e}, weights by {worst_weight:.1e}",
        worst.0, worst.1
    );
}
