//! The CPU engine: one small tract plan per stage, whose operators are our kernels.

mod call;

use super::{Engine, Logits, Tokens};
use crate::Error;
use crate::graph::{Elements, Op, StageGraph};
use call::{CallOp, Kernel};
use std::sync::Arc;
use tract_core::internal::*;
use tract_core::ops::einsum::EinSum;

/// Runs stages with tract. Float products are tract's own, everything else is [`crate::kernels`].
#[derive(Debug, Default)]
pub struct TractEngine {
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    plan: Arc<TypedRunnableModel>,
    /// Width of the hidden states that come out.
    next_hidden: Option<usize>,
    labels: Option<usize>,
}

/// A batch on its way through a [`TractEngine`].
#[derive(Debug)]
pub struct TractBatch {
    offsets: Vec<usize>,
    /// Token ids before stage 0, hidden states after it: `[rows, width]`.
    state: Tensor,
    /// The stage that was run last, for messages.
    stage: usize,
}

impl Engine for TractEngine {
    type Batch = TractBatch;

    fn add_stage(&mut self, graph: StageGraph) -> Result<(), Error> {
        let before = self.stages.last().and_then(|s| s.next_hidden);
        if graph.input != before {
            let words = |w: Option<usize>| {
                w.map_or("token ids".into(), |w| format!("hidden states of width {w}"))
            };
            return Err(Error::graph(
                &graph.name,
                "graph",
                format!(
                    "it takes {}, the stage before it gives {}",
                    words(graph.input),
                    words(before)
                ),
            ));
        }
        let name = graph.name.clone();
        let (next_hidden, labels) = (graph.next_hidden.map(|v| v.1), graph.logits.map(|v| v.1));
        let plan = plan(graph).map_err(|e| Error::graph(name, "plan", format!("tract: {e:#}")))?;
        self.stages.push(Stage { plan, next_hidden, labels });
        Ok(())
    }

    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn begin(&self, tokens: Tokens) -> Result<TractBatch, Error> {
        if let Some(empty) = tokens.offsets().windows(2).position(|w| w[0] == w[1]) {
            let problem = format!("sentence {empty} of the batch has no tokens");
            return Err(Error::Engine { stage: 0, problem });
        }
        let ids: Vec<i64> = tokens.ids().iter().map(|id| i64::from(*id)).collect();
        Ok(TractBatch { offsets: tokens.offsets().to_vec(), state: tensor1(&ids), stage: 0 })
    }

    fn run(&self, stage: usize, batch: &mut TractBatch) -> Result<Option<Logits>, Error> {
        let Stage { plan, next_hidden, labels } = &self.stages[stage];
        let problem = |e: TractError| Error::Engine { stage, problem: format!("{e:#}") };
        let offsets: Vec<i64> = batch.offsets.iter().map(|o| *o as i64).collect();
        batch.stage = stage;
        let state = std::mem::take(&mut batch.state);
        let mut outputs = plan
            .run(tvec![state.into_tvalue(), tensor1(&offsets).into_tvalue()])
            .map_err(problem)?
            .into_iter();
        if next_hidden.is_some() {
            batch.state = outputs.next().expect("declared as an output").into_tensor();
        }
        let Some(labels) = *labels else {
            return Ok(None);
        };
        let logits = outputs.next().expect("declared as an output");
        let values = call::floats(&logits).map_err(problem)?.to_vec();
        Ok(Some(Logits { values, labels }))
    }

    fn keep(&self, batch: &mut TractBatch, stay: &[usize]) -> Result<(), Error> {
        if stay.len() + 1 == batch.offsets.len() {
            return Ok(());
        }
        let mut offsets = vec![0];
        for s in stay {
            let length = batch.offsets[s + 1] - batch.offsets[*s];
            offsets.push(offsets[offsets.len() - 1] + length);
        }
        // Without hidden states (after the last stage) there is nothing to compact.
        if let &[_, width] = batch.state.shape() {
            let stage = batch.stage;
            let problem = |e: TractError| Error::Engine { stage, problem: format!("{e:#}") };
            let mut rows = Vec::with_capacity(offsets[stay.len()] * width);
            let state = call::floats(&batch.state).map_err(problem)?;
            for s in stay {
                rows.extend_from_slice(
                    &state[batch.offsets[*s] * width..batch.offsets[s + 1] * width],
                );
            }
            batch.state =
                Tensor::from_shape(&[offsets[stay.len()], width], &rows).map_err(problem)?;
        }
        batch.offsets = offsets;
        Ok(())
    }
}

/// Wires a stage: inputs are the state and the offsets, both with symbolic lengths, so that one
/// plan serves every batch.
fn plan(graph: StageGraph) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = TypedModel::default();
    let rows = model.symbols.sym("rows").to_dim();
    let bounds = model.symbols.sym("sentences").to_dim() + 1;
    let state = match graph.input {
        None => model.add_source("ids", i64::fact(dims![rows]))?,
        Some(width) => model.add_source("hidden", f32::fact(dims![rows, width]))?,
    };
    let offsets = model.add_source("offsets", i64::fact(dims![bounds]))?;
    let mut values = vec![state];
    for call in graph.calls {
        let mut inputs: TVec<OutletId> = call.inputs.iter().map(|v| values[*v]).collect();
        let (kernel, width) = match call.op {
            Op::Linear { weight, bias, activation } => match weight.elements {
                Elements::F32(w) => {
                    let w = Tensor::from_shape(&[weight.rows, weight.columns], &w)?;
                    let w = model.add_const(format!("{}.weight", call.name), w)?;
                    let product = EinSum::new("mk,kn->mn".parse()?, f32::datum_type());
                    inputs = model.wire_node(
                        format!("{}.product", call.name),
                        product,
                        &[inputs[0], w],
                    )?;
                    (Kernel::BiasActivation { bias, activation }, weight.columns)
                }
                Elements::I8 { values, scales } => {
                    let packed = crate::kernels::qlinear::PackedWeights::new(
                        weight.rows,
                        weight.columns,
                        &values,
                        &scales,
                        &bias,
                    );
                    (Kernel::QLinear { weights: packed, activation }, weight.columns)
                }
            },
            Op::Embed { words, positions, norm } => {
                inputs.push(offsets);
                let width = words.columns;
                (Kernel::Embed { words, positions, norm }, width)
            }
            Op::SelfAttention { heads } => {
                let width = width_of(&model, inputs[0])? / 3;
                inputs.push(offsets);
                (Kernel::SelfAttention { heads }, width)
            }
            Op::AddNorm(norm) => {
                let width = norm.gamma.len();
                (Kernel::AddNorm(norm), width)
            }
            Op::MeanPool => {
                let width = width_of(&model, inputs[0])?;
                inputs.push(offsets);
                (Kernel::MeanPool, width)
            }
            Op::FirstPool => {
                let width = width_of(&model, inputs[0])?;
                inputs.push(offsets);
                (Kernel::FirstPool, width)
            }
        };
        values.push(model.wire_node(&call.name, CallOp::new(kernel, width), &inputs)?[0]);
    }
    let outputs: Vec<OutletId> =
        [graph.next_hidden, graph.logits].into_iter().flatten().map(|(v, _)| values[v]).collect();
    model.select_output_outlets(&outputs)?;
    model.into_optimized()?.into_runnable()
}

fn width_of(model: &TypedModel, value: OutletId) -> TractResult<usize> {
    Ok(model.outlet_fact(value)?.shape[1].to_usize()?)
}
