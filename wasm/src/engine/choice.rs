//! Choice between the CPU and the GPU, by measuring both on this machine.

use super::{
    CpuBatch, CpuEngine, Engine, ExitOn, GpuBatch, GpuEngine, GpuOptions, Left, Logits, Tokens,
};
use crate::exit::ExitRule;
use crate::graph::{Op, StageGraph};
use crate::kernels::isa::Isa;
use crate::task::Task;
use crate::{Error, ExitPolicy};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Choice of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The faster engine for the size of a batch; the CPU where the GPU is missing or fails.
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// The GPU, or an error.
    Gpu,
    /// The GPU with [`GpuOptions::f16`], or an error.
    GpuF16,
}

/// Engine that takes a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The CPU.
    Cpu,
    /// The GPU, and the place where the policy is applied.
    Gpu(ExitOn),
}

/// The chosen engine, or both engines.
#[derive(Debug)]
pub struct ChosenEngine {
    cpu: Option<CpuEngine>,
    gpu: Option<GpuEngine>,
    /// Least number of tokens of each route, in ascending order; empty until measured.
    routes: OnceLock<Vec<(usize, Route)>>,
    /// Reason for not using the GPU, if it was requested.
    reason: Mutex<Option<String>>,
    /// Length of the sentences in the measurement.
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

/// Description of an engine, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineReport {
    /// `cpu`, or `gpu` with the adapter.
    pub name: String,
    /// Arithmetic of int8 products.
    pub arithmetic: String,
    /// Reason for the choice, if there was a choice.
    pub reason: Option<String>,
}

/// Sizes of the batches that are measured, in tokens.
const MEASURED: [usize; 3] = [32, 256, 2048];
/// Length of the sentences in the measurement; shorter if the model takes fewer tokens.
const LENGTH: usize = 32;

impl ChosenEngine {
    /// Opens the chosen engine.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the GPU was chosen and cannot be used.
    pub fn open(choice: EngineChoice) -> Result<Self, Error> {
        let cpu = CpuEngine::default;
        let gpu = |f16| GpuEngine::open_blocking(GpuOptions { f16, ..GpuOptions::default() });
        Ok(match choice {
            EngineChoice::Cpu => Self::of(Some(cpu()), None, None),
            EngineChoice::Gpu => Self::of(None, Some(gpu(false)?), None),
            EngineChoice::GpuF16 => Self::of(None, Some(gpu(true)?), None),
            EngineChoice::Auto => match gpu(false) {
                Ok(gpu) if gpu.is_software() => {
                    let reason = format!("{} is a software adapter", gpu.name());
                    Self::of(Some(cpu()), None, Some(reason))
                }
                Ok(gpu) => Self::of(Some(cpu()), Some(gpu), None),
                Err(error) => Self::of(Some(cpu()), None, Some(error.to_string())),
            },
        })
    }

    /// Combines both engines, without stages. Batches that fail on the GPU go to the CPU.
    ///
    /// `routes` are those of an earlier [`routes`](Self::routes); without them the engine measures.
    pub fn between(cpu: CpuEngine, gpu: GpuEngine, routes: Option<Vec<(usize, Route)>>) -> Self {
        let engine = Self::of(Some(cpu), Some(gpu), None);
        if let Some(routes) = routes {
            engine.routes.set(routes).expect("nothing has been measured");
        }
        engine
    }

    fn of(cpu: Option<CpuEngine>, gpu: Option<GpuEngine>, reason: Option<String>) -> Self {
        let reason = Mutex::new(reason);
        ChosenEngine { cpu, gpu, routes: OnceLock::new(), reason, length: LENGTH }
    }

    /// Returns the GPU engine, if there is one.
    pub fn gpu(&self) -> Option<&GpuEngine> {
        self.gpu.as_ref()
    }

    /// Least number of tokens of each route, in ascending order; `None` until measured.
    pub fn routes(&self) -> Option<&[(usize, Route)]> {
        self.routes.get().map(Vec::as_slice)
    }

    /// Describes the engines and the reason for the choice.
    pub fn report(&self) -> EngineReport {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let isa = || format!("{:?}", Isa::detect());
        let (name, arithmetic, reason) = match (&self.cpu, &self.gpu) {
            (Some(_), Some(gpu)) if reason.is_none() => (
                format!("cpu, gpu {}", gpu.name()),
                format!("{}, {}", isa(), gpu.arithmetic()),
                self.routes().map(in_words),
            ),
            (None, Some(gpu)) => {
                (format!("gpu {}", gpu.name()), gpu.arithmetic().to_owned(), reason)
            }
            _ => ("cpu".to_owned(), isa(), reason),
        };
        EngineReport { name, arithmetic, reason }
    }

    /// Returns the engine that runs stage by stage.
    fn by_stage(&self) -> Result<&CpuEngine, &GpuEngine> {
        match (&self.cpu, &self.gpu) {
            (Some(cpu), _) => Ok(cpu),
            (None, Some(gpu)) => Err(gpu),
            (None, None) => unreachable!("there is one of them"),
        }
    }

    /// Measures both engines for every batch size.
    ///
    /// The GPU gets a size if it is faster at full depth. Exits are then applied where full depth
    /// plus leaving at the first exit takes the least time.
    fn measure(&self, cpu: &CpuEngine, gpu: &GpuEngine) -> Result<Vec<(usize, Route)>, Error> {
        let (never, first) = (ExitPolicy::Never, ExitPolicy::confidence(0.0));
        // At the threshold 0 all leave, whatever the labels are.
        let task = Task::SingleLabel { labels: Vec::new() };
        let mut routes = Vec::new();
        for size in MEASURED {
            let sentence = vec![0; self.length.max(1)];
            let tokens = Tokens::new(&vec![sentence; (size / self.length.max(1)).max(1)]);
            let by_gpu = |policy: &ExitPolicy, exit_on| {
                let rule = ExitRule { task: &task, policy };
                fastest(|| gpu.run_on(&tokens, &rule, exit_on).map(|_| ()))
            };
            let on_cpu = fastest(|| on_cpu(cpu, &tokens))?;
            let mut best = (on_cpu, Route::Cpu);
            let mut least = Duration::MAX;
            for exit_on in [ExitOn::Gpu, ExitOn::Host] {
                let full = by_gpu(&never, exit_on)?;
                let both = full + by_gpu(&first, exit_on)?;
                if full < on_cpu && both < least {
                    (best, least) = ((full, Route::Gpu(exit_on)), both);
                }
            }
            routes.push((if routes.is_empty() { 0 } else { size }, best.1));
        }
        routes.dedup_by_key(|(_, route)| *route);
        Ok(routes)
    }

    fn give_up(&self, error: &Error) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert(error.to_string());
    }

    /// Route of a batch of `tokens` tokens.
    fn route(&self, cpu: &CpuEngine, gpu: &GpuEngine, tokens: usize) -> Route {
        if self.reason.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Route::Cpu;
        }
        let routes = self.routes.get_or_init(|| {
            self.measure(cpu, gpu).unwrap_or_else(|error| {
                self.give_up(&error);
                vec![(0, Route::Cpu)]
            })
        });
        let fitting = routes.iter().rev().find(|(from, _)| *from <= tokens);
        fitting.map_or(Route::Cpu, |(_, route)| *route)
    }
}

/// Description of the measurement, for people.
fn in_words(routes: &[(usize, Route)]) -> String {
    let word = |(from, route): &(usize, Route)| {
        let who = match route {
            Route::Cpu => "the CPU",
            Route::Gpu(ExitOn::Gpu) => "the GPU",
            Route::Gpu(ExitOn::Host) => "the GPU with exits on the host",
        };
        format!("{who} is faster from {from} tokens on")
    };
    routes.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Runs all stages on the CPU.
fn on_cpu(cpu: &CpuEngine, tokens: &Tokens) -> Result<(), Error> {
    let (mut batch, mut logits) = (cpu.begin(tokens.clone())?, Logits::default());
    (0..cpu.stages()).try_for_each(|stage| cpu.run(stage, &mut batch, &mut logits).map(|_| ()))
}

/// Returns the shorter of two times, after a warm-up run.
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
                // Stages that do not fit the GPU may fit the CPU.
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

    fn run_all(&self, tokens: &Tokens, rule: &ExitRule) -> Option<Result<Vec<Left>, Error>> {
        let gpu = self.gpu.as_ref()?;
        let Some(cpu) = &self.cpu else { return gpu.run_all(tokens, rule) };
        let Route::Gpu(exit_on) = self.route(cpu, gpu, tokens.ids().len()) else { return None };
        match gpu.run_on(tokens, rule, exit_on) {
            Err(error @ Error::Gpu { .. }) => {
                self.give_up(&error);
                None
            }
            answer => Some(answer),
        }
    }

    fn tokens_per_batch(&self) -> usize {
        let by_cpu = |routes: &[(usize, Route)]| routes.iter().all(|(_, r)| *r == Route::Cpu);
        match (&self.cpu, &self.gpu) {
            (_, Some(gpu)) if !self.routes().is_some_and(by_cpu) => gpu.tokens_per_batch(),
            (Some(cpu), _) => cpu.tokens_per_batch(),
            _ => unreachable!("there is one of them"),
        }
    }

    fn end(&self, batch: ChosenBatch) -> Tokens {
        match (&self.cpu, batch) {
            (Some(cpu), ChosenBatch::Cpu(batch)) => cpu.end(batch),
            _ => Tokens::default(),
        }
    }
}
