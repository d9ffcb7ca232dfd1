//! A stage, planned: which kernel reads and writes which buffer.

use super::first::{Planned, pool_early};
use super::step::{Kernel, Rows, Step};
use crate::Error;
use crate::graph::{Call, Elements, Op, StageGraph};
use crate::kernels::embed::Tables;
use crate::kernels::isa::Isa;
use crate::kernels::linear::Weights;
use crate::kernels::qlinear::PackedWeights;

/// A stage that is ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    next_hidden: Option<(usize, usize)>,
    logits: Option<(usize, usize)>,
}

/// A value of the stage.
#[derive(Clone, Copy)]
struct Value {
    /// `None` for token ids.
    rows: Option<Rows>,
    width: usize,
    slot: usize,
    /// The last call that reads it; one after all calls if it leaves the stage.
    last: usize,
}

impl Plan {
    /// Plans a stage whose input stands in the buffer `input`.
    pub(super) fn new(mut graph: StageGraph, input: usize, isa: Isa) -> Result<Self, Error> {
        for (i, call) in graph.calls.iter().enumerate() {
            if call.inputs.iter().any(|v| *v > i) {
                let problem = "it reads a value that is given later";
                return Err(Error::graph(&graph.name, &call.name, problem));
            }
        }
        let outputs = [graph.next_hidden, graph.logits];
        if outputs.iter().flatten().any(|(v, _)| *v > graph.calls.len()) {
            return Err(Error::graph(&graph.name, "graph", "an output is given by no call"));
        }
        let calls = pool_early(&mut graph);
        let last = |value: usize| {
            let leaves = [graph.next_hidden, graph.logits].iter().flatten().any(|o| o.0 == value);
            let read = calls.iter().rposition(|c| c.call.inputs.contains(&value));
            if leaves { calls.len() } else { read.unwrap_or(0) }
        };
        let lasts: Vec<usize> = (0..=calls.len()).map(last).collect();
        let rows = graph.input.map(|_| Rows::Tokens);
        let width = graph.input.unwrap_or(0);
        let mut values = vec![Value { rows, width, slot: input, last: lasts[0] }];
        let mut steps = Vec::with_capacity(calls.len());
        for (i, Planned { call, first }) in calls.into_iter().enumerate() {
            let wrong = |problem: &str| Error::graph(&graph.name, &call.name, problem);
            let inputs: Vec<Value> = call.inputs.iter().map(|v| values[*v]).collect();
            let (rows, width) = output(&call, first, &inputs).map_err(|p| wrong(&p))?;
            // Ids take no buffer, and what nobody reads any more leaves its own to others.
            let taken = |slot: usize| {
                values.iter().any(|v| v.rows.is_some() && v.slot == slot && v.last >= i)
            };
            let slot = (0..).find(|slot| !taken(*slot)).expect("there is always another one");
            values.push(Value { rows: Some(rows), width, slot, last: lasts[i + 1].max(i) });
            steps.push(Step {
                inputs: inputs.iter().map(|v| (v.slot, v.width)).collect(),
                read: inputs.first().and_then(|v| v.rows).unwrap_or(rows),
                written: rows,
                width,
                slot,
                kernel: kernel(call.op, first, isa),
                name: call.name,
            });
        }
        let given = |output: Option<(usize, usize)>, rows: Rows| match output {
            None => Ok(None),
            Some((v, width)) if values[v].rows == Some(rows) && values[v].width == width => {
                Ok(Some((values[v].slot, width)))
            }
            _ => Err(Error::graph(&graph.name, "graph", "an output has another shape")),
        };
        let next_hidden = given(graph.next_hidden, Rows::Tokens)?;
        let logits = given(graph.logits, Rows::Sentences)?;
        Ok(Plan { steps, next_hidden, logits })
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The buffer of the hidden states for the next stage, and their width.
    pub(super) fn next_hidden(&self) -> Option<(usize, usize)> {
        self.next_hidden
    }

    /// The buffer of the logits, and the number of labels.
    pub(super) fn logits(&self) -> Option<(usize, usize)> {
        self.logits
    }
}

/// The rows and the width of what a call gives. Errs in words if it cannot take its inputs.
fn output(call: &Call, first: bool, inputs: &[Value]) -> Result<(Rows, usize), String> {
    let shapes: Vec<_> = inputs.iter().map(|v| (v.rows, v.width)).collect();
    let given = match (&call.op, shapes.as_slice()) {
        (Op::Embed { words, positions, norm }, [(None, _)])
            if positions.columns == words.columns && norm.gamma.len() == words.columns =>
        {
            Some((Rows::Tokens, words.columns))
        }
        (Op::Linear { weight, bias, .. }, [(Some(rows), width)])
            if weight.rows == *width
                && weight.columns == bias.len()
                && !matches!(weight.elements, Elements::I4 { .. }) =>
        {
            Some((*rows, weight.columns))
        }
        (Op::SelfAttention { heads }, [(Some(Rows::Tokens), width)])
            if *heads > 0 && width % (3 * heads) == 0 =>
        {
            Some((if first { Rows::Sentences } else { Rows::Tokens }, width / 3))
        }
        (Op::AddNorm(norm), [a @ (Some(rows), width), b])
            if a == b && norm.gamma.len() == *width && norm.beta.len() == *width =>
        {
            Some((*rows, *width))
        }
        (Op::MeanPool | Op::FirstPool, [(Some(Rows::Tokens), width)]) => {
            Some((Rows::Sentences, *width))
        }
        _ => None,
    };
    given.filter(|(_, width)| *width > 0).ok_or_else(|| {
        let widths: Vec<usize> = inputs.iter().map(|v| v.width).collect();
        format!("it cannot take inputs of the widths {widths:?}")
    })
}

/// Packs the weights; those in the graph are gone afterwards.
fn kernel(op: Op, first: bool, isa: Isa) -> Kernel {
    match op {
        Op::Embed { words, positions, norm } => Kernel::Embed(Tables { words, positions, norm }),
        Op::Linear { weight, bias, activation } => match weight.elements {
            Elements::F32(values) => {
                Kernel::Linear(Weights::new(weight.rows, &values, bias), activation)
            }
            Elements::I8 { values, scales } => {
                let (rows, columns) = (weight.rows, weight.columns);
                let packed = PackedWeights::for_isa(isa, rows, columns, &values, &scales, &bias);
                Kernel::QLinear(packed, activation)
            }
            Elements::I4 { .. } => unreachable!("refused where the output was asked for"),
        },
        Op::SelfAttention { heads } => {
            Kernel::SelfAttention { heads, queries: if first { 1 } else { usize::MAX } }
        }
        Op::AddNorm(norm) => Kernel::AddNorm(norm),
        Op::MeanPool => Kernel::MeanPool,
        Op::FirstPool => Kernel::FirstPool,
    }
}
