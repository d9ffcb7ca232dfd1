//! GPU engine: runs the calls of a stage as compute shaders, through Vulkan, Metal, Direct3D 12, or
//! WebGPU in a browser.
//!
//! Sentences can leave without the host. After each exit a kernel applies the policy and closes the
//! gaps between the sentences that stay. It also writes the sizes of the later dispatches, which
//! are empty once all sentences have left. The host reads once per batch.
//!
//! Buffers and bind groups belong to a batch and return to the engine with it. A later batch
//! creates none unless it is larger.

mod by_stage;
mod device;
mod memory;
mod pipelines;
mod policy;
mod stage;
#[cfg(test)]
mod tests;

pub use by_stage::GpuBatch;
pub use device::{GpuCounts, GpuOptions};

use super::plan::{Plan, Rows, follows};
use super::{Left, Tokens};
use crate::exit::ExitRule;
use crate::graph::StageGraph;
use crate::{Error, GpuFailure};
use ::wgpu::ComputePass;
use device::{Gpu, Handle, lock};
use memory::{Memory, beginning, most_rows};
use stage::{Builder, Dispatch, Shared, Stage};
use std::sync::Mutex;

/// Place where the exit policy is applied. Answers are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitOn {
    /// A kernel; the host reads once per batch, and dispatches are empty once all sentences left.
    #[default]
    Gpu,
    /// The host, which reads after every exit and stops once all sentences left.
    Host,
}

/// Engine that runs stages on the GPU.
#[derive(Debug)]
pub struct GpuEngine {
    gpu: Handle<Gpu>,
    stages: Vec<Stage>,
    shared: Shared,
    exit_on: ExitOn,
    pool: Handle<Pool>,
    /// Workgroups of each stage in the last batch, if they are counted.
    workgroups: Mutex<Vec<u32>>,
}

/// Memory of finished batches.
type Pool = Mutex<Vec<Box<Memory>>>;

impl GpuEngine {
    /// Opens an engine on the best adapter of this machine.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the machine has no adapter.
    pub async fn open(options: GpuOptions) -> Result<Self, Error> {
        Ok(GpuEngine {
            gpu: Handle::new(Gpu::open(options).await?),
            stages: Vec::new(),
            shared: Shared::default(),
            exit_on: ExitOn::default(),
            pool: Handle::default(),
            workgroups: Mutex::default(),
        })
    }

    /// Blocking form of [`open`](Self::open).
    ///
    /// # Errors
    /// Errors of [`open`](Self::open).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(options: GpuOptions) -> Result<Self, Error> {
        // The loop hardly waits: natively these futures are ready at once.
        let mut future = std::pin::pin!(Self::open(options));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(engine) = future.as_mut().poll(&mut context) {
                return engine;
            }
            std::thread::yield_now();
        }
    }

    /// Sets the place where the exit policy is applied.
    pub fn with_exit_on(mut self, exit_on: ExitOn) -> Self {
        self.exit_on = exit_on;
        self
    }

    /// Name of the adapter and of its graphics API.
    pub fn name(&self) -> String {
        device::name(&self.gpu.info)
    }

    /// True if the adapter is a program that computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.gpu.is_software()
    }

    /// Arithmetic of int8 products, and "f16" if other values are in f16.
    pub fn arithmetic(&self) -> &'static str {
        match (self.gpu.packed, self.gpu.options.f16) {
            (true, false) => "packed dot products",
            (false, false) => "unpacked products",
            (true, true) => "packed dot products, f16",
            (false, true) => "unpacked products, f16",
        }
    }

    /// Counts of the engine's work on the GPU.
    pub fn counts(&self) -> GpuCounts {
        self.gpu.counts()
    }

    /// Number of workgroups that ran in each stage of the last batch of
    /// [`run_batch`](Self::run_batch), without exits. Empty without
    /// [`GpuOptions::count_workgroups`].
    pub fn workgroups(&self) -> Vec<u32> {
        lock(&self.workgroups).clone()
    }

    /// Number of workgroups of a stage for a number of sentences and tokens.
    pub fn workgroups_for(&self, stage: usize, sentences: usize, tokens: usize) -> u32 {
        let grids = self.stages[stage].dispatches.iter().filter_map(|d| d.grid);
        grids
            .map(|grid| {
                let grid = self.shared.grids[grid];
                let rows = if grid.rows == Rows::Tokens { tokens } else { sentences };
                (rows as u32).div_ceil(grid.per) * grid.y
            })
            .sum()
    }

    /// Names of the kernels of a stage, in the order in which they run, with the exit's kernel.
    pub fn kernels(&self, stage: usize) -> Vec<&'static str> {
        let Stage { dispatches, exit, .. } = &self.stages[stage];
        dispatches.iter().chain(exit).map(|d| d.pipeline.source.name()).collect()
    }

    /// Destroys the device, as if a driver was replaced or crashed: later calls of the engine are
    /// errors.
    pub fn destroy(&self) {
        self.gpu.device.destroy();
    }

    /// Prepares the next stage; see [`Engine::add_stage`](super::Engine::add_stage).
    ///
    /// # Errors
    /// [`Error::Graph`] if the stage does not fit the stage before it or the limits of the GPU,
    /// [`Error::Gpu`] if the device fails.
    pub fn add(&mut self, mut graph: StageGraph) -> Result<(), Error> {
        graph.unpack();
        let before = self.stages.last();
        let slot = follows(&graph, before.map(|stage| stage.next_hidden))?;
        // The sentences that stay after an exit move to another buffer.
        let moved = before.filter(|stage| stage.logits.is_some()).and_then(|stage| {
            stage.next_hidden.map(|(from, width)| (from, usize::from(from == 0), width))
        });
        let input = moved.map_or(slot, |(_, to, _)| to);
        let name = graph.name.clone();
        let plan = Plan::new(graph, input, |op, first| (op, first))?;
        let stage = self.stages.len();
        let mut builder = Builder { gpu: &self.gpu, shared: &mut self.shared, stage };
        let stage = builder.build(&name, plan, moved)?;
        self.stages.push(stage);
        Ok(())
    }

    /// Runs all stages on a batch; each sentence leaves by the policy. The policy must fit the
    /// exits, and all sentences leave at the last exit. A batch that is too large for the GPU is
    /// split.
    ///
    /// # Errors
    /// [`Error::Engine`] if the model cannot take the batch, [`Error::Gpu`] if the device fails.
    pub async fn run_batch(
        &self,
        tokens: &Tokens,
        rule: &ExitRule<'_>,
        exit_on: ExitOn,
    ) -> Result<Vec<Left>, Error> {
        self.check(tokens.ids(), tokens.offsets())?;
        let most = most_rows(&self.gpu, &self.shared);
        let offsets = tokens.offsets();
        let mut left = Vec::with_capacity(tokens.sentences());
        let mut first = 0;
        while first < tokens.sentences() {
            let fitting = offsets[first..].partition_point(|o| o - offsets[first] <= most);
            let last = first + fitting.saturating_sub(1).max(1);
            let part: Vec<usize> =
                offsets[first..=last].iter().map(|o| o - offsets[first]).collect();
            let ids = &tokens.ids()[offsets[first]..offsets[last]];
            left.extend(match exit_on {
                ExitOn::Gpu => self.run_part(ids, &part, rule).await?,
                ExitOn::Host => {
                    self.run_by_host(Tokens::from_parts(ids.to_vec(), part), rule).await?
                }
            });
            first = last;
        }
        Ok(left)
    }

    /// Waits for the pipelines; an error reported by the device is returned.
    fn ready(&self) -> Result<(), Error> {
        self.shared.pipelines.wait();
        self.gpu.check()
    }

    async fn run_part(
        &self,
        ids: &[u32],
        offsets: &[usize],
        rule: &ExitRule<'_>,
    ) -> Result<Vec<Left>, Error> {
        self.ready()?;
        let sentences = offsets.len() - 1;
        let mut memory = self.memory(ids.len(), sentences);
        let (device, queue) = (&self.gpu.device, &self.gpu.queue);
        let mut encoder = device.create_command_encoder(&Default::default());
        memory.fit(&self.gpu, &self.shared, &mut encoder);
        self.write_beginning(&memory, ids, offsets);
        let lines = policy::lines(
            rule.policy,
            memory.sentences,
            self.shared.grids.len(),
            self.shared.exits,
        );
        queue.write_buffer(&memory.policy, 0, &lines);
        if let Some((buffer, _)) = &memory.workgroups {
            encoder.clear_buffer(buffer, 0, None);
        }
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for stage in 0..self.stages.len() {
                self.encode(&mut pass, &mut memory, stage, true);
            }
        }
        let exits = self.exits();
        let bytes = 4 * memory.sentences * (3 + exits.len() * self.shared.labels);
        encoder.copy_buffer_to_buffer(&memory.answers, 0, &memory.staging, 0, bytes as u64);
        queue.submit([encoder.finish()]);
        let answers = self.gpu.read(&memory.staging, bytes as u64).await?;
        if let Some((buffer, _)) = &memory.workgroups {
            let mut encoder = device.create_command_encoder(&Default::default());
            let bytes = (4 * self.stages.len() as u64).min(memory.staging.size());
            encoder.copy_buffer_to_buffer(buffer, 0, &memory.staging, 0, bytes);
            queue.submit([encoder.finish()]);
            let counts = self.gpu.read(&memory.staging, bytes).await?;
            *lock(&self.workgroups) = words(&counts);
        }
        let left = policy::answers(&words(&answers), &exits, memory.sentences, sentences);
        lock(&self.pool).push(memory);
        let left = left?;
        self.check_range(left.iter().flat_map(|left| left.exits.iter().flatten()))?;
        Ok(left)
    }

    /// Returns an error if a logit is a NaN in f16: then a value exceeded the range of f16.
    fn check_range<'a>(&self, mut logits: impl Iterator<Item = &'a f32>) -> Result<(), Error> {
        if self.gpu.options.f16 && logits.any(|logit| logit.is_nan()) {
            let problem = format!("values beyond {}, the largest f16; use f32", half::f16::MAX);
            return Err(Error::Gpu { failure: GpuFailure::Other, problem });
        }
        Ok(())
    }

    /// Stage and number of labels of each exit.
    fn exits(&self) -> Vec<(usize, usize)> {
        let labels = |(i, s): (usize, &Stage)| s.logits.map(|(_, labels)| (i, labels));
        self.stages.iter().enumerate().filter_map(labels).collect()
    }

    /// Takes memory for a batch from the pool, or allocates it.
    fn memory(&self, rows: usize, sentences: usize) -> Box<Memory> {
        let mut pool = lock(&self.pool);
        let fits = |m: &Memory| m.rows >= rows && m.sentences >= sentences;
        let least = (0..pool.len()).filter(|i| fits(&pool[*i])).min_by_key(|i| pool[*i].rows);
        match least {
            Some(i) => pool.swap_remove(i),
            None => {
                // Memory that is smaller in both sizes has no further use.
                pool.retain(|m| m.rows > rows || m.sentences > sentences);
                Box::new(Memory::new(&self.gpu, &self.shared, rows, sentences))
            }
        }
    }

    fn write_beginning(&self, memory: &Memory, ids: &[u32], offsets: &[usize]) {
        let queue = &self.gpu.queue;
        let [counts, sentences, sizes] = beginning(offsets, &self.shared);
        queue.write_buffer(&memory.counts, 0, &counts);
        queue.write_buffer(&memory.sentence_list, 0, &sentences);
        queue.write_buffer(&memory.sizes, 0, &sizes);
        let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        queue.write_buffer(&memory.ids, 0, &ids);
        self.write_grids(memory);
    }

    fn write_grids(&self, memory: &Memory) {
        let grids = self
            .shared
            .grids
            .iter()
            .flat_map(|grid| [grid.per, u32::from(grid.rows == Rows::Tokens), grid.y, 0]);
        let grids: Vec<u8> = grids.flat_map(u32::to_le_bytes).collect();
        self.gpu.queue.write_buffer(&memory.grids, 0, &grids);
    }

    fn encode(&self, pass: &mut ComputePass, memory: &mut Memory, stage: usize, exit: bool) {
        let Stage { dispatches, exit: of_stage, .. } = &self.stages[stage];
        memory.groups(&self.gpu, &self.stages, stage);
        let all = dispatches.iter().chain(of_stage.iter().filter(|_| exit));
        for (i, dispatch) in all.enumerate() {
            self.dispatch(pass, memory, dispatch, stage, i);
        }
    }

    fn dispatch(
        &self,
        pass: &mut ComputePass,
        memory: &mut Memory,
        dispatch: &Dispatch,
        stage: usize,
        number: usize,
    ) {
        pass.set_pipeline(dispatch.pipeline.compiled());
        pass.set_bind_group(0, &memory.groups(&self.gpu, &self.stages, stage)[number], &[]);
        match dispatch.grid {
            None => pass.dispatch_workgroups(1, 1, 1),
            Some(grid) => {
                if let Some((_, group)) = &memory.workgroups {
                    pass.set_bind_group(1, group, &[]);
                }
                pass.dispatch_workgroups_indirect(&memory.sizes, 12 * grid as u64);
            }
        }
    }

    /// Returns an error, with the message of the CPU engine, if the model cannot take a batch.
    fn check(&self, ids: &[u32], offsets: &[usize]) -> Result<(), Error> {
        if let Some(empty) = offsets.windows(2).position(|w| w[0] == w[1]) {
            let problem = format!("sentence {empty} of the batch has no tokens");
            return Err(Error::Engine { stage: 0, problem });
        }
        let Some((words, positions, node)) = &self.shared.tables else { return Ok(()) };
        let lengths = offsets.windows(2).map(|w| w[1] - w[0]);
        let problem = if let Some(length) = lengths.clone().find(|l| l > positions) {
            format!("a sentence of {length} tokens; the model takes at most {positions}")
        } else if let Some(id) = ids.iter().find(|id| **id as usize >= *words) {
            format!("token id {id}; the model has {words} word pieces")
        } else {
            return Ok(());
        };
        Err(Error::Engine { stage: 0, problem: format!("node `{node}`: {problem}") })
    }
}

/// Converts bytes to words of four bytes.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}
