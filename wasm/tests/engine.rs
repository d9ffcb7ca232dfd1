//! Tests of the CPU engine on a small model.

mod model;

use edge_runtime::Error;
use edge_runtime::engine::{CpuEngine, Engine, Logits};
use edge_runtime::graph::{Op, StageGraph};
use edge_runtime::kernels::isa::Isa;
use model::{HIDDEN, stages, tokens};

fn engine(isa: Isa, stages: impl IntoIterator<Item = StageGraph>) -> CpuEngine {
    let mut engine = CpuEngine::with_isa(isa);
    for stage in stages {
        engine.add_stage(stage).unwrap();
    }
    engine
}

/// Returns the logits of all exits.
fn logits(engine: &CpuEngine, lengths: &[usize]) -> Vec<Logits> {
    let mut batch = engine.begin(tokens(lengths)).unwrap();
    let mut all = Vec::new();
    for stage in 0..engine.stages() {
        let mut logits = Logits::default();
        assert!(engine.run(stage, &mut batch, &mut logits).unwrap());
        assert!(logits.values.iter().all(|l| l.is_finite()));
        all.push(logits);
    }
    all
}

#[test]
fn first_rows_alone_give_the_logits_of_all_rows() {
    for quantized in [false, true] {
        let all = stages(quantized);
        let mut last = all.clone();
        // Then no call reads the other rows.
        last[1].next_hidden = None;
        let isa = Isa::detect();
        let (all, last) = (engine(isa, all), engine(isa, last));
        for lengths in [&[1][..], &[5, 1, 17], &[33, 2]] {
            assert_eq!(logits(&last, lengths), logits(&all, lengths), "int8: {quantized}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let expected = logits(&engine(Isa::BASELINE, stages(false)), &[3, 40, 1]);
    for isa in Isa::available() {
        assert_eq!(logits(&engine(isa, stages(false)), &[3, 40, 1]), expected, "{isa:?}");
    }
}

#[test]
fn a_sentence_does_not_depend_on_those_beside_it() {
    for quantized in [false, true] {
        let engine = engine(Isa::detect(), stages(quantized));
        let together = logits(&engine, &[20, 7, 33]);
        for (i, length) in [20, 7, 33].into_iter().enumerate() {
            for (alone, together) in logits(&engine, &[length]).iter().zip(&together) {
                assert_eq!(alone.values, together.rows().nth(i).unwrap());
            }
        }
    }
}

#[test]
fn sentences_that_stay_go_on_as_if_alone() {
    let engine = engine(Isa::detect(), stages(true));
    let expected = logits(&engine, &[20, 33]);
    let mut batch = engine.begin(tokens(&[7, 20, 1, 33, 2])).unwrap();
    let mut logits = Logits::default();
    engine.run(0, &mut batch, &mut logits).unwrap();
    engine.keep(&mut batch, &[1, 3]).unwrap();
    engine.run(1, &mut batch, &mut logits).unwrap();
    assert_eq!(logits, expected[1]);
    engine.keep(&mut batch, &[]).unwrap();
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |stages: Vec<StageGraph>, words: &str| {
        let mut engine = CpuEngine::default();
        let error = stages.into_iter().map(|s| engine.add_stage(s)).find_map(Result::err).unwrap();
        assert!(matches!(error, Error::Graph { .. }));
        assert!(error.to_string().contains(words), "{error}");
    };
    let [first, second] = stages(false);
    refused(
        vec![second.clone()],
        "hidden states of width 36; the output of the stage before it is token",
    );
    refused(
        vec![first.clone(), first.clone()],
        "takes token ids; the output of the stage before it is hidden",
    );
    let mut end = first.clone();
    end.next_hidden = None;
    refused(vec![end, second.clone()], "the output of the stage before it is none");
    let mut heads = second.clone();
    heads.calls[1].op = Op::SelfAttention { heads: 5 };
    refused(vec![first.clone(), heads], "node `attention`: it cannot take inputs of the widths");
    let mut late = second.clone();
    late.calls[2].inputs = vec![9];
    refused(vec![first.clone(), late], "node `out`: it reads the output of a later call");
    let mut output = second;
    output.next_hidden = Some((1, HIDDEN));
    refused(vec![first, output], "an output has another shape");
}

#[test]
fn a_batch_that_cannot_be_run_is_an_error_and_the_next_one_runs() {
    let engine = engine(Isa::detect(), stages(true));
    let Err(Error::Engine { stage: 0, problem }) = engine.begin(tokens(&[3, 0])) else { panic!() };
    assert!(problem.contains("sentence 1 of the batch has no tokens"));
    let mut batch = engine.begin(tokens(&[65])).unwrap();
    let error = engine.run(0, &mut batch, &mut Logits::default()).unwrap_err().to_string();
    assert!(error.contains("node `embed`: a sentence of 65 tokens"), "{error}");
    drop(batch);
    logits(&engine, &[64]);
}
