//! Exports give the answers of PyTorch with the same weights.

use anyhow::Result;
use edge_runtime::task::single_label::argmax;
use edge_runtime::{Classifier, ExitPolicy};
use edge_tests::{FIXTURES, Golden, PRECISIONS, bundle, difference};
use edge_toolkit::quantize::Precision;

/// Required share of equal labels of int8 and PyTorch, over all exits of a fixture. The weights are
/// random, so many texts are close to the border between two labels.
const SAME_LABEL: f64 = 0.9;
/// Required share of equal labels if the linear layers have 4 bits, at the exits of untrained
/// networks.
const SAME_LABEL_4_BITS: f64 = 0.75;

#[test]
fn fp32_gives_the_ids_and_the_logits_of_pytorch() -> Result<()> {
    for name in FIXTURES {
        let golden = Golden::of(name)?;
        let classifier = Classifier::from_bytes(bundle(name, Precision::Fp32)?)?;
        for (text, ids) in golden.texts.iter().zip(&golden.ids) {
            assert_eq!(&classifier.tokenize(text)?.ids, ids, "{name}: {text:?}");
        }
        let answers = classifier.classify(&golden.texts(), &ExitPolicy::Never)?;
        assert_eq!(answers.len(), golden.texts.len());
        for (i, answer) in answers.iter().enumerate() {
            assert_eq!(answer.tokens, golden.ids[i].len());
            assert_eq!(answer.exits.len(), golden.logits.len(), "{name}: number of exits");
            for (exit, logits) in answer.exits.iter().enumerate() {
                let off = difference(logits, &golden.logits[exit][i]);
                assert!(off <= 1e-4, "{name}, exit {exit}, {:?}: off by {off}", golden.texts[i]);
            }
        }
    }
    Ok(())
}

#[test]
fn int8_gives_nearly_all_labels_of_pytorch() -> Result<()> {
    for name in FIXTURES {
        let golden = Golden::of(name)?;
        for precision in &PRECISIONS[1..] {
            let classifier = Classifier::from_bytes(bundle(name, *precision)?)?;
            let answers = classifier.classify(&golden.texts(), &ExitPolicy::Never)?;
            let (mut same, mut all) = (0, 0);
            for (exit, expected) in golden.logits.iter().enumerate() {
                for (answer, expected) in answers.iter().zip(expected) {
                    same += usize::from(argmax(&answer.exits[exit]) == argmax(expected));
                    all += 1;
                }
            }
            let share = same as f64 / all as f64;
            let least = match precision {
                Precision::Int8(int8) if !int8.four_bits.is_empty() => SAME_LABEL_4_BITS,
                _ => SAME_LABEL,
            };
            assert!(share >= least, "{name}, {precision:?}: {same} of {all} labels");
        }
    }
    Ok(())
}

/// Sentences of a batch must be independent.
#[test]
fn a_batch_answers_as_each_text_alone() -> Result<()> {
    for name in FIXTURES {
        let golden = Golden::of(name)?;
        for precision in PRECISIONS {
            let classifier = Classifier::from_bytes(bundle(name, precision)?)?;
            let together = classifier.classify(&golden.texts(), &ExitPolicy::Never)?;
            for (text, batched) in golden.texts().into_iter().zip(together) {
                let alone = classifier.classify(&[text], &ExitPolicy::Never)?.remove(0);
                for (a, b) in alone.exits.iter().zip(&batched.exits) {
                    assert!(
                        difference(a, b) <= 1e-6,
                        "{name}, {precision:?}, {text:?}: {a:?} {b:?}"
                    );
                }
                assert_eq!((alone.label, alone.tokens), (batched.label, batched.tokens));
            }
        }
    }
    Ok(())
}

#[test]
fn threads_do_not_change_the_answers() -> Result<()> {
    let golden = Golden::of("bert-exits")?;
    let bundle = bundle("bert-exits", PRECISIONS[1])?;
    let one = Classifier::from_bytes(bundle.clone())?;
    let expected = one.classify(&golden.texts(), &ExitPolicy::confidence(0.7))?;
    for threads in [2, 3, 64] {
        let many = Classifier::from_bytes(bundle.clone())?.with_threads(threads);
        assert_eq!(many.classify(&golden.texts(), &ExitPolicy::confidence(0.7))?, expected);
        assert_eq!(many.classify(&[], &ExitPolicy::Never)?, []);
    }
    Ok(())
}

#[test]
fn no_texts_no_answers() -> Result<()> {
    let classifier = Classifier::from_bytes(bundle("bert-exits", Precision::Fp32)?)?;
    assert_eq!(classifier.classify(&[], &ExitPolicy::confidence(0.5))?, []);
    Ok(())
}
