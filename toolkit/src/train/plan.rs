//! Inputs of a run: texts, networks, the teacher's logits.

use super::corpus::{Corpus, tokenizer};
use super::loss::Losses;
use super::options::{Event, Options};
use super::recipe::{Exits, NamedExits, Recipe};
use super::sparsity::Masks;
use super::teacher;
use super::teacher_layers::TeacherLayers;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::hub::Hub;
use crate::network::{Batch, Heads, Linear, Network, Output, Parameter, Start, load, start};
use crate::quantize::{Int8, Quantize};
use crate::rng::Rng;
use candle_core::Device;
use edge_runtime::Task;
use edge_runtime::task::check_labels;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Label of the teacher's progress in [`Event::Progress`].
const TEACHER: &str = "texts, the teacher answers";

/// Inputs of a run.
pub(super) struct Plan {
    pub corpus: Corpus,
    /// Bytes of `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    pub network: Network,
    pub teacher: Option<TeacherAnswers>,
    /// Projections from the student's hidden states to the teacher's, if their widths differ.
    pub projections: Vec<Linear>,
    /// Masks of the weights that become zero.
    pub masks: Option<Masks>,
    /// Rounding of the network during training, if any.
    pub quantized: Option<Int8>,
    /// Losses of the recipe, with the layer map filled in.
    pub losses: Losses,
    pub steps_per_epoch: usize,
    pub steps: usize,
}

/// Results of the teacher.
pub(super) struct TeacherAnswers {
    /// Logits for every row of the corpus, row major.
    pub logits: Vec<f32>,
    /// Hidden states and attention probabilities, if a loss needs them.
    layers: Option<TeacherLayers>,
}

impl Plan {
    pub fn make(
        recipe: &Recipe,
        options: &Options,
        work: &Path,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event),
    ) -> Result<Self, Error> {
        let from = open(&recipe.model.start)?;
        let max_tokens = recipe.data.max_tokens;
        let corpus =
            Corpus::read(recipe, &tokenizer(&from, max_tokens)?, &mut |n| observe(Event::Note(n)))?;
        let network = student(recipe, &from, &corpus.labels, options.device.clone())?;
        let mut losses = recipe.losses.clone();
        let exits = network.heads.len();
        if !losses.exit_weights.is_empty() && losses.exit_weights.len() != exits {
            return Err(Error::Unfit(format!(
                "losses.exit_weights has {} weights for {exits} exits",
                losses.exit_weights.len()
            )));
        }
        let mut teacher = None;
        let mut projections = Vec::new();
        if let Some((logits, asked)) = ask(recipe, &from, &corpus, options, work, stop, observe)? {
            let mut layers = None;
            if let Some(asked) = asked {
                if losses.layer_map.is_empty() {
                    losses.layer_map = chosen_layers(recipe, &from).iter().map(|l| l + 1).collect();
                }
                fits(&losses, &network, &asked.network)?;
                if losses.hidden > 0.0
                    && asked.network.config.encoder.hidden != network.config.encoder.hidden
                {
                    let seed = recipe.train.seed;
                    projections = make_projections(&losses, &network, &asked.network, seed)?;
                }
                let texts = (&corpus, asked.key.as_slice());
                let progress = &mut |done, of| observe(Event::Progress(TEACHER, done, of));
                layers = Some(TeacherLayers::make(
                    &asked.network,
                    texts,
                    &losses,
                    work,
                    stop,
                    progress,
                )?);
            }
            teacher = Some(TeacherAnswers { logits, layers });
        }
        let batches = corpus.split.train.len().div_ceil(recipe.train.batch);
        let steps_per_epoch = batches.div_ceil(recipe.train.accumulate);
        let steps = steps_per_epoch * recipe.train.epochs;
        observe(Event::Note(format!(
            "{} rows to train on, {} held out; {} layers, exits after {:?}; {steps} steps",
            corpus.split.train.len(),
            corpus.split.held_out.len(),
            network.blocks.len(),
            network.heads.iter().map(|h| h.layers).collect::<Vec<_>>(),
        )));
        let tokenizer = from.tokenizer()?;
        let masks = recipe.sparsity.as_ref().map(|s| Masks::new(&network, s)).transpose()?;
        let quantized = quantized(&network).map_err(Error::Unfit)?;
        Ok(Plan {
            corpus,
            tokenizer,
            network,
            teacher,
            projections,
            masks,
            quantized,
            losses,
            steps_per_epoch,
            steps,
        })
    }

    /// All parameters that are trained.
    pub fn parameters(&self) -> Vec<Arc<Parameter>> {
        let mut all = self.network.parameters();
        // Projections have no bias, so only their weights are trained.
        all.extend(self.projections.iter().map(|p| p.weight.clone()));
        all.extend(self.masks.iter().flat_map(Masks::parameters));
        all
    }

    /// The teacher's hidden states and attention probabilities for these rows, if a loss needs
    /// them.
    pub fn teacher_layers(
        &mut self,
        rows: &[usize],
        batch: &Batch,
    ) -> Result<Option<Output>, Error> {
        let device = &self.network.device;
        let layers = self.teacher.as_mut().and_then(|t| t.layers.as_mut());
        layers.map(|layers| layers.of(rows, batch, device)).transpose()
    }
}

/// Opens the checkpoint with this path or with this name on the hub.
fn open(name: &Path) -> Result<Checkpoint, Error> {
    Ok(Checkpoint::open(Hub::from_env()?.resolve_checkpoint(&name.to_string_lossy())?)?)
}

/// Layers of `from` that the student copies.
fn chosen_layers(recipe: &Recipe, from: &Checkpoint) -> Vec<usize> {
    if recipe.model.layers.is_empty() {
        (0..from.config.encoder.layers).collect()
    } else {
        recipe.model.layers.clone()
    }
}

fn student(
    recipe: &Recipe,
    from: &Checkpoint,
    labels: &[String],
    device: Device,
) -> Result<Network, Error> {
    check_labels(labels).map_err(|problem| {
        Error::Unfit(format!("{problem} in the data; give each label a name of its own"))
    })?;
    let model = &recipe.model;
    let layers = chosen_layers(recipe, from);
    let mut config = from.config.clone();
    config.encoder.layers = layers.len();
    if !from.config.encoder.pruned.is_empty() {
        config.encoder.pruned =
            layers.iter().map(|layer| from.config.encoder.widths(*layer)).collect();
    }
    config.task = Task::SingleLabel { labels: labels.to_vec() };
    if let Some(architecture) = model.architecture {
        config.set_family(architecture);
    }
    if let Some(hidden) = model.hidden {
        config.encoder.hidden = hidden;
        config.encoder.pruned.clear();
        config.encoder.heads = model.heads.unwrap_or(hidden / 32);
        config.encoder.intermediate = model.intermediate.unwrap_or(4 * hidden);
        if config.encoder.heads == 0 || hidden % config.encoder.heads != 0 {
            return Err(Error::Unfit(format!(
                "{} heads do not divide a width of {hidden}",
                config.encoder.heads
            )));
        }
    }
    let width = model.head_width.unwrap_or(config.encoder.hidden);
    let heads = match &model.exits {
        Exits::Named(NamedExits::All) => {
            Heads::Exits((1..=config.encoder.layers).collect(), model.pooling, width)
        }
        Exits::Named(NamedExits::Last) => {
            Heads::Exits(vec![config.encoder.layers], model.pooling, width)
        }
        Exits::Named(NamedExits::Own) => Heads::Own,
        Exits::After(layers) => Heads::Exits(layers.clone(), model.pooling, width),
    };
    config.quantize = recipe.quantize.map(|q| rounded(q, from, &layers, &heads));
    start(&Start { from, config, layers, heads, seed: recipe.train.seed, device })
}

/// Rounding of a student. If the recipe selects no layers of 4 bits, those of the checkpoint apply
/// to a student that continues with all of its layers and exits.
fn rounded(recipe: Quantize, from: &Checkpoint, layers: &[usize], heads: &Heads) -> Quantize {
    let same_layers = layers.iter().copied().eq(0..from.config.encoder.layers);
    let same_exits = match (heads, &from.exits) {
        (Heads::Exits(layers, ..), Some(exits)) => *layers == exits.layers,
        (Heads::Own, None) => true,
        _ => false,
    };
    match from.config.quantize {
        Some(own) if recipe.four_bits.is_empty() && same_layers && same_exits => {
            Quantize { four_bits: own.four_bits, ..recipe }
        }
        _ => recipe,
    }
}

/// A teacher whose layers are needed, and the digest of teacher and texts.
struct Asked {
    network: Network,
    key: [u8; 32],
}

/// Logits for every row, and the teacher if its layers are needed too.
type Answers = (Vec<f32>, Option<Asked>);

/// Computes or reads the teacher's logits for every row; also returns the teacher if its layers are
/// needed.
fn ask(
    recipe: &Recipe,
    from: &Checkpoint,
    corpus: &Corpus,
    options: &Options,
    work: &Path,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event),
) -> Result<Option<Answers>, Error> {
    let Some(teacher) = &recipe.teacher else { return Ok(None) };
    let Some(model) = &teacher.model else {
        let path = teacher.outputs.as_ref().expect("checked when the recipe was read");
        return Ok(Some((teacher::read_outputs(path, corpus)?, None)));
    };
    let checkpoint = open(model)?;
    if checkpoint.config.task.labels() != corpus.labels {
        return Err(Error::Unfit(format!(
            "the teacher's labels are {:?}, those of the data {:?}; list the teacher's in `data.labels`",
            checkpoint.config.task.labels(),
            corpus.labels
        )));
    }
    if vocabulary(&checkpoint)? != vocabulary(from)? {
        return Err(Error::Unfit(
            "the teacher and the student have different vocabularies; expected the same one, for \
             both read the student's token ids"
                .into(),
        ));
    }
    let network = load(&checkpoint, options.device.clone())?;
    let key = teacher::digest(&checkpoint, corpus)?;
    let logits = match &teacher.outputs {
        Some(path) => teacher::read_outputs(path, corpus)?,
        None => {
            let cache = work.join("teacher.safetensors");
            let progress = &mut |done, of| observe(Event::Progress(TEACHER, done, of));
            teacher::cached(&network, (corpus, key.as_slice()), &cache, stop, progress)?
        }
    };
    if !recipe.losses.needs_layers() {
        return Ok(Some((logits, None)));
    }
    Ok(Some((logits, Some(Asked { network, key }))))
}

/// Pieces of a tokenizer by their ids.
fn vocabulary(checkpoint: &Checkpoint) -> Result<Value, Error> {
    let file: Value = serde_json::from_slice(&checkpoint.tokenizer()?).map_err(|e| {
        Error::checkpoint(checkpoint.config_path().with_file_name("tokenizer.json"), e.to_string())
    })?;
    Ok(file["model"]["vocab"].clone())
}

fn fits(losses: &Losses, student: &Network, teacher: &Network) -> Result<(), Error> {
    let (layers, teacher_layers) = (student.blocks.len(), teacher.blocks.len());
    let map = &losses.layer_map;
    if map.len() != layers || map.iter().any(|l| !(1..=teacher_layers).contains(l)) {
        return Err(Error::Unfit(format!(
            "losses.layer_map is {map:?}; expected one of the teacher's layers, 1 to {teacher_layers}, \
             for each of the student's {layers}"
        )));
    }
    let heads = |n: &Network| n.blocks.iter().map(|b| b.heads).collect::<Vec<_>>();
    let (of_student, of_teacher) = (heads(student), heads(teacher));
    if losses.attention > 0.0
        && of_student.iter().chain(&of_teacher).any(|h| *h != student.config.encoder.heads)
    {
        return Err(Error::Unfit(format!(
            "losses.attention needs the same number of attention heads in every layer of both; the student \
             has {of_student:?}, the teacher {of_teacher:?}"
        )));
    }
    Ok(())
}

/// Rounding of the network during training, if any.
fn quantized(network: &Network) -> Result<Option<Int8>, String> {
    let Some(quantize) = network.config.quantize else { return Ok(None) };
    quantize.four_bits.of_network(&network.config.encoder, network.heads.len())?;
    quantize.int8().map(Some)
}

fn make_projections(
    losses: &Losses,
    student: &Network,
    teacher: &Network,
    seed: u64,
) -> Result<Vec<Linear>, Error> {
    let (inputs, outputs) = (student.config.encoder.hidden, teacher.config.encoder.hidden);
    let deviation = (1.0 / inputs as f32).sqrt();
    (0..losses.layer_map.len())
        .map(|i| {
            let mut rng = Rng::new(&[seed, 0x70726f6a, i as u64]);
            let values = (0..inputs * outputs).map(|_| deviation * rng.normal()).collect();
            let parameter = |name: &str, values, shape: &[usize]| {
                Parameter::new(format!("projection.{i}.{name}"), values, shape, &student.device)
            };
            Ok(Linear {
                weight: parameter("weight", values, &[outputs, inputs])?,
                bias: parameter("bias", vec![0.0; outputs], &[outputs])?,
                site: None,
            })
        })
        .collect()
}
