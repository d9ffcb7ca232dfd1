//! Putting labels on texts.

use crate::error::{EdgeError, EdgeStatus, Failure, guard, of_classifying};
use crate::open::{EdgeClassifier, slice};
use crate::policy::EdgePolicy;
use edge_runtime::exit::argmax;
use edge_runtime::{Answer, Classifier, ExitPolicy, Scratch};
use std::borrow::Cow;
use std::ffi::c_char;

/// What a classifier says of one text.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EdgePrediction {
    /// The label with the largest probability. It lives as long as the handle.
    pub label: *const c_char,
    /// The number of that label.
    pub index: usize,
    /// Its probability.
    pub probability: f32,
    /// The stage after which the text left: 0 for the embeddings, k for encoder layer k.
    pub stage: usize,
    /// Tokens of the text, special tokens included.
    pub tokens: usize,
    /// Whether the text was longer than the model takes.
    pub truncated: bool,
}

/// Where the answers go.
struct Answers {
    predictions: *mut EdgePrediction,
    /// NULL, or as many numbers as there are labels for each text.
    probabilities: *mut f32,
}

impl Answers {
    fn check(&self) -> Result<(), Failure> {
        match self.predictions.is_null() {
            true => Err(Failure::argument("`prediction`, where the answer is to go, is NULL")),
            false => Ok(()),
        }
    }

    /// # Safety
    /// There is room for answer `number`.
    unsafe fn write(&self, number: usize, handle: &EdgeClassifier, answer: &Answer) {
        let p = answer.probabilities;
        let prediction = EdgePrediction {
            label: handle.labels[answer.index].as_ptr(),
            index: answer.index,
            probability: p[answer.index],
            stage: answer.stage,
            tokens: answer.tokens,
            truncated: answer.truncated,
        };
        // SAFETY: the caller says so.
        unsafe {
            self.predictions.add(number).write(prediction);
            if !self.probabilities.is_null() {
                let to = self.probabilities.add(number * p.len());
                to.copy_from_nonoverlapping(p.as_ptr(), p.len());
            }
        }
    }
}

impl EdgeClassifier {
    /// # Safety
    /// `policy` is NULL or as [`EdgePolicy`] says.
    unsafe fn policy(&self, policy: *const EdgePolicy) -> Result<Cow<'_, ExitPolicy>, Failure> {
        // SAFETY: the caller says so.
        match unsafe { policy.as_ref() } {
            None => Ok(Cow::Borrowed(&self.policy)),
            // SAFETY: the caller says so.
            Some(policy) => unsafe { policy.read() }.map(Cow::Owned),
        }
    }
}

/// # Safety
/// `classifier` is NULL or a handle that is not closed during `'a`.
unsafe fn handle<'a>(classifier: *const EdgeClassifier) -> Result<&'a EdgeClassifier, Failure> {
    // SAFETY: the caller says so.
    unsafe { classifier.as_ref() }.ok_or_else(|| Failure::argument("`classifier` is NULL"))
}

/// # Safety
/// There are `length` bytes, which stay as they are for `'a`.
unsafe fn utf8<'a>(text: *const c_char, length: usize, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller says so.
    let bytes = unsafe { slice(text.cast::<u8>(), length, name) }?;
    std::str::from_utf8(bytes).map_err(|e| {
        Failure::argument(format!("`{name}` is not UTF-8 at byte {} of {length}", e.valid_up_to()))
    })
}

/// What the functions for one text have in common.
///
/// # Safety
/// As [`edge_classify`].
unsafe fn one(
    classifier: *const EdgeClassifier,
    policy: *const EdgePolicy,
    answers: Answers,
    error: *mut EdgeError,
    run: impl for<'a> FnOnce(
        &'a Classifier,
        &ExitPolicy,
        &'a mut Scratch,
    ) -> Result<Answer<'a>, Failure>,
) -> EdgeStatus {
    let body = || {
        answers.check()?;
        // SAFETY: the caller says so.
        let handle = unsafe { handle(classifier) }?;
        // SAFETY: the caller says so.
        let policy = unsafe { handle.policy(policy) }?;
        handle.with_scratch(|scratch| {
            let answer = run(&handle.classifier, &policy, scratch)?;
            // SAFETY: there is room for one answer.
            unsafe { answers.write(0, handle, &answer) };
            Ok(())
        })
    };
    // SAFETY: the caller says so.
    unsafe { guard(error, body) }
}

/// Puts a label on one text of `length` bytes in UTF-8. Writes to `prediction` and, unless it is NULL,
/// as many numbers as there are labels to `probabilities`. Where it fails, nothing is written to either.
///
/// # Safety
/// `classifier` is a handle; there is as much memory as said at every other pointer; `policy`,
/// `probabilities` and `error` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_classify(
    classifier: *const EdgeClassifier,
    text: *const c_char,
    length: usize,
    policy: *const EdgePolicy,
    prediction: *mut EdgePrediction,
    probabilities: *mut f32,
    error: *mut EdgeError,
) -> EdgeStatus {
    // SAFETY: the caller says so.
    let text = || unsafe { utf8(text, length, "text") };
    let answers = Answers { predictions: prediction, probabilities };
    // SAFETY: the caller says so.
    unsafe {
        one(classifier, policy, answers, error, |classifier, policy, scratch| {
            classifier.classify_text(text()?, policy, scratch).map_err(of_classifying)
        })
    }
}

/// As `edge_classify`, for a text whose token ids are known, special tokens included. Once it has seen
/// as many ids on as many threads at the same time, it allocates nothing, unless the policy has a
/// threshold for each exit.
///
/// # Safety
/// As `edge_classify`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_classify_ids(
    classifier: *const EdgeClassifier,
    ids: *const u32,
    count: usize,
    policy: *const EdgePolicy,
    prediction: *mut EdgePrediction,
    probabilities: *mut f32,
    error: *mut EdgeError,
) -> EdgeStatus {
    // SAFETY: the caller says so.
    let ids = || unsafe { slice(ids, count, "ids") };
    let answers = Answers { predictions: prediction, probabilities };
    // SAFETY: the caller says so.
    unsafe {
        one(classifier, policy, answers, error, |classifier, policy, scratch| {
            classifier.classify_ids(ids()?, policy, scratch).map_err(of_classifying)
        })
    }
}

/// Puts a label on each of `count` texts, which are computed together. `lengths` holds their sizes in
/// bytes, or is NULL if each ends with a NUL. Writes `count` predictions and, unless it is NULL, `count`
/// times as many numbers as there are labels to `probabilities`.
///
/// # Safety
/// As `edge_classify`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_classify_many(
    classifier: *const EdgeClassifier,
    texts: *const *const c_char,
    lengths: *const usize,
    count: usize,
    policy: *const EdgePolicy,
    predictions: *mut EdgePrediction,
    probabilities: *mut f32,
    error: *mut EdgeError,
) -> EdgeStatus {
    let answers = Answers { predictions, probabilities };
    let body = || {
        // SAFETY: the caller says so.
        let (handle, pointers) = unsafe { (handle(classifier)?, slice(texts, count, "texts")?) };
        if count == 0 {
            return Ok(());
        }
        answers.check()?;
        let mut texts = Vec::with_capacity(count);
        for (i, text) in pointers.iter().enumerate() {
            let name = format!("texts[{i}]");
            let length = match (text.is_null(), lengths.is_null()) {
                // `utf8` says that it is NULL.
                (true, _) => 0,
                (false, true) => {
                    // SAFETY: the caller says so.
                    let text = unsafe { std::ffi::CStr::from_ptr(*text) };
                    text.count_bytes()
                }
                (false, false) => {
                    // SAFETY: the caller says so.
                    unsafe { *lengths.add(i) }
                }
            };
            // SAFETY: the caller says so.
            texts.push(unsafe { utf8(*text, length, &name) }?);
        }
        // SAFETY: the caller says so.
        let policy = unsafe { handle.policy(policy) }?;
        let all = handle.classifier.classify(&texts, &policy).map_err(of_classifying)?;
        for (i, p) in all.iter().enumerate() {
            let answer = Answer {
                label: &p.label,
                index: argmax(&p.probabilities),
                probabilities: &p.probabilities,
                stage: p.stage,
                tokens: p.tokens,
                truncated: p.truncated,
                exits: &p.exits,
            };
            // SAFETY: there is room for `count` answers.
            unsafe { answers.write(i, handle, &answer) };
        }
        Ok(())
    };
    // SAFETY: the caller says so.
    unsafe { guard(error, body) }
}

/// The token ids of a text, special tokens included, truncated to what the model takes. Writes their
/// number to `count`, and them to `ids`, which has room for `capacity`: `edge_max_tokens` is always
/// enough. If there are more, nothing is written to `ids`. `truncated`, unless it is NULL, gets whether
/// the text was longer than the model takes.
///
/// # Safety
/// As `edge_classify`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_tokenize(
    classifier: *const EdgeClassifier,
    text: *const c_char,
    length: usize,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    truncated: *mut bool,
    error: *mut EdgeError,
) -> EdgeStatus {
    let body = || {
        // SAFETY: the caller says so.
        let (handle, text) = unsafe { (handle(classifier)?, utf8(text, length, "text")?) };
        if count.is_null() || (ids.is_null() && capacity > 0) {
            return Err(Failure::argument("`ids` or `count`, where the answer is to go, is NULL"));
        }
        let encoded = handle.classifier.tokenize(text).map_err(of_classifying)?;
        let needed = encoded.ids.len();
        // SAFETY: the caller says so.
        unsafe { count.write(needed) };
        if needed > capacity {
            return Err(Failure::argument(format!(
                "the text has {needed} tokens, and `ids` has room for {capacity}"
            )));
        }
        // SAFETY: there is room for `capacity` ids.
        unsafe {
            ids.copy_from_nonoverlapping(encoded.ids.as_ptr(), needed);
            if !truncated.is_null() {
                truncated.write(encoded.truncated);
            }
        }
        Ok(())
    };
    // SAFETY: the caller says so.
    unsafe { guard(error, body) }
}
