//! Sentences leave exactly at the policy's exit, for every way in which the bundle arrives.

use anyhow::Result;
use bytes::Bytes;
use edge_runtime::Encoded;
use edge_runtime::task::single_label::{argmax, confidence, margin, normalized_entropy, softmax};
use edge_runtime::{Classifier, Error, ExitPolicy, Limits, Loader, Prediction, Thresholds};
use edge_tests::{Golden, PRECISIONS, Random, bundle, difference};
use edge_toolkit::quantize::Precision;
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

const WITH_EXITS: [&str; 2] = ["bert-exits", "distilbert-exits"];
const INT8: Precision = Precision::INT8;

fn policies(exits: usize) -> Vec<ExitPolicy> {
    let mut policies = vec![ExitPolicy::Never];
    for t in [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.0] {
        policies.extend([ExitPolicy::confidence(t), ExitPolicy::entropy(t), ExitPolicy::margin(t)]);
    }
    policies.extend((1..=exits + 1).map(ExitPolicy::patience));
    let rising = (0..exits).map(|i| 0.55 + 0.1 * i as f32).collect::<Vec<_>>();
    let falling = rising.iter().rev().copied().collect();
    for thresholds in [rising, falling] {
        policies.push(ExitPolicy::Confidence { threshold: Thresholds::PerExit(thresholds) });
    }
    policies
}

/// Exit at which a text leaves, by the definition, from the logits of all exits.
fn expected_exit(policy: &ExitPolicy, exits: &[Vec<f32>]) -> usize {
    let at = |t: &Thresholds, exit: usize| match t {
        Thresholds::Common(t) => *t,
        Thresholds::PerExit(all) => all[exit],
    };
    let leaves = |exit: &usize| {
        let (exit, logits) = (*exit, &exits[*exit]);
        match policy {
            ExitPolicy::Confidence { threshold } => {
                at(threshold, exit) < 1.0 && confidence(logits) >= at(threshold, exit)
            }
            ExitPolicy::Entropy { threshold } => {
                at(threshold, exit) > 0.0 && normalized_entropy(logits) <= at(threshold, exit)
            }
            ExitPolicy::Margin { threshold } => {
                at(threshold, exit) < 1.0 && margin(logits) >= at(threshold, exit)
            }
            ExitPolicy::Patience { threshold } => {
                let first = (exit + 1).checked_sub(*threshold);
                first.is_some_and(|first| {
                    exits[first..=exit].iter().all(|l| argmax(l) == argmax(logits))
                })
            }
            _ => false,
        }
    };
    (0..exits.len() - 1).find(leaves).unwrap_or(exits.len() - 1)
}

fn assert_same(a: &[Prediction], b: &[Prediction], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert_eq!((&a.label, a.stage, a.tokens), (&b.label, b.stage, b.tokens), "{what}");
        assert_eq!(a.exits, b.exits, "{what}");
    }
}

#[test]
fn texts_leave_where_the_policy_says() -> Result<()> {
    for (name, precision) in WITH_EXITS.into_iter().flat_map(|n| PRECISIONS.map(|p| (n, p))) {
        let golden = Golden::of(name)?;
        let classifier = Classifier::from_bytes(bundle(name, precision)?)?;
        let stages = &classifier.manifest().stages;
        let exits: Vec<usize> = (0..stages.len()).filter(|s| stages[*s].exit).collect();
        let full = classifier.classify(&golden.texts(), &ExitPolicy::Never)?;
        assert!(full.iter().all(|p| p.stage + 1 == stages.len() && p.exits.len() == exits.len()));
        let mut mixed = 0;
        for policy in policies(exits.len()) {
            let early = classifier.classify(&golden.texts(), &policy)?;
            for ((full, early), text) in full.iter().zip(&early).zip(&golden.texts) {
                let what = format!("{name}, {precision:?}, {policy:?}, {text:?}");
                let exit = expected_exit(&policy, &full.exits);
                assert_eq!(early.stage, exits[exit], "{what}");
                assert_eq!(early.exits.len(), exit + 1, "{what}");
                // The logits are the same although other texts have left the batch.
                for (a, b) in early.exits.iter().zip(&full.exits) {
                    assert!(difference(a, b) <= 1e-6, "{what}: {a:?} {b:?}");
                }
                let probabilities = softmax(&early.exits[exit]);
                assert_eq!(early.probabilities, probabilities, "{what}");
                let best = probabilities.iter().copied().fold(0.0, f32::max);
                let label = classifier.labels().iter().position(|l| *l == early.label);
                assert_eq!(probabilities[label.expect("a label of the model")], best, "{what}");
            }
            let first = early[0].stage;
            mixed += usize::from(early.iter().any(|p| p.stage != first));
        }
        assert!(mixed >= 5, "{name}: only {mixed} policies part the texts, the test is too weak");
    }
    Ok(())
}

#[test]
fn the_ends_of_the_scale() -> Result<()> {
    let golden = Golden::of("bert-exits")?;
    let classifier = Classifier::from_bytes(bundle("bert-exits", INT8)?)?;
    let last = classifier.manifest().stages.len() - 1;
    let stages = |policy: &ExitPolicy| -> Result<Vec<usize>> {
        let answers = classifier.classify(&golden.texts(), policy)?;
        Ok(answers.iter().map(|p| p.stage).collect())
    };
    let (first, exits) = (1, classifier.manifest().exits());
    for at_once in [
        ExitPolicy::confidence(0.0),
        ExitPolicy::entropy(1.0),
        ExitPolicy::margin(0.0),
        ExitPolicy::patience(1),
    ] {
        assert!(stages(&at_once)?.iter().all(|s| *s == first), "{at_once:?}");
    }
    for out_of_reach in [
        ExitPolicy::confidence(1.0),
        ExitPolicy::entropy(0.0),
        ExitPolicy::margin(1.0),
        ExitPolicy::patience(exits + 1),
    ] {
        assert!(stages(&out_of_reach)?.iter().all(|s| *s == last), "{out_of_reach:?}");
    }
    let wrong = ExitPolicy::Margin { threshold: Thresholds::PerExit(vec![0.5; exits + 1]) };
    assert!(matches!(classifier.classify(&["a"], &wrong), Err(Error::Policy(_))));
    Ok(())
}

/// A plain checkpoint has one exit, so all texts leave at the end.
#[test]
fn a_single_exit_is_the_last() -> Result<()> {
    let classifier = Classifier::from_bytes(bundle("distilbert-plain", INT8)?)?;
    let answer = classifier.classify(&["good ."], &ExitPolicy::confidence(0.0))?.remove(0);
    assert_eq!(answer.stage + 1, classifier.manifest().stages.len());
    assert_eq!(answer.exits.len(), 1);
    Ok(())
}

fn load(bundle: &Bytes, mut piece: impl FnMut() -> usize) -> Result<Classifier> {
    let mut loader = Loader::new(Limits::default());
    let mut rest = bundle.clone();
    while !rest.is_empty() {
        loader.push(rest.split_to(piece().min(rest.len())))?;
    }
    assert_eq!(loader.bytes(), bundle.len() as u64);
    assert_eq!(loader.total(), Some(bundle.len() as u64));
    Ok(loader.finish()?)
}

#[test]
fn the_size_of_the_pieces_does_not_matter() -> Result<()> {
    let golden = Golden::of("bert-exits")?;
    let bytes = Bytes::from(bundle("bert-exits", INT8)?);
    let policy = ExitPolicy::confidence(0.8);
    let whole = Classifier::from_bytes(bytes.clone())?.classify(&golden.texts(), &policy)?;
    let check = |classifier: Classifier, what: &str| -> Result<()> {
        assert_same(&classifier.classify(&golden.texts(), &policy)?, &whole, what);
        Ok(())
    };
    check(load(&bytes, || 1)?, "1 byte")?;
    check(load(&bytes, || 1024)?, "1 kB")?;
    for seed in 0..5 {
        let mut random = Random::new(seed);
        check(load(&bytes, || random.below(5000))?, "random sizes, empty pieces among them")?;
    }
    Ok(())
}

/// Feeds a loader until `stages` stages have arrived; `rest` keeps the other bytes.
fn feed_until(loader: &mut Loader, rest: &mut Bytes, stages: usize) -> Result<()> {
    while loader.classifier().is_none_or(|c| c.stages_ready() < stages) {
        loader.push(rest.split_to(64.min(rest.len())))?;
    }
    Ok(())
}

#[test]
fn a_walk_goes_on_when_later_stages_come() -> Result<()> {
    let golden = Golden::of("bert-exits")?;
    let bytes = Bytes::from(bundle("bert-exits", INT8)?);
    let complete = Classifier::from_bytes(bytes.clone())?;
    let policy = ExitPolicy::confidence(0.8);
    let expected = complete.classify(&golden.texts(), &policy)?;
    let total = complete.manifest().stages.len();

    let (mut loader, mut rest) = (Loader::new(Limits::default()), bytes);
    feed_until(&mut loader, &mut rest, 0)?;
    let classifier = loader.classifier().expect("just asked");
    let tokens: Vec<Encoded> =
        golden.texts.iter().map(|t| classifier.tokenize(t)).collect::<Result<_, _>>()?;
    let mut walk = classifier.begin(tokens, &policy)?;
    for stages in 0..=total {
        feed_until(&mut loader, &mut rest, stages)?;
        let classifier = loader.classifier().expect("the tokenizer has arrived");
        let done = classifier.advance(&mut walk)?;
        assert_eq!(done, expected.iter().all(|p| p.stage < stages), "with {stages} stages");
        for (now, expected) in walk.predictions().iter().zip(&expected) {
            match now {
                Some(answer) => assert_same(
                    std::slice::from_ref(answer),
                    std::slice::from_ref(expected),
                    "an early answer is final",
                ),
                None => assert!(expected.stage >= stages, "left at {}", expected.stage),
            }
        }
    }
    assert!(expected.iter().any(|p| p.stage + 1 < total), "no text left early");
    assert_same(&walk.into_predictions(), &expected, "the whole walk");
    Ok(())
}

#[test]
fn a_stage_that_has_not_arrived_is_an_error() -> Result<()> {
    let (mut loader, mut rest) =
        (Loader::new(Limits::default()), Bytes::from(bundle("bert-exits", INT8)?));
    feed_until(&mut loader, &mut rest, 2)?;
    let classifier = loader.classifier().expect("two stages have arrived");
    assert_eq!(classifier.classify(&["good ."], &ExitPolicy::confidence(0.0))?[0].stage, 1);
    let error = classifier.classify(&["good ."], &ExitPolicy::Never).unwrap_err();
    assert!(matches!(error, Error::Incomplete { needed: 2, arrived: 2, total: 5 }), "{error:?}");
    assert!(matches!(loader.check_complete(), Err(Error::Bundle { .. })));
    assert!(loader.finish().is_err());
    Ok(())
}

/// Stream of items that is pending once before each item.
struct Slow<T> {
    items: VecDeque<T>,
    ready: bool,
}

impl<T: Unpin> futures_core::Stream for Slow<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        self.ready = !self.ready;
        if self.ready { Poll::Ready(self.items.pop_front()) } else { Poll::Pending }
    }
}

/// Polls until there is an answer. The streams here need no waker: they are ready at the second
/// poll.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer;
        }
    }
}

#[test]
fn a_classifier_opens_from_a_stream() -> Result<()> {
    let bytes = Bytes::from(bundle("bert-exits", INT8)?);
    let mut items: VecDeque<Result<Bytes, &str>> =
        bytes.chunks(4096).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let stream = |items: &VecDeque<_>| Slow { items: items.clone(), ready: true };

    let classifier = block_on(Classifier::from_stream(stream(&items)))?;
    let policy = ExitPolicy::margin(0.5);
    let expected = Classifier::from_bytes(bytes)?.classify(&["not bad"], &policy)?;
    assert_same(&classifier.classify(&["not bad"], &policy)?, &expected, "from a stream");

    items.pop_back();
    let error = block_on(Classifier::from_stream(stream(&items))).unwrap_err();
    assert!(matches!(error, Error::Bundle { .. }), "{error}");
    items.push_back(Err("the cable was pulled"));
    let error = block_on(Classifier::from_stream(stream(&items))).unwrap_err();
    assert!(matches!(&error, Error::Stream(why) if why.contains("cable")), "{error}");
    Ok(())
}

#[test]
fn a_text_without_tokens_is_refused() -> Result<()> {
    let classifier = Classifier::from_bytes(bundle("distilbert-exits", INT8)?)?;
    let word = classifier.tokenize("good")?;
    let none = Encoded::from_ids(Vec::new());
    for texts in [vec![none.clone()], vec![none.clone(), word.clone()], vec![word, none]] {
        let error = classifier.classify_tokens(texts, &ExitPolicy::Never).unwrap_err();
        assert!(error.to_string().contains("no tokens"), "{error}");
    }
    Ok(())
}
