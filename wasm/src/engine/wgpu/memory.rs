//! Memory of a batch on the GPU. Buffers and bind groups are kept for later batches.

use super::device::Gpu;
use super::stage::{Bind, Dispatch, Shared, Stage};
use crate::engine::plan::Rows;
use ::wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, Buffer, BufferUsages, CommandEncoder,
};

/// Lines of the policy: one for the policy, and one per exit up to the limit of the exit kernel.
pub(super) const POLICY_LINES: u64 = 129;
/// Number of stages whose workgroups are counted.
const COUNTED_STAGES: u64 = 128;

/// Buffers of a batch.
#[derive(Debug)]
pub(super) struct Memory {
    /// Capacity in rows and sentences.
    pub rows: usize,
    pub sentences: usize,
    slots: Vec<Buffer>,
    /// Capacity of each slot, in bytes per row.
    widths: Vec<usize>,
    /// Capacity in bytes of a quantized row, in labels and in exits.
    quantized_width: usize,
    labels: usize,
    exits: usize,
    pub counts: Buffer,
    pub sentence_list: Buffer,
    pub ids: Buffer,
    quantized: Buffer,
    row_scales: Buffer,
    pub policy: Buffer,
    pub grids: Buffer,
    pub sizes: Buffer,
    pub answers: Buffer,
    pub stay: Buffer,
    /// Buffer that the host reads.
    pub staging: Buffer,
    pub workgroups: Option<(Buffer, BindGroup)>,
    /// Bind groups of each stage: one per dispatch, the exit's last.
    groups: Vec<Vec<BindGroup>>,
}

const DATA: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_DST);
const SLOT: BufferUsages = DATA.union(BufferUsages::COPY_SRC);

impl Memory {
    /// Allocates memory for at least `rows` and `sentences`.
    pub(super) fn new(gpu: &Gpu, shared: &Shared, rows: usize, sentences: usize) -> Self {
        let rows = rows.next_power_of_two().max(64).min(most_rows(gpu, shared).max(rows));
        let sentences = sentences.next_power_of_two().max(16);
        let buffer = |label: &str, bytes: usize, usage| gpu.buffer(label, bytes as u64, usage);
        let workgroups = gpu.options.count_workgroups.then(|| {
            let buffer = gpu.buffer("workgroups", COUNTED_STAGES * 4, SLOT);
            let group = gpu.device.create_bind_group(&BindGroupDescriptor {
                label: None,
                layout: &shared.pipelines.counting(gpu),
                entries: &[BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
            });
            (buffer, group)
        });
        Memory {
            rows,
            sentences,
            slots: Vec::new(),
            widths: Vec::new(),
            quantized_width: 0,
            labels: 0,
            exits: 0,
            counts: buffer("counts", 16, DATA),
            sentence_list: buffer("sentences", sentences * 16, DATA),
            ids: buffer("ids", rows * 4, DATA),
            quantized: buffer("quantized", 16, DATA),
            row_scales: buffer("row scales", rows * 4, DATA),
            policy: gpu.buffer(
                "policy",
                POLICY_LINES * 16,
                BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            ),
            grids: buffer("grids", 64 * 16, BufferUsages::UNIFORM | BufferUsages::COPY_DST),
            sizes: buffer("sizes", 64 * 12, DATA | BufferUsages::INDIRECT),
            answers: buffer("answers", 16, SLOT),
            stay: buffer("stay", sentences * 4, DATA),
            staging: buffer("staging", 16, BufferUsages::MAP_READ | BufferUsages::COPY_DST),
            workgroups,
            groups: Vec::new(),
        }
    }

    /// Makes room for stages that were added later. The contents of the slots are kept.
    pub(super) fn fit(&mut self, gpu: &Gpu, shared: &Shared, encoder: &mut CommandEncoder) {
        let mut grown = false;
        for (i, width) in shared.widths.iter().enumerate() {
            if self.widths.get(i).is_some_and(|w| w >= width) {
                continue;
            }
            grown = true;
            let slot = gpu.buffer("slot", (self.rows * width) as u64, SLOT);
            if let Some(old) = self.slots.get_mut(i) {
                encoder.copy_buffer_to_buffer(old, 0, &slot, 0, old.size());
                *old = slot;
                self.widths[i] = *width;
            } else {
                self.slots.push(slot);
                self.widths.push(*width);
            }
        }
        if self.quantized_width < shared.quantized {
            grown = true;
            self.quantized_width = shared.quantized;
            self.quantized = gpu.buffer("quantized", (self.rows * shared.quantized) as u64, DATA);
        }
        if self.labels < shared.labels || self.exits < shared.exits {
            grown = true;
            (self.labels, self.exits) = (shared.labels, shared.exits);
            let bytes = 4 * self.sentences * (3 + self.exits * self.labels);
            self.answers = gpu.buffer("answers", bytes as u64, SLOT);
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            self.staging = gpu.buffer("staging", bytes as u64, usage);
        }
        if grown {
            self.groups.clear();
        }
    }

    pub(super) fn slot(&self, slot: usize) -> &Buffer {
        &self.slots[slot]
    }

    /// Returns the bind groups of a stage: one per dispatch, the exit's last.
    pub(super) fn groups(&mut self, gpu: &Gpu, stages: &[Stage], stage: usize) -> &[BindGroup] {
        while self.groups.len() <= stage {
            let Stage { dispatches, exit, .. } = &stages[self.groups.len()];
            let groups = dispatches.iter().chain(exit).map(|d| self.group(gpu, d)).collect();
            self.groups.push(groups);
        }
        &self.groups[stage]
    }

    fn group(&self, gpu: &Gpu, dispatch: &Dispatch) -> BindGroup {
        let source = dispatch.pipeline.source;
        let entries: Vec<_> = source
            .bindings()
            .zip(&dispatch.bindings)
            .map(|(binding, bind)| BindGroupEntry {
                binding,
                resource: self.buffer(bind).as_entire_binding(),
            })
            .collect();
        gpu.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &dispatch.pipeline.layout,
            entries: &entries,
        })
    }

    fn buffer<'a>(&'a self, bind: &'a Bind) -> &'a Buffer {
        match bind {
            Bind::Own(buffer) => buffer,
            Bind::Slot(slot) => &self.slots[*slot],
            Bind::Counts => &self.counts,
            Bind::Sentences => &self.sentence_list,
            Bind::Ids => &self.ids,
            Bind::Quantized => &self.quantized,
            Bind::RowScales => &self.row_scales,
            Bind::Policy => &self.policy,
            Bind::Grids => &self.grids,
            Bind::Sizes => &self.sizes,
            Bind::Answers => &self.answers,
            Bind::Stay => &self.stay,
        }
    }
}

/// Largest number of rows of a batch: limited by the workgroups of a dispatch and the size of a
/// buffer.
pub(super) fn most_rows(gpu: &Gpu, shared: &Shared) -> usize {
    let widest = shared.widths.iter().copied().max().unwrap_or(1).max(1);
    let limit = gpu.limits.max_storage_buffer_binding_size.min(gpu.limits.max_buffer_size);
    let rows = limit / widest as u64;
    rows.min(u64::from(gpu.limits.max_compute_workgroups_per_dimension)) as usize
}

/// Initial contents of `counts`, `sentences` and `sizes` for a batch, in the layout of the kernels.
pub(super) fn beginning(offsets: &[usize], shared: &Shared) -> [Vec<u8>; 3] {
    let bytes = |n: &mut dyn Iterator<Item = u32>| n.flat_map(u32::to_le_bytes).collect();
    let (sentences, rows) = ((offsets.len() - 1) as u32, offsets[offsets.len() - 1] as u32);
    let records = offsets
        .windows(2)
        .enumerate()
        .flat_map(|(i, w)| [w[0] as u32, (w[1] - w[0]) as u32, i as u32, w[0] as u32]);
    let sizes = shared.grids.iter().flat_map(|grid| {
        let count = if grid.rows == Rows::Tokens { rows } else { sentences };
        [count.div_ceil(grid.per), grid.y, 1]
    });
    [
        bytes(&mut [sentences, rows, 0, 0].into_iter()),
        bytes(&mut { records }),
        bytes(&mut { sizes }),
    ]
}
