//! Memory that opening and classifying allocate, and stack that they use.

use anyhow::Result;
use edge_runtime::graph::{Elements, Op, StageGraph};
use edge_runtime::kernels::isa::Isa;
use edge_runtime::{Classifier, ExitPolicy, Scratch, Thresholds};
use edge_tests::counting::{Counting, counted};
use edge_tests::{Golden, PRECISIONS, Parts, bundle, packed_bundle};
use edge_toolkit::quantize::Int8;
use edge_toolkit::quantize::{EmbeddingBits, Precision, WeightBits};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INT8: Precision = Precision::INT8;

fn policies(exits: usize) -> Vec<ExitPolicy> {
    vec![
        ExitPolicy::Never,
        ExitPolicy::confidence(0.6),
        ExitPolicy::entropy(0.9),
        ExitPolicy::margin(0.3),
        ExitPolicy::patience(2),
        ExitPolicy::Confidence { threshold: Thresholds::PerExit(vec![0.7; exits]) },
    ]
}

#[test]
fn one_after_another_gives_the_answers_of_all_together() -> Result<()> {
    for precision in PRECISIONS {
        let classifier = Classifier::from_bytes(bundle("bert-exits", precision)?)?;
        let golden = Golden::of("bert-exits")?;
        let texts = golden.texts();
        let mut scratch = Scratch::default();
        let mut stages = Vec::new();
        for policy in policies(classifier.manifest().exits()) {
            for (text, expected) in texts.iter().zip(classifier.classify(&texts, &policy)?) {
                let answer = classifier.classify_text(text, &policy, &mut scratch)?;
                assert_eq!(answer.label, expected.label);
                assert_eq!(answer.label, classifier.labels()[answer.index]);
                assert_eq!(answer.probabilities, expected.probabilities);
                assert_eq!(answer.exits, expected.exits);
                assert_eq!(
                    (answer.stage, answer.tokens, answer.truncated),
                    (expected.stage, expected.tokens, expected.truncated)
                );
                stages.push(answer.stage);
            }
        }
        assert!(stages.contains(&1) && stages.contains(&2) && stages.contains(&4), "{stages:?}");
    }
    Ok(())
}

#[test]
fn ids_no_more_than_before_are_classified_without_allocating() -> Result<()> {
    for precision in PRECISIONS {
        let classifier = Classifier::from_bytes(bundle("bert-exits", precision)?)?;
        let mut scratch = Scratch::default();
        let longest: Vec<u32> = (0..40).collect();
        classifier.classify_ids(&longest, &ExitPolicy::Never, &mut scratch)?;
        for policy in policies(classifier.manifest().exits()) {
            for length in [40, 1, 17, 39] {
                let ((), counts) = counted(|| {
                    classifier.classify_ids(&longest[..length], &policy, &mut scratch).unwrap();
                });
                assert_eq!(counts.allocations, 0, "{length} tokens, {policy:?}, {precision:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn texts_allocate_what_the_tokenizer_does() -> Result<()> {
    let classifier = Classifier::from_bytes(bundle("bert-exits", INT8)?)?;
    let golden = Golden::of("bert-exits")?;
    let mut scratch = Scratch::default();
    for warm in [false, true] {
        for text in golden.texts() {
            let (_, by_tokenizer) = counted(|| classifier.tokenize(text).unwrap());
            let ((), all) = counted(|| {
                classifier.classify_text(text, &ExitPolicy::Never, &mut scratch).unwrap();
            });
            if warm {
                assert_eq!((all.allocations, all.left), (by_tokenizer.allocations, 0));
            }
        }
    }
    Ok(())
}

/// Bytes that the tokenizer allocates for each byte of a text, by the documentation.
const PER_BYTE: usize = 256;

#[test]
fn the_tokenizer_takes_memory_in_proportion_to_the_text() -> Result<()> {
    let classifier = Classifier::from_bytes(bundle("bert-exits", INT8)?)?;
    for word in ["a ", "good movie ", "x", "界", "é ", "[CLS] ", "!", "\u{301}", "ﬃ", "가"] {
        for bytes in [1 << 12, 1 << 18] {
            let text = word.repeat(bytes / word.len());
            let ((), counts) = counted(|| drop(classifier.tokenize(&text).unwrap()));
            assert_eq!(counts.left, 0);
            assert!(counts.peak <= PER_BYTE * bytes, "{word:?}: {counts:?} for {bytes} bytes");
        }
    }
    Ok(())
}

#[test]
fn weights_are_used_where_they_lie() -> Result<()> {
    let bytes = bundle("bert-exits", INT8)?.leak();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.edge");
    std::fs::write(&path, &bytes)?;
    // Memory that the process allocates once is allocated before the count.
    drop(Classifier::open(&path)?);

    let (classifier, fixed) = counted(|| Classifier::from_static(bytes).unwrap());
    let (_a, copied) = counted(|| Classifier::from_bytes(bytes.to_vec()).unwrap());
    let (_b, read) = counted(|| Classifier::open(&path).unwrap());
    // SAFETY: only this test uses the file.
    let (_c, mapped) = counted(|| unsafe { Classifier::open_mapped(&path).unwrap() });

    // The handles of the shared bytes, and hash tables whose size varies a little.
    let slack = 1024;
    let embeddings = classifier.manifest().entries[1].bytes as usize;
    assert!(embeddings > 32 * slack);
    for (counts, more) in [(copied, bytes.len()), (read, embeddings), (mapped, 0)] {
        let difference = (counts.left - fixed.left).unsigned_abs();
        assert!(difference.abs_diff(more) < slack, "{counts:?}, {fixed:?}, {more} more");
    }
    // During reading, memory also contains one more entry, and data that is made of it.
    let largest = classifier.manifest().entries.iter().map(|e| e.bytes).max().unwrap_or(0) as usize;
    for counts in [fixed, read] {
        let meanwhile = counts.peak - counts.left as usize;
        assert!(meanwhile < 4 * largest, "{counts:?}, the largest entry has {largest}");
    }
    Ok(())
}

/// Weights that are packed for this processor are used in place at an address that is a multiple of
/// 64.
#[test]
fn packed_weights_are_used_where_they_lie() -> Result<()> {
    for bits in [WeightBits::Seven, WeightBits::Eight] {
        let int8 = Int8::new(bits, EmbeddingBits::Eight);
        let bytes = packed_bundle("bert-exits", int8, Isa::detect())?;
        let packed: usize = Parts::of(&bytes)?.stages.into_iter().map(packed_bytes).sum();
        assert!(packed > 20_000, "{packed}");
        let own = [0, 1].map(|off| {
            let room: &mut [u8] = vec![0; bytes.len() + 65].leak();
            let start = room.as_ptr().align_offset(64) + off;
            room[start..][..bytes.len()].copy_from_slice(&bytes);
            let room: &'static [u8] = &room[start..][..bytes.len()];
            let (_classifier, counts) = counted(|| Classifier::from_static(room).unwrap());
            counts.left
        });
        let difference = (own[1] - own[0]).unsigned_abs();
        assert!(difference.abs_diff(packed) < packed / 10, "{own:?}, of {packed} bytes of weights");
    }
    Ok(())
}

/// Size of all packed weights of a stage, in bytes.
fn packed_bytes(stage: Vec<u8>) -> usize {
    let stage = StageGraph::decode("stage", stage.into()).unwrap();
    let weights = stage.calls.iter().map(|call| match &call.op {
        Op::Linear { weight, .. } => match &weight.elements {
            Elements::Packed { values, .. } => values.len(),
            _ => 0,
        },
        _ => 0,
    });
    weights.sum()
}

/// Size of the stack that is enough, by the documentation, in bytes.
const STACK: usize = 256 << 10;

/// Runs on a small stack. A stack that is too small ends the process, so all tests fail.
#[test]
fn a_small_stack_is_enough() -> Result<()> {
    let bytes = bundle("bert-exits", INT8)?;
    let long = "a good one, and ünïcödé 界 [MASK] ".repeat(1000);
    let run = move || {
        let classifier = Classifier::from_bytes(bytes).unwrap();
        classifier.classify(&["good .", "", &long], &ExitPolicy::Never).unwrap().len()
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run)?;
    assert_eq!(thread.join().expect("it does not panic"), 3);
    Ok(())
}
