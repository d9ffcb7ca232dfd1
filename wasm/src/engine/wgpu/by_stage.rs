//! Stage-by-stage runs of the GPU engine: the host applies the policy.

use super::device::{Handle, lock};
use super::memory::{Memory, most_rows};
use super::{GpuEngine, Pool, policy, words};
use crate::Error;
use crate::engine::Tokens;
use crate::exit::{ExitRule, ExitWalk, Left, Logits};
use ::wgpu::CommandEncoder;
#[cfg(not(target_arch = "wasm32"))]
use {super::ExitOn, crate::engine::Engine, crate::graph::StageGraph};

/// A batch on its way through a [`GpuEngine`].
#[derive(Debug)]
pub struct GpuBatch {
    offsets: Vec<usize>,
    ids: Vec<u32>,
    /// Flag per sentence in the batch: 1 if it stays. `None` before [`keep`](Self::keep).
    stay: Option<Vec<u32>>,
    /// Number of sentences at the start of the last stage.
    before: usize,
    /// Memory; `None` before the first stage and once the batch is dropped.
    memory: Option<Box<Memory>>,
    pool: Handle<Pool>,
}

impl GpuEngine {
    /// Starts a batch from which the host removes sentences.
    fn begin_batch(&self, tokens: Tokens) -> Result<GpuBatch, Error> {
        self.check(&[], tokens.offsets())?;
        let (ids, offsets) = tokens.into_parts();
        let before = offsets.len() - 1;
        Ok(GpuBatch { offsets, ids, stay: None, before, memory: None, pool: self.pool.clone() })
    }

    /// Runs a stage; see [`Engine::run`](super::Engine::run).
    async fn run_stage(
        &self,
        stage: usize,
        batch: &mut GpuBatch,
        logits: &mut Logits,
    ) -> Result<bool, Error> {
        self.ready()?;
        let (device, queue) = (&self.gpu.device, &self.gpu.queue);
        let sentences = batch.offsets.len() - 1;
        let mut encoder: CommandEncoder = device.create_command_encoder(&Default::default());
        if stage == 0 {
            self.check(&batch.ids, &batch.offsets)?;
            let most = most_rows(&self.gpu, &self.shared);
            if batch.ids.len() > most {
                let problem =
                    format!("{} tokens; the GPU takes at most {most} at once", batch.ids.len());
                return Err(Error::Engine { stage, problem });
            }
            batch.memory = Some(self.memory(batch.ids.len(), sentences));
        }
        let Some(memory) = batch.memory.as_deref_mut() else {
            let problem = "the batch has not run through the earlier stages".into();
            return Err(Error::Engine { stage, problem });
        };
        memory.fit(&self.gpu, &self.shared, &mut encoder);
        if stage == 0 {
            self.write_beginning(memory, &batch.ids, &batch.offsets);
        } else {
            self.write_grids(memory);
        }
        {
            let before =
                stage.checked_sub(1).and_then(|s| self.stages[s].exit.as_ref().map(|e| (s, e)));
            if before.is_some() {
                let all = vec![1; batch.before];
                let stay = batch.stay.take().unwrap_or(all);
                let stay: Vec<u8> = stay.iter().flat_map(|s| s.to_le_bytes()).collect();
                queue.write_buffer(&memory.stay, 0, &stay);
                queue.write_buffer(&memory.policy, 0, &policy::by_host(self.shared.grids.len()));
            }
            let mut pass = encoder.begin_compute_pass(&Default::default());
            if let Some((stage, exit)) = before {
                self.dispatch(&mut pass, memory, exit, stage, self.stages[stage].dispatches.len());
            }
            self.encode(&mut pass, memory, stage, false);
        }
        batch.before = sentences;
        let Some((slot, labels)) = self.stages[stage].logits else {
            queue.submit([encoder.finish()]);
            self.gpu.check()?;
            return Ok(false);
        };
        let bytes = (4 * sentences * labels) as u64;
        encoder.copy_buffer_to_buffer(memory.slot(slot), 0, &memory.staging, 0, bytes);
        queue.submit([encoder.finish()]);
        logits.width = labels;
        logits.values.clear();
        if sentences > 0 {
            let read = self.gpu.read(&memory.staging, bytes).await?;
            logits.values.extend(words(&read).into_iter().map(f32::from_bits));
            self.check_range(logits.values.iter())?;
        }
        Ok(true)
    }

    /// Runs all stages on a batch; the host applies the policy after each exit.
    pub(super) async fn run_by_host(
        &self,
        tokens: Tokens,
        rule: &ExitRule<'_>,
    ) -> Result<Vec<Left>, Error> {
        let mut walk = ExitWalk::new(tokens.sentences());
        let mut batch = self.begin_batch(tokens)?;
        let (mut logits, stages) = (Logits::default(), self.stages.len());
        for stage in 0..stages {
            if walk.inside().is_empty() {
                break;
            }
            if self.run_stage(stage, &mut batch, &mut logits).await? {
                let last = stage + 1 == stages;
                batch.keep(walk.pass(rule, stage, last, logits.rows())?);
            }
        }
        Ok(walk.into_left())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl GpuEngine {
    /// Blocking form of [`run_batch`](Self::run_batch).
    ///
    /// # Errors
    /// Errors of [`run_batch`](Self::run_batch).
    pub fn run_on(
        &self,
        tokens: &Tokens,
        rule: &ExitRule<'_>,
        exit_on: ExitOn,
    ) -> Result<Vec<Left>, Error> {
        self.gpu.wait(self.run_batch(tokens, rule, exit_on))
    }
}

impl GpuBatch {
    fn keep(&mut self, stay: &[usize]) {
        let mut flags = vec![0; self.offsets.len() - 1];
        let mut offsets = vec![0];
        for s in stay {
            flags[*s] = 1;
            offsets.push(offsets[offsets.len() - 1] + self.offsets[s + 1] - self.offsets[*s]);
        }
        self.stay = Some(flags);
        self.offsets = offsets;
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Engine for GpuEngine {
    type Batch = GpuBatch;

    fn add_stage(&mut self, stage: StageGraph) -> Result<(), Error> {
        self.add(stage)
    }

    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn begin(&self, tokens: Tokens) -> Result<GpuBatch, Error> {
        self.begin_batch(tokens)
    }

    fn run(&self, stage: usize, batch: &mut GpuBatch, logits: &mut Logits) -> Result<bool, Error> {
        self.gpu.wait(self.run_stage(stage, batch, logits))
    }

    fn keep(&self, batch: &mut GpuBatch, stay: &[usize]) -> Result<(), Error> {
        batch.keep(stay);
        Ok(())
    }

    fn run_all(&self, tokens: &Tokens, rule: &ExitRule) -> Option<Result<Vec<Left>, Error>> {
        Some(self.run_on(tokens, rule, self.exit_on))
    }

    fn tokens_per_batch(&self) -> usize {
        4096
    }
}

impl Drop for GpuBatch {
    fn drop(&mut self) {
        lock(&self.pool).extend(self.memory.take());
    }
}
