//! CPU engine: runs the calls of a stage one after the other, each by a kernel of
//! [`crate::kernels`].
//!
//! A stage is planned once: every value gets one of a few buffers, and values share a buffer if
//! their lifetimes do not overlap. Buffers belong to a batch and return to the engine with it. A
//! later batch allocates nothing unless it is larger at some stage.

mod call;

use super::plan::{Plan, PlannedCall, follows};
use super::{Engine, Logits, Tokens};
use crate::Error;
use crate::graph::StageGraph;
use crate::kernels::isa::Isa;
use call::{Buffers, Kernel, kernel};
use std::sync::{Arc, Mutex, PoisonError};

/// Engine that runs stages on the CPU, each batch on the calling thread.
#[derive(Debug)]
pub struct CpuEngine {
    isa: Isa,
    stages: Vec<Plan<Kernel>>,
    pool: Arc<Pool>,
}

/// Buffers of finished batches.
type Pool = Mutex<Vec<Box<Buffers>>>;

/// A batch on its way through a [`CpuEngine`].
#[derive(Debug)]
pub struct CpuBatch {
    ids: Vec<u32>,
    offsets: Vec<usize>,
    /// Buffer and width of the hidden states; `None` before the first stage and after the last one.
    hidden: Option<(usize, usize)>,
    /// Buffers; `None` only while the batch is dropped.
    buffers: Option<Box<Buffers>>,
    pool: Arc<Pool>,
}

impl Default for CpuEngine {
    fn default() -> Self {
        Self::with_isa(Isa::detect())
    }
}

impl CpuEngine {
    /// Makes an engine whose kernels use this instruction set instead of the best one. Adding a
    /// stage panics if the processor lacks it.
    pub fn with_isa(isa: Isa) -> Self {
        CpuEngine { isa, stages: Vec::new(), pool: Arc::default() }
    }

    /// Runs a stage as [`run`](Engine::run) does. `see` gets the input of every linear layer: the
    /// name of its node, and the values, row major.
    ///
    /// # Errors
    /// Errors of [`run`](Engine::run).
    pub fn run_watched(
        &self,
        stage: usize,
        batch: &mut CpuBatch,
        logits: &mut Logits,
        see: &mut dyn FnMut(&str, &[f32]),
    ) -> Result<bool, Error> {
        self.run_steps(stage, batch, logits, |step, offsets, buffers| {
            if let Some(input) = step.linear_input(offsets, buffers) {
                see(&step.name, input);
            }
        })
    }

    /// Runs the steps of a stage, and calls `before` ahead of each step.
    fn run_steps(
        &self,
        stage: usize,
        batch: &mut CpuBatch,
        logits: &mut Logits,
        mut before: impl FnMut(&PlannedCall<Kernel>, &[usize], &Buffers),
    ) -> Result<bool, Error> {
        let plan = &self.stages[stage];
        let buffers = batch.buffers.as_mut().expect("it is there until the batch is dropped");
        for step in &plan.steps {
            before(step, &batch.offsets, buffers);
            step.run(self.isa, &batch.ids, &batch.offsets, buffers)
                .map_err(|problem| Error::Engine { stage, problem })?;
        }
        batch.hidden = plan.next_hidden;
        let Some((slot, labels)) = plan.logits else {
            return Ok(false);
        };
        let sentences = batch.offsets.len() - 1;
        logits.width = labels;
        logits.values.clear();
        logits.values.extend_from_slice(&buffers.slot(slot)[..sentences * labels]);
        Ok(true)
    }
}

impl Engine for CpuEngine {
    type Batch = CpuBatch;

    fn add_stage(&mut self, graph: StageGraph) -> Result<(), Error> {
        let slot = follows(&graph, self.stages.last().map(|plan| plan.next_hidden))?;
        let isa = self.isa;
        self.stages.push(Plan::new(graph, slot, |op, first| kernel(op, first, isa))?);
        Ok(())
    }

    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn begin(&self, tokens: Tokens) -> Result<CpuBatch, Error> {
        if let Some(empty) = tokens.offsets().windows(2).position(|w| w[0] == w[1]) {
            let problem = format!("sentence {empty} of the batch has no tokens");
            return Err(Error::Engine { stage: 0, problem });
        }
        let (ids, offsets) = tokens.into_parts();
        let buffers = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(CpuBatch {
            ids,
            offsets,
            hidden: None,
            buffers: Some(buffers.unwrap_or_default()),
            pool: self.pool.clone(),
        })
    }

    fn run(&self, stage: usize, batch: &mut CpuBatch, logits: &mut Logits) -> Result<bool, Error> {
        self.run_steps(stage, batch, logits, |_, _, _| ())
    }

    fn keep(&self, batch: &mut CpuBatch, stay: &[usize]) -> Result<(), Error> {
        let CpuBatch { offsets, hidden, buffers, .. } = batch;
        if stay.len() + 1 == offsets.len() {
            return Ok(());
        }
        let buffers = buffers.as_mut().expect("it is there until the batch is dropped");
        let mut end = 0;
        for (i, s) in stay.iter().enumerate() {
            // `stay` is ascending, so offsets are read before they are overwritten.
            let rows = offsets[*s]..offsets[s + 1];
            if let Some((slot, width)) = *hidden {
                let hidden = buffers.slot(slot);
                hidden.copy_within(rows.start * width..rows.end * width, end * width);
            }
            offsets[i] = end;
            end += rows.len();
        }
        offsets[stay.len()] = end;
        offsets.truncate(stay.len() + 1);
        Ok(())
    }

    fn end(&self, mut batch: CpuBatch) -> Tokens {
        Tokens::from_parts(std::mem::take(&mut batch.ids), std::mem::take(&mut batch.offsets))
    }
}

impl Drop for CpuBatch {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.extend(self.buffers.take());
    }
}
