//! Benchmark of the CPU engine and of the GPU engine, in f32 and in f16, with exits applied on the
//! GPU and on the host. It also lists the GPU's work for a batch.
//!
//!     cargo bench -p edge-runtime --features wgpu --bench gpu -- MODEL.edge [SENTENCESxTOKENS]...
//!
//! Times are in milliseconds per batch: the median of the runs in a second, at least three. Times
//! on a software adapter are no measure of a GPU.

use edge_runtime::engine::{
    ChosenEngine, CpuEngine, Engine, ExitOn, GpuEngine, GpuOptions, Tokens,
};
use edge_runtime::exit::{ExitRule, ExitWalk};
use edge_runtime::{Classifier, Error, ExitPolicy};
use std::time::{Duration, Instant};

const SIZES: [(usize, usize); 7] =
    [(1, 16), (1, 32), (1, 128), (1, 512), (8, 32), (64, 32), (64, 128)];

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let path = arguments.next().expect("usage: gpu MODEL.edge [SENTENCESxTOKENS]...");
    let size = |a: String| {
        let (sentences, tokens) = a.split_once('x').expect("a size is SENTENCESxTOKENS");
        Ok((sentences.parse()?, tokens.parse()?))
    };
    let asked = arguments.map(size).collect::<anyhow::Result<Vec<(usize, usize)>>>()?;
    let sizes = if asked.is_empty() { SIZES.to_vec() } else { asked };
    let bytes = std::fs::read(path)?;
    let cpu = Classifier::from_bytes(bytes.clone())?;
    let opened = Instant::now();
    let gpu = GpuEngine::open_blocking(GpuOptions::default())?;
    let gpu = Classifier::with_engine(bytes.clone(), gpu)?;
    let adapter = gpu.engine();
    println!(
        "{}{}, {}; device, weights and pipelines took {:.0} ms",
        adapter.name(),
        if adapter.is_software() { " (SOFTWARE: no times of a GPU)" } else { "" },
        adapter.arithmetic(),
        milliseconds(opened.elapsed()),
    );
    work(&gpu);
    let halves = GpuEngine::open_blocking(GpuOptions { f16: true, ..Default::default() })
        .and_then(|engine| Classifier::with_engine(bytes.clone(), engine));
    if let Err(error) = &halves {
        println!("NOT RUN in f16: {error}");
    }
    println!(
        "\n{:>9} {:>11} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "batch", "policy", "CPU", "GPU", "by host", "f16 GPU", "by host"
    );
    for (sentences, tokens) in sizes {
        let ids = |s: usize| (0..tokens).map(move |i| ((s * 131 + i * 7919) % 20_000 + 999) as u32);
        let vocabulary = cpu.manifest().encoder.vocabulary as u32;
        let batch: Vec<Vec<u32>> =
            (0..sentences).map(|s| ids(s).map(|id| id % vocabulary).collect()).collect();
        let batch = Tokens::new(&batch);
        for (name, policy) in [("never", ExitPolicy::Never), ("the model's", cpu.policy())] {
            let rule = ExitRule { task: &cpu.manifest().task, policy: &policy };
            let on_cpu = median(|| on_cpu(cpu.engine(), &batch, &rule))?;
            print!("{:>9} {name:>11} {on_cpu:>8.2}", format!("{sentences}x{tokens}"));
            for gpu in [Some(&gpu), halves.as_ref().ok()].into_iter().flatten() {
                for exit_on in [ExitOn::Gpu, ExitOn::Host] {
                    let run = || gpu.engine().run_on(&batch, &rule, exit_on).map(|_| ());
                    print!(" {:>9.2}", median(run)?);
                }
            }
            println!();
        }
    }
    let gpu = GpuEngine::open_blocking(GpuOptions::default())?;
    let both = ChosenEngine::between(CpuEngine::default(), gpu, None);
    let both = Classifier::with_engine(bytes, both)?;
    both.classify(&["a short calibration"], &ExitPolicy::Never)?;
    println!("\nauto: {:?}", both.engine().routes().unwrap_or_default());
    Ok(())
}

/// Prints the dispatches of a batch.
fn work(gpu: &Classifier<GpuEngine>) {
    let kernels = (0..gpu.engine().stages()).flat_map(|stage| gpu.engine().kernels(stage));
    let kernels: Vec<&str> = kernels.collect();
    let switches = kernels.windows(2).filter(|w| w[0] != w[1]).count() + 1;
    let mut names = kernels.clone();
    names.sort_unstable();
    names.dedup();
    println!("a batch: {} dispatches, {switches} pipeline switches, 1 read", kernels.len());
    for name in names {
        println!("  {:3} {name}", kernels.iter().filter(|k| **k == name).count());
    }
}

fn on_cpu(cpu: &CpuEngine, tokens: &Tokens, rule: &ExitRule) -> Result<(), Error> {
    let mut batch = cpu.begin(tokens.clone())?;
    let mut logits = Default::default();
    let mut walk = ExitWalk::new(tokens.sentences());
    for stage in 0..cpu.stages() {
        if walk.inside().is_empty() {
            break;
        }
        if cpu.run(stage, &mut batch, &mut logits)? {
            cpu.keep(&mut batch, walk.pass(rule, stage, false, logits.rows())?)?;
        }
    }
    Ok(())
}

/// Median in milliseconds, after a warm-up run.
fn median(mut run: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    run()?;
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 3 || begin.elapsed() < Duration::from_secs(1) {
        let one = Instant::now();
        run()?;
        times.push(milliseconds(one.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
