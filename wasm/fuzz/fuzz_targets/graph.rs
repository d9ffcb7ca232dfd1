//! Fuzz target of stage graphs: any input gives an error, or a graph that runs.

#![no_main]

use bytes::Bytes;
use edge_runtime::engine::{CpuEngine, Engine, Logits, Tokens};
use edge_runtime::graph::StageGraph;
use libfuzzer_sys::fuzz_target;

/// Largest hidden size that is run: wider graphs are only slow.
const WIDEST: usize = 256;

fuzz_target!(|input: &[u8]| {
    let graph = match StageGraph::decode("stage", Bytes::copy_from_slice(input)) {
        Ok(graph) => graph,
        Err(error) => return drop(error.to_string()),
    };
    let wide = graph.next_hidden.is_some_and(|(_, w)| w > WIDEST);
    let mut engine = CpuEngine::default();
    // A later stage needs a stage before it that gives its input.
    if let Some(width) = graph.input {
        if width > WIDEST || engine.add_stage(embeddings(width)).is_err() {
            return;
        }
    }
    if let Err(error) = engine.add_stage(graph) {
        return drop(error.to_string());
    }
    if wide {
        return;
    }
    let Ok(mut batch) = engine.begin(Tokens::new(&[&[0, 1, 0][..], &[1]])) else { return };
    let mut logits = Logits::default();
    for stage in 0..engine.stages() {
        match engine.run(stage, &mut batch, &mut logits) {
            Ok(true) => assert_eq!(logits.rows().count(), 2),
            Ok(false) => {}
            Err(error) => return drop(error.to_string()),
        }
    }
    let _ = engine.keep(&mut batch, &[1]);
});

/// Makes a stage 0 of two words and four positions.
fn embeddings(width: usize) -> StageGraph {
    use edge_runtime::graph::{Call, Elements, Matrix, Norm, Op};
    let table = |rows: usize| Matrix {
        rows,
        columns: width,
        elements: Elements::F32((0..rows * width).map(|i| (i % 7) as f32).collect()),
    };
    let norm = Norm { gamma: vec![1.0; width], beta: vec![0.0; width], epsilon: 1e-12 };
    StageGraph {
        name: "embeddings".into(),
        input: None,
        calls: vec![Call {
            name: "embed".into(),
            op: Op::Embed { words: table(2), positions: table(4), norm },
            inputs: vec![0],
        }],
        next_hidden: Some((1, width)),
        logits: None,
    }
}
