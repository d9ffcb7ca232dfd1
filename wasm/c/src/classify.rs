//! Classification of texts.

use crate::error::{EdgeError, EdgeStatus, Failure, guard, of_classifying};
use crate::open::{EdgeClassifier, slice};
use crate::policy::EdgePolicy;
use edge_runtime::task::single_label::argmax;
use edge_runtime::{Answer, Classifier, ExitPolicy, Scratch};
use std::borrow::Cow;
use std::ffi::c_char;

/// Answer of a classifier for one text.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EdgePrediction {
    /// The label with the largest probability, valid until the handle is closed.
    pub label: *const c_char,
    /// The number of the label.
    pub index: usize,
    /// The probability of the label.
    pub probability: f32,
    /// The stage after which the text left: 0 for the embeddings, k for encoder layer k.
    pub stage: usize,
    /// Tokens of the text, special tokens included.
    pub tokens: usize,
    /// True if the text was cut to the model's length.
    pub truncated: bool,
}

/// Memory of the caller for the answers.
struct Answers {
    predictions: *mut EdgePrediction,
    /// Array of one number for each text and label, or NULL.
    probabilities: *mut f32,
}

impl Answers {
    fn check(&self) -> Result<(), Failure> {
        match self.predictions.is_null() {
            true => Err(Failure::argument("`prediction` is NULL; expected memory for the answer")),
            false => Ok(()),
        }
    }

    /// # Safety
    /// The arrays have room for answer `number`.
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
        // SAFETY: required of the caller.
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
    /// `policy` is NULL or a valid [`EdgePolicy`].
    unsafe fn policy(&self, policy: *const EdgePolicy) -> Result<Cow<'_, ExitPolicy>, Failure> {
        // SAFETY: required of the caller.
        match unsafe { policy.as_ref() } {
            None => Ok(Cow::Borrowed(&self.policy)),
            // SAFETY: required of the caller.
            Some(policy) => unsafe { policy.read() }.map(Cow::Owned),
        }
    }
}

/// # Safety
/// `classifier` is NULL or a handle that is not closed during `'a`.
unsafe fn handle<'a>(classifier: *const EdgeClassifier) -> Result<&'a EdgeClassifier, Failure> {
    // SAFETY: required of the caller.
    unsafe { classifier.as_ref() }.ok_or_else(|| Failure::argument("`classifier` is NULL"))
}

/// # Safety
/// `text` points to `length` bytes, which stay unchanged for `'a`.
unsafe fn utf8<'a>(text: *const c_char, length: usize, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!("`{name}` is NULL")));
    }
    // SAFETY: required of the caller.
    let bytes = unsafe { slice(text.cast::<u8>(), length, name) }?;
    std::str::from_utf8(bytes).map_err(|e| {
        Failure::argument(format!("`{name}` is not UTF-8 at byte {} of {length}", e.valid_up_to()))
    })
}

/// Shared body of the functions for one text.
///
/// # Safety
/// The requirements of [`edge_classify`].
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
        // SAFETY: required of the caller.
        let handle = unsafe { handle(classifier) }?;
        // SAFETY: required of the caller.
        let policy = unsafe { handle.policy(policy) }?;
        handle.with_scratch(|scratch| {
            let answer = run(&handle.classifier, &policy, scratch)?;
            // SAFETY: there is room for one answer.
            unsafe { answers.write(0, handle, &answer) };
            Ok(())
        })
    };
    // SAFETY: required of the caller.
    unsafe { guard(error, body) }
}

/// Classifies one text of `length` bytes in UTF-8. Writes the answer to `prediction`, and one
/// number for each label to `probabilities`, if it is not NULL. After a failure both are unchanged.
///
/// # Safety
/// `classifier` is a handle. Every other pointer has the memory described above; `policy`,
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
    // SAFETY: required of the caller.
    let text = || unsafe { utf8(text, length, "text") };
    let answers = Answers { predictions: prediction, probabilities };
    // SAFETY: required of the caller.
    unsafe {
        one(classifier, policy, answers, error, |classifier, policy, scratch| {
            classifier.classify_text(text()?, policy, scratch).map_err(of_classifying)
        })
    }
}

/// Classifies one text like `edge_classify`, from its token ids, special tokens included. Memory is
/// allocated only for a longer text or more simultaneous calls than before, and for a policy with a
/// threshold for each exit.
///
/// # Safety
/// The requirements of `edge_classify`.
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
    // SAFETY: required of the caller.
    let ids = || unsafe { slice(ids, count, "ids") };
    let answers = Answers { predictions: prediction, probabilities };
    // SAFETY: required of the caller.
    unsafe {
        one(classifier, policy, answers, error, |classifier, policy, scratch| {
            classifier.classify_ids(ids()?, policy, scratch).map_err(of_classifying)
        })
    }
}

/// Classifies `count` texts together. `lengths` contains their sizes in bytes, or is NULL if each
/// text ends with a NUL. Writes `count` predictions to `predictions`. Writes one number for each
/// text and label to `probabilities`, if it is not NULL.
///
/// # Safety
/// The requirements of `edge_classify`.
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
        // SAFETY: required of the caller.
        let (handle, pointers) = unsafe { (handle(classifier)?, slice(texts, count, "texts")?) };
        if count == 0 {
            return Ok(());
        }
        answers.check()?;
        let mut texts = Vec::with_capacity(count);
        for (i, text) in pointers.iter().enumerate() {
            let name = format!("texts[{i}]");
            let length = match (text.is_null(), lengths.is_null()) {
                // `utf8` reports the NULL.
                (true, _) => 0,
                (false, true) => {
                    // SAFETY: required of the caller.
                    let text = unsafe { std::ffi::CStr::from_ptr(*text) };
                    text.count_bytes()
                }
                (false, false) => {
                    // SAFETY: required of the caller.
                    unsafe { *lengths.add(i) }
                }
            };
            // SAFETY: required of the caller.
            texts.push(unsafe { utf8(*text, length, &name) }?);
        }
        // SAFETY: required of the caller.
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
    // SAFETY: required of the caller.
    unsafe { guard(error, body) }
}

/// Converts a text to token ids, special tokens included, truncated to the model's length. Writes
/// the number of ids to `count`, and the ids to `ids`. `ids` has room for `capacity` ids;
/// `edge_max_tokens` is always enough. If `capacity` is too small, `ids` is unchanged. Writes to
/// `truncated`, if it is not NULL: true if the text was cut, false otherwise.
///
/// # Safety
/// The requirements of `edge_classify`.
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
        // SAFETY: required of the caller.
        let (handle, text) = unsafe { (handle(classifier)?, utf8(text, length, "text")?) };
        if count.is_null() || (ids.is_null() && capacity > 0) {
            return Err(Failure::argument(
                "`ids` or `count` is NULL; expected memory for the answer",
            ));
        }
        let encoded = handle.classifier.tokenize(text).map_err(of_classifying)?;
        let needed = encoded.ids.len();
        // SAFETY: required of the caller.
        unsafe { count.write(needed) };
        if needed > capacity {
            return Err(Failure::argument(format!(
                "the text has {needed} tokens, and `ids` has room for {capacity}"
            )));
        }
        // SAFETY: `ids` has room for `capacity` ids.
        unsafe {
            ids.copy_from_nonoverlapping(encoded.ids.as_ptr(), needed);
            if !truncated.is_null() {
                truncated.write(encoded.truncated);
            }
        }
        Ok(())
    };
    // SAFETY: required of the caller.
    unsafe { guard(error, body) }
}
