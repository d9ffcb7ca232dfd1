//! A stage on the GPU: its weights and its dispatches.

use super::device::{Gpu, Handle};
use super::pipelines::{
    ADD_NORM, ATTENTION, COMPACT, EMBED, EXIT, Float, Kernel, LINEAR, POOL, Pipeline, Pipelines,
    QLINEAR, QUANTIZE, Source,
};
use crate::Error;
use crate::engine::plan::{Plan, PlannedCall, Rows};
use crate::graph::{Activation, Elements, Matrix, Op};
use ::wgpu::{Buffer, BufferUsages};
use half::f16;

/// Rows and outputs per workgroup of the linear kernels.
const TILE: u32 = 32;
/// Rows per workgroup of the normalizing kernels.
const NORM_ROWS: u32 = 4;
/// Queries and keys per workgroup of attention: the first pair that fits the memory is used.
const ATTENTION_TILES: [(u32, u32); 4] = [(16, 32), (8, 16), (4, 8), (1, 4)];
/// Number of different dispatch sizes that the exit kernel can compute.
const MOST_GRIDS: usize = 64;

/// A buffer that a dispatch binds.
#[derive(Debug)]
pub(super) enum Bind {
    /// A buffer of the stage.
    Own(Buffer),
    /// A buffer of values.
    Slot(usize),
    /// Numbers of sentences and tokens still in the batch.
    Counts,
    /// Sentences still in the batch.
    Sentences,
    Ids,
    Quantized,
    RowScales,
    Policy,
    Grids,
    Sizes,
    Answers,
    Stay,
}

/// Number of workgroups of a dispatch: `rows / per`, rounded up, by `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub per: u32,
    pub rows: Rows,
    pub y: u32,
}

/// One call of a kernel.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub pipeline: Handle<Pipeline>,
    pub bindings: Vec<Bind>,
    /// Index of the [`Grid`]; `None` for a single workgroup.
    pub grid: Option<usize>,
}

/// A stage that is ready to run.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// Dispatches; after an exit, the first one closes the gaps in the hidden states.
    pub dispatches: Vec<Dispatch>,
    /// Buffer of the hidden states, and their width.
    pub next_hidden: Option<(usize, usize)>,
    /// Buffer of the logits, and the number of labels.
    pub logits: Option<(usize, usize)>,
    pub exit: Option<Dispatch>,
}

/// State that all stages of an engine share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub pipelines: Pipelines,
    pub grids: Vec<Grid>,
    /// Number of bytes of the widest row in each buffer.
    pub widths: Vec<usize>,
    /// Number of bytes of the widest quantized row.
    pub quantized: usize,
    /// Number of word pieces and positions, and the node of the embeddings.
    pub tables: Option<(usize, usize, String)>,
    /// Largest number of labels of an exit, and the number of exits.
    pub labels: usize,
    pub exits: usize,
}

/// Parameters of a kernel; see `common.wgsl`.
#[derive(Default)]
struct Params {
    rows: u32,
    inputs: usize,
    outputs: usize,
    a: usize,
    b: usize,
    number: f32,
}

/// Builder of a stage.
pub(super) struct Builder<'a> {
    pub gpu: &'a Gpu,
    pub shared: &'a mut Shared,
    pub stage: usize,
}

impl Builder<'_> {
    /// Uploads a stage. `moved` is the source buffer, the target buffer and the width of compacted
    /// hidden states.
    pub(super) fn build(
        &mut self,
        name: &str,
        plan: Plan<(Op, bool)>,
        moved: Option<(usize, usize, usize)>,
    ) -> Result<Stage, Error> {
        let mut stage =
            Stage { next_hidden: plan.next_hidden, logits: plan.logits, ..Stage::default() };
        if let Some((from, to, width)) = moved {
            let made = self.compact(from, to, width);
            stage.dispatches.push(made.map_err(|p| Error::graph(name, "graph", p))?);
        }
        for step in plan.steps {
            let node = step.name.clone();
            let made = self.step(step).map_err(|p| Error::graph(name, node, p))?;
            stage.dispatches.extend(made);
        }
        if let Some((slot, labels)) = plan.logits {
            let made = self.exit(slot, labels).map_err(|p| Error::graph(name, "logits", p))?;
            stage.exit = Some(made);
            self.shared.labels = self.shared.labels.max(labels);
            self.shared.exits += 1;
        }
        if self.shared.grids.len() > MOST_GRIDS {
            let problem = format!("more than {MOST_GRIDS} different sizes of dispatches");
            return Err(Error::graph(name, "graph", problem));
        }
        self.gpu.check()?;
        Ok(stage)
    }

    fn compact(&mut self, from: usize, to: usize, width: usize) -> Result<Dispatch, String> {
        self.widen(to, width, Rows::Tokens);
        let params = self.params(Params { outputs: width, ..Params::default() })?;
        let bindings =
            vec![params, Bind::Counts, Bind::Sentences, Bind::Slot(from), Bind::Slot(to)];
        let grid = Grid { per: 1, rows: Rows::Tokens, y: 1 };
        Ok(self.dispatch(COMPACT, [Rows::Tokens; 2], "", bindings, grid))
    }

    fn exit(&mut self, slot: usize, labels: usize) -> Result<Dispatch, String> {
        let exit = self.shared.exits;
        let params = self.params(Params { inputs: labels, a: exit, ..Params::default() })?;
        let kernel = self.kernel(EXIT, [Rows::Sentences; 2], "");
        let pipeline = self.shared.pipelines.get(self.gpu, kernel);
        let bindings = vec![
            params,
            Bind::Policy,
            Bind::Grids,
            Bind::Counts,
            Bind::Sentences,
            Bind::Sizes,
            Bind::Answers,
            Bind::Slot(slot),
            Bind::Stay,
        ];
        Ok(Dispatch { pipeline, bindings, grid: None })
    }

    /// Makes the dispatches of a call.
    fn step(&mut self, step: PlannedCall<(Op, bool)>) -> Result<Vec<Dispatch>, String> {
        self.widen(step.slot, step.width, step.written);
        let input = step.inputs.first().map_or(0, |(slot, _)| *slot);
        let inputs = step.inputs.first().map_or(0, |(_, width)| *width);
        let (outputs, rows) = (step.width, step.written);
        let both = [step.read, step.written];
        let of = Params { inputs, outputs, ..Params::default() };
        let per_row = Grid { per: 1, rows, y: 1 };
        let out = Bind::Slot(step.slot);
        let (op, first) = step.kernel;
        Ok(vec![match op {
            Op::Embed { words, positions, norm } => {
                self.shared.tables = Some((words.rows, positions.rows, step.name));
                let scales = match &words.elements {
                    Elements::F32(_) | Elements::Packed { .. } => 0,
                    Elements::I8 { scales, .. } | Elements::I4 { scales, .. } => {
                        scales.len() / words.rows.max(1)
                    }
                };
                let params = Params { a: words.rows, b: scales, number: norm.epsilon, ..of };
                let params = self.params(params)?;
                let mut numbers = [norm.gamma, norm.beta].concat();
                let (words, word_bits) = self.table(words, rows, &mut numbers)?;
                let (positions, position_bits) = self.table(positions, rows, &mut numbers)?;
                let constants = format!(
                    "const WORD_BITS = {word_bits}u;\nconst POSITION_BITS = {position_bits}u;\n"
                );
                let numbers = self.floats(&numbers)?;
                let bindings = vec![
                    params,
                    Bind::Counts,
                    Bind::Sentences,
                    Bind::Ids,
                    words,
                    positions,
                    numbers,
                    out,
                ];
                let grid = Grid { per: NORM_ROWS, ..per_row };
                self.dispatch(EMBED, [rows; 2], &constants, bindings, grid)
            }
            Op::Linear { weight, bias, activation } => {
                let grid = Grid { per: TILE, rows, y: (outputs as u32).div_ceil(TILE) };
                let of =
                    Params { rows: u32::from(rows == Rows::Tokens), b: number(activation), ..of };
                match weight.elements {
                    Elements::F32(values) => {
                        let params = self.params(of)?;
                        let weights = self.elements(&values, step.read)?;
                        let bias = self.floats(&bias)?;
                        let bindings =
                            vec![params, Bind::Counts, Bind::Slot(input), weights, bias, out];
                        self.dispatch(LINEAR, both, "", bindings, grid)
                    }
                    Elements::I8 { values, scales } => {
                        let lines = inputs.div_ceil(16);
                        self.shared.quantized = self.shared.quantized.max(lines * 16);
                        let params =
                            self.params(Params { inputs, a: lines, ..Params::default() })?;
                        let quantize = self.dispatch(
                            QUANTIZE,
                            both,
                            "",
                            vec![params, Bind::Slot(input), Bind::Quantized, Bind::RowScales],
                            per_row,
                        );
                        let params = self.params(Params { a: lines, ..of })?;
                        let weights = self.storage(transposed(&values, inputs, outputs, lines))?;
                        let columns = scales.iter().zip(&bias).flat_map(|(s, b)| [*s, *b]);
                        let columns = self.floats(&columns.collect::<Vec<f32>>())?;
                        let bindings = vec![
                            params,
                            Bind::Counts,
                            Bind::Quantized,
                            Bind::RowScales,
                            weights,
                            columns,
                            out,
                        ];
                        let linear = self.dispatch(QLINEAR, both, "", bindings, grid);
                        return Ok(vec![quantize, linear]);
                    }
                    Elements::I4 { .. } | Elements::Packed { .. } => {
                        unreachable!("refused, or unpacked, when the stage was planned")
                    }
                }
            }
            Op::SelfAttention { heads } => {
                let d = (outputs / heads) as u32;
                let (queries, keys) = self.attention_tile(d, first, step.read)?;
                let constants = format!(
                    "const D = {d}u;\nconst QUERIES = {queries}u;\nconst KEYS = {keys}u;\n\
                     const FIRST = {first};\n"
                );
                let scale = 1.0 / (d as f32).sqrt();
                let params = self.params(Params { number: scale, ..of })?;
                let bindings = vec![params, Bind::Counts, Bind::Sentences, Bind::Slot(input), out];
                let grid = Grid { per: queries, rows, y: heads as u32 };
                self.dispatch(ATTENTION, both, &constants, bindings, grid)
            }
            Op::AddNorm(norm) => {
                let number = norm.epsilon;
                let rows = u32::from(rows == Rows::Tokens);
                let params = self.params(Params { rows, number, ..of })?;
                let norm = self.floats(&[norm.gamma, norm.beta].concat())?;
                let residual = Bind::Slot(step.inputs[1].0);
                let bindings = vec![params, Bind::Counts, Bind::Slot(input), residual, norm, out];
                let grid = Grid { per: NORM_ROWS, ..per_row };
                self.dispatch(ADD_NORM, both, "", bindings, grid)
            }
            Op::MeanPool | Op::FirstPool => {
                let only_first = usize::from(matches!(op, Op::FirstPool));
                let params = self.params(Params { a: only_first, ..of })?;
                let bindings = vec![params, Bind::Sentences, Bind::Slot(input), out];
                self.dispatch(POOL, both, "", bindings, per_row)
            }
        }])
    }

    /// Finds the largest tile of attention that fits a workgroup's memory.
    fn attention_tile(&self, d: u32, first: bool, read: Rows) -> Result<(u32, u32), String> {
        let limit = self.gpu.limits.max_compute_workgroup_storage_size;
        let element = self.float(read).bytes() as u32;
        let columns = d.next_multiple_of(4);
        let bytes = |(queries, keys): (u32, u32)| {
            element * (queries * columns + keys * (columns + 4)) + 4 * (queries * keys + 64) + 8
        };
        let tiles = ATTENTION_TILES.map(|(q, k)| if first { (1, k) } else { (q, k) });
        tiles.into_iter().find(|tile| bytes(*tile) <= limit).ok_or_else(|| {
            format!(
                "heads of width {d} need {} bytes of a workgroup's memory; the GPU has {limit}",
                bytes(ATTENTION_TILES[3])
            )
        })
    }

    /// Number format of values with these rows. Values with a row per sentence stay f32: they gain
    /// little from f16, and include the logits.
    fn float(&self, rows: Rows) -> Float {
        if self.gpu.options.f16 && rows == Rows::Tokens { Float::F16 } else { Float::F32 }
    }

    fn widen(&mut self, slot: usize, width: usize, rows: Rows) {
        let bytes = width * self.float(rows).bytes();
        let widths = &mut self.shared.widths;
        widths.resize(widths.len().max(slot + 1), 0);
        widths[slot] = widths[slot].max(bytes);
    }

    /// Makes a kernel whose input and output values have these rows.
    fn kernel(&self, source: Source, [read, written]: [Rows; 2], constants: &str) -> Kernel {
        let (read, written) = (self.float(read), self.float(written));
        Kernel { source, read, written, constants: constants.to_owned() }
    }

    fn dispatch(
        &mut self,
        source: Source,
        rows: [Rows; 2],
        constants: &str,
        bindings: Vec<Bind>,
        grid: Grid,
    ) -> Dispatch {
        let grids = &mut self.shared.grids;
        let number = grids.iter().position(|g| *g == grid).unwrap_or_else(|| {
            grids.push(grid);
            grids.len() - 1
        });
        let pipeline = self.shared.pipelines.get(self.gpu, self.kernel(source, rows, constants));
        Dispatch { pipeline, bindings, grid: Some(number) }
    }

    fn params(&self, p: Params) -> Result<Bind, String> {
        let numbers = [self.stage as u32, p.rows, p.inputs as u32, p.outputs as u32];
        let more = [p.a as u32, p.b as u32, p.number.to_bits(), 0];
        let bytes = numbers.iter().chain(&more).flat_map(|n| n.to_le_bytes()).collect();
        self.gpu.upload("parameters", bytes, BufferUsages::UNIFORM).map(Bind::Own)
    }

    fn storage(&self, bytes: Vec<u8>) -> Result<Bind, String> {
        self.gpu.upload("weights", bytes, BufferUsages::STORAGE).map(Bind::Own)
    }

    fn floats(&self, values: &[f32]) -> Result<Bind, String> {
        self.storage(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Uploads a float weight in the number format of the values that it multiplies.
    fn elements(&self, values: &[f32], rows: Rows) -> Result<Bind, String> {
        if self.float(rows) == Float::F32 {
            return self.floats(values);
        }
        let rounded: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
        if let Some(i) = rounded.iter().position(|v| v.is_infinite()) {
            return Err(format!(
                "a weight of {}; the largest f16 is {}; use f32",
                values[i],
                f16::MAX
            ));
        }
        self.storage(rounded.into_iter().flat_map(f16::to_le_bytes).collect())
    }

    /// Uploads a table of embeddings and returns the bits of its elements. Appends the scales to
    /// `numbers`.
    fn table(
        &self,
        table: Matrix,
        rows: Rows,
        numbers: &mut Vec<f32>,
    ) -> Result<(Bind, u32), String> {
        let (bytes, bits) = match table.elements {
            Elements::F32(values) => {
                return Ok((self.elements(&values, rows)?, 8 * self.float(rows).bytes() as u32));
            }
            Elements::I8 { values, scales } => {
                numbers.extend(scales);
                (values, 8)
            }
            Elements::Packed { .. } => unreachable!("refused when the stage was planned"),
            Elements::I4 { values, scales } => {
                numbers.extend(scales);
                (values, 4)
            }
        };
        Ok((self.storage(bytes.to_vec())?, bits))
    }
}

/// Transposes weights: one output after the other, each padded to `lines` of 16 bytes.
fn transposed(values: &[u8], inputs: usize, outputs: usize, lines: usize) -> Vec<u8> {
    let mut out = vec![0; outputs * lines * 16];
    for (input, row) in values.chunks_exact(outputs).take(inputs).enumerate() {
        for (output, value) in row.iter().enumerate() {
            out[output * lines * 16 + input] = *value;
        }
    }
    out
}

/// Number of an activation in `common.wgsl`.
fn number(activation: Activation) -> usize {
    match activation {
        Activation::Identity => 0,
        Activation::Gelu => 1,
        Activation::GeluTanh => 2,
        Activation::Relu => 3,
        Activation::Tanh => 4,
    }
}
