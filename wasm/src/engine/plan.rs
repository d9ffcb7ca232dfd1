//! Plan of a stage: the buffers that each kernel reads and writes. All engines share it.

mod first;

use crate::Error;
use crate::graph::{Call, Elements, Op, StageGraph};
use first::{Planned, pool_early};

/// A stage whose calls have buffers; `K` is an engine's form of an [`Op`].
#[derive(Debug)]
pub(super) struct Plan<K> {
    pub steps: Vec<PlannedCall<K>>,
    /// Buffer of the hidden states for the next stage, and their width.
    pub next_hidden: Option<(usize, usize)>,
    /// Buffer of the logits, and the number of labels.
    pub logits: Option<(usize, usize)>,
}

/// Meaning of a value's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Tokens,
    Sentences,
}

/// One call: its kernel and its buffers.
#[derive(Debug)]
pub(super) struct PlannedCall<K> {
    /// Name of the node.
    pub name: String,
    pub kernel: K,
    /// Buffer and width of each input.
    pub inputs: Vec<(usize, usize)>,
    /// Rows of the inputs.
    pub read: Rows,
    /// Rows of the output.
    pub written: Rows,
    /// Width of the output.
    pub width: usize,
    /// Buffer of the output.
    pub slot: usize,
}

/// A value of the stage.
#[derive(Clone, Copy)]
struct Value {
    /// Kind of the rows; `None` for token ids.
    rows: Option<Rows>,
    width: usize,
    slot: usize,
    /// Last call that reads the value; the number of calls if the value leaves the stage.
    last: usize,
}

/// Checks that a stage takes the output of the stage before it, and returns the buffer.
///
/// `before` is the earlier stage's [`next_hidden`](Plan::next_hidden), or `None` for the first
/// stage.
pub(super) fn follows(
    graph: &StageGraph,
    before: Option<Option<(usize, usize)>>,
) -> Result<usize, Error> {
    let given = before.map_or(Some((0, None)), |hidden| hidden.map(|(slot, w)| (slot, Some(w))));
    let width = given.and_then(|(_, width)| width);
    if let Some((slot, _)) = given.filter(|_| graph.input == width) {
        return Ok(slot);
    }
    let words = |w: Option<usize>, nothing: &str| {
        w.map_or(nothing.to_owned(), |w| format!("hidden states of width {w}"))
    };
    let nothing = if given.is_some() { "token ids" } else { "none" };
    let problem = format!(
        "it takes {}; the output of the stage before it is {}",
        words(graph.input, "token ids"),
        words(width, nothing)
    );
    Err(Error::graph(&graph.name, "graph", problem))
}

impl<K> Plan<K> {
    /// Plans a stage whose input is in the buffer `input`. `kernel` gets each operation, and true
    /// if only the first row of each sentence is needed.
    pub(super) fn new(
        mut graph: StageGraph,
        input: usize,
        mut kernel: impl FnMut(Op, bool) -> K,
    ) -> Result<Self, Error> {
        for (i, call) in graph.calls.iter().enumerate() {
            if call.inputs.iter().any(|v| *v > i) {
                let problem = "it reads the output of a later call";
                return Err(Error::graph(&graph.name, &call.name, problem));
            }
        }
        let outputs = [graph.next_hidden, graph.logits];
        if outputs.iter().flatten().any(|(v, _)| *v > graph.calls.len()) {
            return Err(Error::graph(&graph.name, "graph", "an output is the value of no call"));
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
            // Ids take no buffer, and a value that no later call reads frees its buffer.
            let taken = |slot: usize| {
                values.iter().any(|v| v.rows.is_some() && v.slot == slot && v.last >= i)
            };
            let slot = (0..).find(|slot| !taken(*slot)).expect("there is always another one");
            values.push(Value { rows: Some(rows), width, slot, last: lasts[i + 1].max(i) });
            steps.push(PlannedCall {
                inputs: inputs.iter().map(|v| (v.slot, v.width)).collect(),
                read: inputs.first().and_then(|v| v.rows).unwrap_or(rows),
                written: rows,
                width,
                slot,
                kernel: kernel(call.op, first),
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
}

/// Returns the rows and the width of a call's output. The error is a message, if the call cannot
/// take its inputs.
fn output(call: &Call, first: bool, inputs: &[Value]) -> Result<(Rows, usize), String> {
    let shapes: Vec<_> = inputs.iter().map(|v| (v.rows, v.width)).collect();
    let given = match (&call.op, shapes.as_slice()) {
        (Op::Embed { words, positions, norm }, [(None, _)])
            if positions.columns == words.columns
                && norm.gamma.len() == words.columns
                && [words, positions]
                    .iter()
                    .all(|table| !matches!(table.elements, Elements::Packed { .. })) =>
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
