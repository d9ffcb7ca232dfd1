//! First rows: where later calls read only the first row of each sentence, only that row is
//! computed.
//!
//! A first row of a linear layer, of a sum or of attention needs only first rows, except of the
//! keys and values. So a last stage that pools the first row computes all later values for one
//! token per sentence. The bits are the same, because no kernel reads neighbouring rows.

use crate::graph::{Call, Op, StageGraph};

/// A call; `first` is true if it returns first rows only.
pub(super) struct Planned {
    pub call: Call,
    pub first: bool,
}

/// Moves each [`Op::FirstPool`] of a stage as early as possible, and updates the outputs of the
/// graph. A value must come before the calls that read it.
pub(super) fn pool_early(graph: &mut StageGraph) -> Vec<Planned> {
    let calls = std::mem::take(&mut graph.calls);
    let first = first_only(graph, &calls);
    // Values after the change, and the values of their first rows.
    let (mut places, mut pooled) = (vec![0], vec![None; calls.len() + 1]);
    let mut planned = Vec::with_capacity(calls.len() + 2);
    for (i, mut call) in calls.into_iter().enumerate() {
        let value = i + 1;
        if matches!(call.op, Op::FirstPool) && call.inputs.iter().any(|v| first[*v]) {
            places.push(places[call.inputs[0]]);
            continue;
        }
        let gather = first[value] && !matches!(call.op, Op::SelfAttention { .. });
        for input in &mut call.inputs {
            if !gather || first[*input] {
                *input = places[*input];
                continue;
            }
            *input = *pooled[*input].get_or_insert_with(|| {
                let name = call.name.clone();
                let pool = Call { name, op: Op::FirstPool, inputs: vec![places[*input]] };
                planned.push(Planned { call: pool, first: false });
                planned.len()
            });
        }
        planned.push(Planned { call, first: first[value] });
        places.push(planned.len());
    }
    for (value, _) in [&mut graph.next_hidden, &mut graph.logits].into_iter().flatten() {
        *value = places[*value];
    }
    planned
}

/// True for each value of which calls read only the first row of each sentence.
fn first_only(graph: &StageGraph, calls: &[Call]) -> Vec<bool> {
    let leaves = |v: usize| [graph.next_hidden, graph.logits].iter().flatten().any(|o| o.0 == v);
    let mut first = vec![false; calls.len() + 1];
    for value in (1..=calls.len()).rev() {
        let by_row = |op: &Op| matches!(op, Op::Linear { .. } | Op::AddNorm(_));
        let op = &calls[value - 1].op;
        let mut readers = (value..calls.len()).filter(|c| calls[*c].inputs.contains(&value));
        first[value] = (by_row(op) || matches!(op, Op::SelfAttention { .. }))
            && !leaves(value)
            && readers.clone().next().is_some()
            && readers.all(|c| match &calls[c].op {
                Op::FirstPool => true,
                op => by_row(op) && first[c + 1],
            });
    }
    first
}
