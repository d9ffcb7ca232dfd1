//! ONNX files from elsewhere: a whole text classifier as one stage, run by tract-onnx.

use super::{Engine, Logits, Tokens};
use crate::Error;
use crate::bundle::{Architecture, FORMAT, Manifest, Provenance, Stage, VERSION};
use crate::classifier::Classifier;
use crate::graph::{ATTENTION_MASK, INPUT_IDS, LOGITS, StageGraph};
use crate::tokenizer::Tokenizer;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// Input of some classifiers: which of two texts a token is of; always 0 here.
const TOKEN_TYPE_IDS: &str = "token_type_ids";

/// A BERT-like text classifier in ONNX: from `input_ids`, `attention_mask` and perhaps
/// `token_type_ids`, int64 `[batch, sequence]`, to `logits`, float `[batch, labels]`.
///
/// It is one stage with one exit, and no part of a bundle.
#[derive(Debug)]
pub struct ForeignModel {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<Input>,
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Ids,
    Mask,
    Types,
}

#[derive(Deserialize)]
struct Config {
    id2label: Option<BTreeMap<usize, String>>,
    max_position_embeddings: Option<usize>,
    vocab_size: Option<usize>,
}

impl Classifier<ForeignModel> {
    /// Opens an ONNX file with the `tokenizer.json` and the `config.json` that lie beside it.
    ///
    /// # Errors
    /// [`Error::Io`] if one of the three is missing, [`Error::Graph`] if the graph is not a text
    /// classifier that tract can run, [`Error::Tokenizer`].
    pub fn open_onnx(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = |path: &Path| {
            std::fs::read(path).map_err(|cause| Error::Io { path: path.into(), cause })
        };
        let file = path.display().to_string();
        let config_path = path.with_file_name("config.json");
        let config: Config = serde_json::from_slice(&read(&config_path)?).map_err(|e| {
            Error::graph(config_path.display().to_string(), "config", e.to_string())
        })?;
        let max_tokens = config.max_position_embeddings.unwrap_or(512);
        let tokenizer = read(&path.with_file_name("tokenizer.json"))?;
        let tokenizer = Tokenizer::from_json(&tokenizer, max_tokens)?;
        let model = ForeignModel::read(&read(path)?)
            .map_err(|e| Error::graph(&file, "graph", format!("{e:#}")))?;
        let labels = match config.id2label {
            Some(labels) => labels.into_values().collect(),
            None => vec!["LABEL_0".into(), "LABEL_1".into()],
        };
        let manifest = Manifest {
            format: FORMAT.into(),
            version: VERSION,
            digest: String::new(),
            labels,
            architecture: Architecture {
                model_type: "onnx".into(),
                layers: 1,
                hidden: 0,
                heads: 0,
                intermediate: 0,
                vocabulary: config.vocab_size.unwrap_or(usize::MAX),
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

impl ForeignModel {
    fn read(file: &[u8]) -> TractResult<Self> {
        // The shapes that `quantize_dynamic` writes for values in between contradict tract's own.
        let onnx = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
        let mut model = onnx.model_for_read(&mut &*file)?;
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
        let logits = model
            .outputs
            .iter()
            .position(|o| model.outlet_labels.get(o).is_some_and(|l| l == LOGITS))
            .unwrap_or(0);
        let output = model.outputs[logits];
        model.select_output_outlets(&[output])?;
        let plan = model.into_optimized().context("tract cannot run it")?.into_runnable()?;
        Ok(ForeignModel { plan, inputs })
    }

    /// Sentence by sentence: what `quantize_dynamic` writes takes one scale for a whole tensor, so
    /// that in a batch, or with padding, an answer would depend on the neighbours.
    fn logits(&self, tokens: &Tokens, logits: &mut Logits) -> TractResult<()> {
        logits.values.clear();
        for sentence in tokens.offsets().windows(2) {
            let ids = &tokens.ids()[sentence[0]..sentence[1]];
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
            let &[1, labels] = output.shape() else {
                bail!("its output has the shape {:?}, not [batch, labels]", output.shape());
            };
            logits.labels = labels;
            logits.values.extend_from_slice(output.try_as_plain_ram()?.as_slice::<f32>()?);
        }
        Ok(())
    }
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
            .map_err(|e| Error::Engine { stage, problem: format!("{e:#}") })
    }

    fn keep(&self, _: &mut Tokens, _: &[usize]) -> Result<(), Error> {
        Ok(())
    }
}
