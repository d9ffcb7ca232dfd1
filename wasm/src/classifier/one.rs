//! One text after another, in memory that is used again.
//!
//! [`Classifier::classify`] gives predictions that own all they hold. Here they borrow it from a
//! [`Scratch`], so that nothing is allocated for a text that has no more tokens than the longest
//! before it, apart from what the tokenizer takes and gives back.

use super::Classifier;
use crate::engine::{Engine, Left, Logits, Tokens};
use crate::exit::{argmax, probabilities};
use crate::{Error, ExitPolicy};

/// The memory of [`Classifier::classify_text`] and [`Classifier::classify_ids`]. It belongs to no
/// classifier, and may be used with one after another.
#[derive(Debug, Default)]
pub struct Scratch {
    tokens: Tokens,
    logits: Logits,
    /// The logits of every exit, those that the text has passed first.
    passed: Vec<Vec<f32>>,
    probabilities: Vec<f32>,
}

/// What a classifier says of one text, as long as the [`Scratch`] is not used for another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer<'a> {
    /// The label with the largest probability.
    pub label: &'a str,
    /// Where it stands in [`Classifier::labels`].
    pub index: usize,
    /// One probability per label, in the order of [`Classifier::labels`].
    pub probabilities: &'a [f32],
    /// The stage after which the text left.
    pub stage: usize,
    /// Tokens of the text, special tokens included.
    pub tokens: usize,
    /// Whether the text was longer than the model takes.
    pub truncated: bool,
    /// The logits at every exit that the text passed; the last are those of the answer.
    pub exits: &'a [Vec<f32>],
}

impl<E: Engine> Classifier<E> {
    /// Puts a label on one text. Only the tokenizer allocates, as [`tokenize`](Self::tokenize) does.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
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

    /// Puts a label on one text whose token ids are known, special tokens included.
    ///
    /// # Errors
    /// As [`classify`](Self::classify); [`Error::Engine`] if there are no ids, more than the model
    /// takes, or one that it has no word for.
    pub fn classify_ids<'a>(
        &'a self,
        ids: &[u32],
        policy: &ExitPolicy,
        scratch: &'a mut Scratch,
    ) -> Result<Answer<'a>, Error> {
        policy.check(self.manifest.exits())?;
        let Scratch { tokens, logits, passed, probabilities: p } = scratch;
        let mut sentence = std::mem::take(tokens);
        sentence.set(ids);
        let stages = self.manifest.stages.len();
        let complete = self.engine.stages() == stages;
        let all = complete.then(|| self.engine.run_all(&sentence, policy)).flatten();
        let (stage, exits) = if let Some(left) = all {
            *tokens = sentence;
            let mut left = left?;
            self.check_finite(&left)?;
            let Left { stage, exits } = left.pop().expect("one sentence was given");
            *passed = exits;
            (stage, passed.len())
        } else {
            let mut batch = self.engine.begin(sentence)?;
            let (mut stage, mut exits) = (0, 0);
            loop {
                if stage == self.engine.stages() {
                    return Err(Error::Incomplete { needed: stage, arrived: stage, total: stages });
                }
                if self.engine.run(stage, &mut batch, logits)? {
                    if let Some(value) = logits.values.iter().find(|l| !l.is_finite()) {
                        return Err(Error::NotFinite { stage, value: *value });
                    }
                    if passed.len() == exits {
                        passed.push(Vec::new());
                    }
                    passed[exits].clear();
                    passed[exits].extend_from_slice(&logits.values);
                    exits += 1;
                    if stage + 1 == stages || policy.leaves(exits - 1, &passed[..exits]) {
                        break;
                    }
                }
                stage += 1;
            }
            *tokens = self.engine.end(batch);
            (stage, exits)
        };
        let exits = &passed[..exits];
        let last = exits.last().expect("an exit was passed");
        p.clear();
        p.extend(probabilities(last));
        let index = argmax(last);
        Ok(Answer {
            label: &self.manifest.labels[index],
            index,
            probabilities: p,
            stage,
            tokens: ids.len(),
            truncated: false,
            exits,
        })
    }
}
