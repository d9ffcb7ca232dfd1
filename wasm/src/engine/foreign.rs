//! ONNX files of other programs: a whole text classifier as one stage, run by tract-onnx.

mod file;

use super::{Engine, Logits, Tokens};
use crate::Error;
use crate::bundle::{Architecture, FORMAT, Manifest, Provenance, Stage, VERSION};
use crate::classifier::Classifier;
use crate::graph::{ATTENTION_MASK, INPUT_IDS, StageGraph};
use crate::guard::guard;
use crate::pretrained::{config, tokenizer};
use crate::tokenizer::Tokenizer;
use std::path::Path;
use std::sync::Arc;
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// Input of some classifiers: the number of a token's text, of two texts; always 0 here.
const TOKEN_TYPE_IDS: &str = "token_type_ids";

/// Default for the most tokens of a text, if `config.json` has no `max_position_embeddings`: that
/// of transformers.
const MAX_TOKENS: usize = 512;

/// A BERT-like text classifier in ONNX.
///
/// Its inputs are `input_ids`, `attention_mask` and optionally `token_type_ids`, int64
/// `[batch, sequence]`. Its output is `logits`, float `[batch, labels]`.
///
/// It is one stage with one exit, and no part of a bundle.
#[derive(Debug)]
pub struct ForeignModel {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<Input>,
    /// Name of the file, for messages.
    file: String,
    /// Number of labels and of outputs.
    labels: usize,
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Ids,
    Mask,
    Types,
}

impl Classifier<ForeignModel> {
    /// Opens an ONNX file with the tokenizer's files and the `config.json` in the same folder.
    ///
    /// The labels are those of [`config::Config`]. Texts are cut to `max_position_embeddings`
    /// tokens, 512 if it is absent. If tract panics, here or while a text is classified, the error
    /// names the file. Where panics abort, as in WebAssembly, a panic ends the program.
    ///
    /// # Errors
    /// - [`Error::Io`] if a file is missing.
    /// - [`Error::File`] if tract cannot run the model as a text classifier, or the number of
    ///   outputs is not that of the labels.
    /// - [`Error::Tokenizer`].
    pub fn open_onnx(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let config_path = path.with_file_name("config.json");
        let config = config::Config::read(&config_path)?;
        let max_tokens = config.max_tokens.unwrap_or(MAX_TOKENS);
        let tokenizer = tokenizer::read(path.parent().unwrap_or(Path::new("")))?;
        let tokenizer = Tokenizer::from_json(&tokenizer, max_tokens)?;
        let bytes = std::fs::read(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
        let file = path.display().to_string();
        let wrong = |problem| Error::file(path, problem);
        let model = file::decode(&bytes).map_err(wrong)?;
        drop(bytes);
        let model = ForeignModel::new(&model, file.clone(), config.labels.len());
        let model = model.map_err(wrong)?;
        if let Some(outputs) = model.outputs().filter(|n| *n != config.labels.len()) {
            return Err(Error::file(config_path, unequal(&config.labels, outputs, &file)));
        }
        let manifest = Manifest {
            format: FORMAT.into(),
            version: VERSION,
            digest: String::new(),
            labels: config.labels,
            architecture: Architecture {
                model_type: "onnx".into(),
                layers: 1,
                hidden: 0,
                heads: 0,
                intermediate: 0,
                vocabulary: config.vocabulary.unwrap_or(usize::MAX),
                max_tokens,
                precision: String::new(),
                weight_bits: None,
                embedding_bits: None,
                four_bits: Vec::new(),
            },
            stages: vec![Stage { layers: 1, exit: true }],
            policy: None,
            provenance: Provenance { checkpoint: file, ..Default::default() },
            entries: Vec::new(),
        };
        Ok(Classifier::from_parts(manifest, tokenizer, model))
    }
}

fn unequal(labels: &[String], outputs: usize, file: &str) -> String {
    let shown = labels.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if labels.len() > 4 { ", …" } else { "" };
    let regression =
        if outputs == 1 { "; one output is a regression, which is not supported" } else { "" };
    format!(
        "{} labels ({shown}{more}), and {file} has {outputs} outputs; expected a name in id2label \
         for each output{regression}",
        labels.len()
    )
}

impl ForeignModel {
    fn new(file: &ModelProto, name: String, labels: usize) -> Result<Self, String> {
        // The shapes of intermediate values that `quantize_dynamic` writes contradict those of
        // tract.
        let onnx = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
        let graph = file.graph.as_ref().ok_or("it has no graph")?;
        file::check(graph, &onnx.op_register)?;
        let output = file::logits(graph)?;
        let (plan, inputs) = of_tract(|| plan(&onnx, file, output))
            .map_err(|e| format!("tract cannot run it: {e:#}"))?;
        let model = ForeignModel { plan, inputs, file: name, labels };
        let fact = model.output().map_err(|e| format!("{e:#}"))?;
        if fact.rank() != 2 || !fact.datum_type.is_float() {
            return Err(format!(
                "its output `{}` is {fact:?}; expected floats of the shape [batch, labels]",
                graph.output[output].name
            ));
        }
        Ok(model)
    }

    fn output(&self) -> TractResult<&TypedFact> {
        self.plan.model().output_fact(0)
    }

    /// Number of outputs for a text, if the graph has it.
    fn outputs(&self) -> Option<usize> {
        self.output().ok()?.shape.last()?.to_usize().ok()
    }

    /// Computes logits sentence by sentence. A model of `quantize_dynamic` has one scale for a
    /// whole tensor: in a batch, or with padding, an answer would depend on the other sentences.
    fn logits(&self, tokens: &Tokens, logits: &mut Logits) -> Result<(), String> {
        logits.values.clear();
        logits.labels = self.labels;
        for sentence in tokens.offsets().windows(2) {
            let ids = &tokens.ids()[sentence[0]..sentence[1]];
            let output = of_tract(|| self.run_one(ids)).map_err(|e| {
                format!(
                    "{} gives no answer for a text of {} tokens with ids up to {}: {e:#}; check that \
                     vocab_size and max_position_embeddings in config.json fit the model",
                    self.file,
                    ids.len(),
                    ids.iter().max().unwrap_or(&0)
                )
            })?;
            if output.len() != self.labels {
                return Err(format!(
                    "{} gives {} outputs, config.json has {} labels",
                    self.file,
                    output.len(),
                    self.labels
                ));
            }
            logits.values.extend(output);
        }
        Ok(())
    }

    /// Computes the logits of one text.
    fn run_one(&self, ids: &[u32]) -> TractResult<Vec<f32>> {
        let inputs: TractResult<TVec<TValue>> = self
            .inputs
            .iter()
            .map(|input| {
                let values: Vec<i64> = match input {
                    Input::Ids => ids.iter().map(|id| i64::from(*id)).collect(),
                    Input::Mask => vec![1; ids.len()],
                    Input::Types => vec![0; ids.len()],
                };
                Ok(Tensor::from_shape(&[1, ids.len()], &values)?.into_tvalue())
            })
            .collect();
        let output = self.plan.run(inputs?)?.remove(0);
        let &[1, _] = output.shape() else {
            bail!("its output has the shape {:?}, not [batch, labels]", output.shape());
        };
        let output = output.cast_to::<f32>()?;
        Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

/// Runs `body`, in which tract may panic.
fn of_tract<T>(body: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    guard(body).unwrap_or_else(|words| Err(format_err!("tract panicked: {words}")))
}

/// Prepares a graph for texts of any length, and returns the meaning of its inputs.
fn plan(
    onnx: &Onnx,
    file: &ModelProto,
    output: usize,
) -> TractResult<(Arc<TypedRunnableModel>, Vec<Input>)> {
    let mut model = onnx.model_for_proto_model(file)?;
    let batch = model.symbols.sym("batch").to_dim();
    let sequence = model.symbols.sym("sequence").to_dim();
    let mut inputs = Vec::new();
    for (i, outlet) in model.inputs.clone().into_iter().enumerate() {
        inputs.push(match model.nodes[outlet.node].name.as_str() {
            INPUT_IDS => Input::Ids,
            ATTENTION_MASK => Input::Mask,
            TOKEN_TYPE_IDS => Input::Types,
            other => bail!(
                "its input `{other}` is not one of {INPUT_IDS}, {ATTENTION_MASK} and \
                 {TOKEN_TYPE_IDS}"
            ),
        });
        let fact = i64::fact(dims![batch.clone(), sequence.clone()]);
        model.set_input_fact(i, fact.into())?;
    }
    ensure!(!inputs.is_empty(), "it has no inputs");
    let output = model.outputs[output];
    model.select_output_outlets(&[output])?;
    Ok((model.into_optimized()?.into_runnable()?, inputs))
}

impl Engine for ForeignModel {
    type Batch = Tokens;

    fn add_stage(&mut self, stage: StageGraph) -> Result<(), Error> {
        Err(Error::graph(stage.name, "graph", "an ONNX file from elsewhere takes no more stages"))
    }

    fn stages(&self) -> usize {
        1
    }

    fn begin(&self, tokens: Tokens) -> Result<Tokens, Error> {
        Ok(tokens)
    }

    fn run(&self, stage: usize, batch: &mut Tokens, logits: &mut Logits) -> Result<bool, Error> {
        self.logits(batch, logits)
            .map(|()| true)
            .map_err(|problem| Error::Engine { stage, problem })
    }

    fn keep(&self, _: &mut Tokens, _: &[usize]) -> Result<(), Error> {
        Ok(())
    }
}
