//! Chooses between the CPU and the GPU by measuring both on this machine.

use super::{CpuBatch, CpuEngine, Engine, GpuBatch, GpuEngine, GpuOptions, Left, Logits, Tokens};
use crate::graph::{Op, StageGraph};
use crate::kernels::isa::Isa;
use crate::{Error, ExitPolicy};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Which engine is to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// Whichever is faster for the size of a batch; the CPU where the GPU cannot be used or fails.
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// The GPU, or an error.
    Gpu,
}

/// An engine that was chosen, or both of them.
#[derive(Debug)]
pub struct ChosenEngine {
    cpu: Option<CpuEngine>,
    gpu: Option<GpuEngine>,
    /// Where both are there, from how many tokens on a batch goes to the GPU; `None` for never.
    from: OnceLock<Option<usize>>,
    /// Why the GPU is not used although it was asked about.
    reason: Mutex<Option<String>>,
    /// The length of the sentences that are measured with.
    length: usize,
}

/// A batch of a [`ChosenEngine`].
#[derive(Debug)]
pub enum ChosenBatch {
    /// On the CPU.
    Cpu(CpuBatch),
    /// On the GPU.
    Gpu(Box<GpuBatch>),
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineReport {
    /// `cpu`, or `gpu` with the adapter.
    pub name: String,
    /// How int8 products are computed.
    pub arithmetic: String,
    /// Why it was chosen, if there was a choice.
    pub reason: Option<String>,
}

/// Sizes of the batches that are measured, in tokens.
const MEASURED: [usize; 3] = [32, 256, 2048];
/// Lengths of their sentences, if the model takes as many.
const LENGTH: usize = 32;

impl ChosenEngine {
    /// Opens what was chosen.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the GPU was chosen and cannot be used.
    pub fn open(choice: EngineChoice) -> Result<Self, Error> {
        let cpu = CpuEngine::default;
        Ok(match choice {
            EngineChoice::Cpu => Self::of(Some(cpu()), None, None),
            EngineChoice::Gpu => {
                Self::of(None, Some(GpuEngine::open_blocking(GpuOptions::default())?), None)
            }
            EngineChoice::Auto => match GpuEngine::open_blocking(GpuOptions::default()) {
                Ok(gpu) if gpu.is_software() => {
                    let reason = format!("{} is a software adapter", gpu.name());
                    Self::of(Some(cpu()), None, Some(reason))
                }
                Ok(gpu) => Self::of(Some(cpu()), Some(gpu), None),
                Err(error) => Self::of(Some(cpu()), None, Some(error.to_string())),
            },
        })
    }

    /// Both engines, without stages: the GPU takes batches of so many tokens or more, and the CPU
    /// the rest, and what the GPU fails at.
    pub fn between(cpu: CpuEngine, gpu: GpuEngine, from: usize) -> Self {
        let engine = Self::of(Some(cpu), Some(gpu), None);
        engine.from.set(Some(from)).expect("nothing has been measured");
        engine
    }

    fn of(cpu: Option<CpuEngine>, gpu: Option<GpuEngine>, reason: Option<String>) -> Self {
        let reason = Mutex::new(reason);
        ChosenEngine { cpu, gpu, from: OnceLock::new(), reason, length: LENGTH }
    }

    /// The GPU engine, if there is one.
    pub fn gpu(&self) -> Option<&GpuEngine> {
        self.gpu.as_ref()
    }

    /// Which engine computes, and why.
    pub fn report(&self) -> EngineReport {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (&self.cpu, &self.gpu) {
            (Some(_), Some(gpu)) if reason.is_none() => EngineReport {
                name: format!("cpu, gpu {}", gpu.name()),
                arithmetic: format!("{:?}, {}", Isa::detect(), gpu.arithmetic()),
                reason: self.from.get().map(|from| match from {
                    Some(tokens) => format!("the GPU is faster from {tokens} tokens on"),
                    None => "the CPU is faster at every size measured".into(),
                }),
            },
            (None, Some(gpu)) => EngineReport {
                name: format!("gpu {}", gpu.name()),
                arithmetic: gpu.arithmetic().into(),
                reason,
            },
            _ => EngineReport {
                name: "cpu".into(),
                arithmetic: format!("{:?}", Isa::detect()),
                reason,
            },
        }
    }

    /// The engine that goes stage by stage.
    fn by_stage(&self) -> Result<&CpuEngine, &GpuEngine> {
        match (&self.cpu, &self.gpu) {
            (Some(cpu), _) => Ok(cpu),
            (None, Some(gpu)) => Err(gpu),
            (None, None) => unreachable!("there is one of them"),
        }
    }

    /// From how many tokens on the GPU is faster: at the smallest size measured from which on it
    /// always is.
    fn measure(&self, cpu: &CpuEngine, gpu: &GpuEngine) -> Result<Option<usize>, Error> {
        let mut from = None;
        for size in MEASURED.into_iter().rev() {
            let sentence = vec![0; self.length.max(1)];
            let tokens = Tokens::new(&vec![sentence; (size / self.length.max(1)).max(1)]);
            let on_cpu = fastest(|| on_cpu(cpu, &tokens))?;
            let on_gpu = fastest(|| {
                gpu.run_all(&tokens, &ExitPolicy::Never).map_or(Ok(()), |left| left.map(|_| ()))
            })?;
            if on_gpu >= on_cpu {
                break;
            }
            from = Some(size);
        }
        // The smallest size stands for all that are smaller.
        Ok(from.map(|size| if size == MEASURED[0] { 0 } else { size }))
    }

    fn give_up(&self, error: Error) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert(error.to_string());
    }
}

/// All stages on the CPU.
fn on_cpu(cpu: &CpuEngine, tokens: &Tokens) -> Result<(), Error> {
    let (mut batch, mut logits) = (cpu.begin(tokens.clone())?, Logits::default());
    (0..cpu.stages()).try_for_each(|stage| cpu.run(stage, &mut batch, &mut logits).map(|_| ()))
}

/// The shorter of two times, after a first one that does not count.
fn fastest(mut run: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    run()?;
    let mut time = || {
        let begin = Instant::now();
        run().map(|()| begin.elapsed())
    };
    Ok(time()?.min(time()?))
}

impl Engine for ChosenEngine {
    type Batch = ChosenBatch;

    fn add_stage(&mut self, stage: StageGraph) -> Result<(), Error> {
        for call in &stage.calls {
            if let Op::Embed { positions, .. } = &call.op {
                self.length = LENGTH.min(positions.rows);
            }
        }
        match (&mut self.cpu, &mut self.gpu) {
            (Some(cpu), None) => cpu.add_stage(stage),
            (None, Some(gpu)) => gpu.add_stage(stage),
            (Some(cpu), Some(gpu)) => {
                // What the GPU cannot take, the CPU may.
                if let Err(error) = gpu.add_stage(stage.clone()) {
                    self.reason = Mutex::new(Some(error.to_string()));
                    self.gpu = None;
                }
                cpu.add_stage(stage)
            }
            (None, None) => unreachable!("there is one of them"),
        }
    }

    fn stages(&self) -> usize {
        self.by_stage().map_or_else(GpuEngine::stages, CpuEngine::stages)
    }

    fn begin(&self, tokens: Tokens) -> Result<ChosenBatch, Error> {
        match self.by_stage() {
            Ok(cpu) => cpu.begin(tokens).map(ChosenBatch::Cpu),
            Err(gpu) => gpu.begin(tokens).map(|batch| ChosenBatch::Gpu(Box::new(batch))),
        }
    }

    fn run(
        &self,
        stage: usize,
        batch: &mut ChosenBatch,
        logits: &mut Logits,
    ) -> Result<bool, Error> {
        match (self.by_stage(), batch) {
            (Ok(cpu), ChosenBatch::Cpu(batch)) => cpu.run(stage, batch, logits),
            (Err(gpu), ChosenBatch::Gpu(batch)) => gpu.run(stage, batch, logits),
            _ => unreachable!("a batch is of the engine that began it"),
        }
    }

    fn keep(&self, batch: &mut ChosenBatch, stay: &[usize]) -> Result<(), Error> {
        match (self.by_stage(), batch) {
            (Ok(cpu), ChosenBatch::Cpu(batch)) => cpu.keep(batch, stay),
            (Err(gpu), ChosenBatch::Gpu(batch)) => gpu.keep(batch, stay),
            _ => unreachable!("a batch is of the engine that began it"),
        }
    }

    fn run_all(&self, tokens: &Tokens, policy: &ExitPolicy) -> Option<Result<Vec<Left>, Error>> {
        let gpu = self.gpu.as_ref()?;
        let Some(cpu) = &self.cpu else { return gpu.run_all(tokens, policy) };
        if self.reason.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return None;
        }
        let from = *self.from.get_or_init(|| match self.measure(cpu, gpu) {
            Ok(from) => from,
            Err(error) => {
                self.give_up(error);
                None
            }
        });
        if from.is_none_or(|from| tokens.ids().len() < from) {
            return None;
        }
        match gpu.run_all(tokens, policy) {
            Some(Err(error @ Error::Gpu { .. })) => {
                self.give_up(error);
                None
            }
            answer => answer,
        }
    }

    fn tokens_per_batch(&self) -> usize {
        match (&self.cpu, &self.gpu) {
            (_, Some(gpu)) if !matches!(self.from.get(), Some(None)) => gpu.tokens_per_batch(),
            (Some(cpu), _) => cpu.tokens_per_batch(),
            _ => unreachable!("there is one of them"),
        }
    }
}
