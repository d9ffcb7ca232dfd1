//! ONNX files of other programs: a whole text classifier as one stage, run by tract-onnx.

mod file;

use super::{Engine, Logits, Tokens};
use crate::Error;
use crate::graph::{ATTENTION_MASK, INPUT_IDS, StageGraph};
use crate::guard::guard;
use std::sync::Arc;
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// Input of some classifiers: the number of a token's text, of two texts; always 0 here.
const TOKEN_TYPE_IDS: &str = "token_type_ids";

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

impl ForeignModel {
    /// Reads an ONNX file for `labels` labels.
    ///
    /// # Errors
    /// A message with the node or the output that is not supported.
    pub(crate) fn open(bytes: &[u8], name: String, labels: usize) -> Result<Self, String> {
        Self::new(&file::decode(bytes)?, name, labels)
    }

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
    pub(crate) fn outputs(&self) -> Option<usize> {
        self.output().ok()?.shape.last()?.to_usize().ok()
    }

    /// Computes logits sentence by sentence. A model of `quantize_dynamic` has one scale for a
    /// whole tensor: in a batch, or with padding, an answer would depend on the other sentences.
    fn logits(&self, tokens: &Tokens, logits: &mut Logits) -> Result<(), String> {
        logits.values.clear();
        logits.width = self.labels;
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
