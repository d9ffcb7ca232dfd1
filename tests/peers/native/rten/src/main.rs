//! `rten-serve MODEL.onnx [THREADS]`: rten under the protocol of `edge-bench serve`. A line of token
//! ids comes in, a line of nanoseconds and logits goes out.

use anyhow::{Context, Result, bail};
use rten::{ModelOptions, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, threads) = match arguments.as_slice() {
        [path] => (path, 1),
        [path, threads] => (path, threads.parse().context("a number of threads")?),
        _ => bail!("usage: rten-serve MODEL.onnx [THREADS]"),
    };
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(path).with_context(|| path.clone())?;
    let mut inputs = vec![];
    for id in model.input_ids() {
        let name = model.node_info(*id).and_then(|i| i.name().map(str::to_string));
        inputs.push((*id, name.context("an input without a name")?));
    }
    let logits = model.node_id("logits")?;
    let mut run = RunOptions::default();
    run.thread_pool = Some(Arc::new(ThreadPool::with_num_threads(threads)));

    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let ids =
            line.split_whitespace().map(|id| Ok(id.parse()?)).collect::<Result<Vec<i32>>>()?;
        let shape = [1, ids.len()];
        let mask = NdTensor::full(shape, 1i32);
        let types = NdTensor::full(shape, 0i32);
        let ids = NdTensor::from_data(shape, ids);
        let mut feeds: Vec<(_, ValueOrView)> = vec![];
        for (id, name) in &inputs {
            let value = match name.as_str() {
                "input_ids" => ids.view(),
                "attention_mask" => mask.view(),
                "token_type_ids" => types.view(),
                other => bail!("{path}: an input {other}"),
            };
            feeds.push((*id, value.into()));
        }
        let start = Instant::now();
        let [values] = model.run_n(feeds, [logits], Some(run.clone()))?;
        let spent = start.elapsed();
        let values: Tensor<f32> = values.try_into()?;
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        writeln!(out, "{} {}", spent.as_nanos(), values.join(" "))?;
        out.flush()?;
    }
    Ok(())
}
