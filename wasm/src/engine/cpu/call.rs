//! One call of a kernel, and its memory.

use crate::engine::plan::{PlannedCall, Rows};
use crate::graph::{Activation, Elements, Norm, Op};
use crate::kernels::attention::{self, self_attention};
use crate::kernels::embed::{Tables, embed};
use crate::kernels::isa::Isa;
use crate::kernels::linear::{Weights, linear};
use crate::kernels::norm::add_norm;
use crate::kernels::pool::{first_pool, mean_pool};
use crate::kernels::qlinear::{PackedWeights, Scratch, qlinear};

/// A kernel with its weights.
#[derive(Debug)]
pub(super) enum Kernel {
    Embed(Tables),
    Linear(Weights, Activation),
    QLinear(PackedWeights, Activation),
    SelfAttention { heads: usize, queries: usize },
    AddNorm(Norm),
    MeanPool,
    FirstPool,
}

/// Packs the weights into a kernel, and consumes those of the graph.
pub(super) fn kernel(op: Op, first: bool, isa: Isa) -> Kernel {
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
            Elements::Packed { values, packing, scales } => {
                let (rows, columns) = (weight.rows, weight.columns);
                let values = (packing, values);
                let packed = PackedWeights::of_packed(isa, rows, columns, values, &scales, &bias);
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

/// Memory of a batch.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    slots: Vec<Vec<f32>>,
    attention: attention::Scratch,
    qlinear: Scratch,
}

impl Buffers {
    /// Returns one of the buffers.
    pub(super) fn slot(&mut self, slot: usize) -> &mut [f32] {
        &mut self.slots[slot]
    }
}

/// Number of rows of a value.
fn count(rows: Rows, offsets: &[usize]) -> usize {
    match rows {
        Rows::Tokens => offsets[offsets.len() - 1],
        Rows::Sentences => offsets.len() - 1,
    }
}

impl PlannedCall<Kernel> {
    /// Returns the input of a linear layer, row major; `None` for another kernel.
    pub(super) fn linear_input<'a>(
        &self,
        offsets: &[usize],
        buffers: &'a Buffers,
    ) -> Option<&'a [f32]> {
        matches!(self.kernel, Kernel::Linear(..) | Kernel::QLinear(..)).then(|| {
            let (slot, width) = self.inputs[0];
            &buffers.slots[slot][..count(self.read, offsets) * width]
        })
    }

    /// Runs the kernel.
    ///
    /// # Errors
    /// A message with the node.
    pub(super) fn run(
        &self,
        isa: Isa,
        ids: &[u32],
        offsets: &[usize],
        buffers: &mut Buffers,
    ) -> Result<(), String> {
        let Buffers { slots, attention, qlinear: scratch } = buffers;
        if slots.len() <= self.slot {
            slots.resize_with(self.slot + 1, Vec::new);
        }
        // The output's buffer contains no input, so it can be moved out for the call.
        let mut buffer = std::mem::take(&mut slots[self.slot]);
        let length = count(self.written, offsets) * self.width;
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
        let out = &mut buffer[..length];
        let input = |i: usize| {
            let (slot, width) = self.inputs[i];
            &slots[slot][..count(self.read, offsets) * width]
        };
        let mut result = Ok(());
        match &self.kernel {
            Kernel::Embed(tables) => result = embed(isa, ids, offsets, tables, out),
            Kernel::Linear(weights, activation) => {
                linear(isa, input(0), weights, *activation, out);
            }
            Kernel::QLinear(weights, activation) => {
                qlinear(input(0), weights, *activation, scratch, out);
            }
            Kernel::SelfAttention { heads, queries } => {
                self_attention(isa, input(0), offsets, *heads, *queries, attention, out);
            }
            Kernel::AddNorm(norm) => add_norm(isa, input(0), input(1), norm, out),
            Kernel::MeanPool => mean_pool(isa, input(0), offsets, self.width, out),
            Kernel::FirstPool => first_pool(input(0), offsets, self.width, out),
        }
        slots[self.slot] = buffer;
        result.map_err(|problem| format!("node `{}`: {problem}", self.name))
    }
}
