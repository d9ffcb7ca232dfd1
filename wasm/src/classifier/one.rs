//! Classification of one text after another, with reused memory.
//!
//! Predictions of [`Classifier::classify`] own their memory; answers borrow it from a [`Scratch`].
//! For a text with at most as many tokens as the longest text before it, only the tokenizer
//! allocates memory. The tokenizer frees it again.

use super::Classifier;
use crate::engine::{Engine, Tokens};
use crate::exit::{ExitRule, ExitWalk, Left, Logits};
use crate::task::single_label::{argmax, probabilities};
use crate::{Error, ExitPolicy};

/// Memory of [`Classifier::classify_text`] and [`Classifier::classify_ids`]. Several classifiers
/// may use the same memory, one after another.
#[derive(Debug, Default)]
pub struct Scratch {
    tokens: Tokens,
    logits: Logits,
    walk: ExitWalk,
    /// Answer of an engine that runs all stages.
    whole: Left,
    probabilities: Vec<f32>,
}

/// Answer of a classifier for one text, valid until the next use of the [`Scratch`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer<'a> {
    /// The label with the largest probability.
    pub label: &'a str,
    /// Index of the label in [`Classifier::labels`].
    pub index: usize,
    /// One probability per label, in the order of [`Classifier::labels`].
    pub probabilities: &'a [f32],
    /// The stage after which the text left.
    pub stage: usize,
    /// Tokens of the text, special tokens included.
    pub tokens: usize,
    /// True if the text was cut to the model's length.
    pub truncated: bool,
    /// The logits of every exit that the text passed, ending with the exit that answered.
    pub exits: &'a [Vec<f32>],
}

impl<E: Engine> Classifier<E> {
    /// Classifies one text. Only the tokenizer allocates memory, in [`tokenize`](Self::tokenize).
    ///
    /// # Errors
    /// Errors of [`classify`](Self::classify).
    pub fn classify_text<'a>(
        &'a self,
        text: &str,
        policy: &ExitPolicy,
        scratch: &'a mut Scratch,
    ) -> Result<Answer<'a>, Error> {
        let encoded = self.tokenize(text)?;
        let answer = self.classify_ids(&encoded.ids, policy, scratch)?;
        Ok(Answer { truncated: encoded.truncated, ..answer })
    }

    /// Classifies one text from its token ids, special tokens included.
    ///
    /// # Errors
    /// Errors of [`classify`](Self::classify); [`Error::Engine`] if `ids` is empty or longer than
    /// the model's length, or has an id without an embedding.
    pub fn classify_ids<'a>(
        &'a self,
        ids: &[u32],
        policy: &ExitPolicy,
        scratch: &'a mut Scratch,
    ) -> Result<Answer<'a>, Error> {
        policy.check(self.manifest.exits())?;
        let rule = ExitRule { task: &self.manifest.task, policy };
        let Scratch { tokens, logits, walk, whole, probabilities: p } = scratch;
        let mut sentence = std::mem::take(tokens);
        sentence.set(ids);
        let stages = self.manifest.stages.len();
        let complete = self.engine.stages() == stages;
        let all = complete.then(|| self.engine.run_all(&sentence, &rule)).flatten();
        let (stage, exits) = if let Some(left) = all {
            *tokens = sentence;
            let mut left = left?;
            self.check_finite(&left)?;
            *whole = left.pop().expect("one sentence was given");
            (whole.stage, whole.exits.as_slice())
        } else {
            let mut batch = self.engine.begin(sentence)?;
            walk.begin(1);
            let mut stage = 0;
            while !walk.inside().is_empty() {
                if stage == self.engine.stages() {
                    return Err(Error::Incomplete { needed: stage, arrived: stage, total: stages });
                }
                if self.engine.run(stage, &mut batch, logits)? {
                    walk.pass(&rule, stage, stage + 1 == stages, logits.rows())?;
                }
                stage += 1;
            }
            *tokens = self.engine.end(batch);
            walk.left(0).expect("the text has left")
        };
        let last = exits.last().expect("an exit was passed");
        p.clear();
        p.extend(probabilities(last));
        let index = argmax(last);
        Ok(Answer {
            label: &self.labels()[index],
            index,
            probabilities: p,
            stage,
            tokens: ids.len(),
            truncated: false,
            exits,
        })
    }
}
