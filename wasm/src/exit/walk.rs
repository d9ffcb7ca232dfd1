//! The walk of texts past the exits: the one loop that decides who leaves.
//!
//! Every engine that asks the host, and the toolkit's calibration, go through [`ExitWalk`]. The GPU
//! engine has the same rule in `exit.wgsl`, and the parity suite compares the two.

use super::ExitPolicy;
use crate::Error;
use crate::task::Task;

/// Logits of an exit: one row per text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logits {
    /// `[texts, width]`.
    pub values: Vec<f32>,
    /// Number of logits of a text.
    pub width: usize,
}

impl Logits {
    /// Iterates over the logits of each text.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width.max(1))
    }
}

/// A text that has left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// The stage after which it left.
    pub stage: usize,
    /// The logits of every exit that it passed.
    pub exits: Vec<Vec<f32>>,
}

/// Rule by which texts leave: a policy over the certainty of a task.
#[derive(Clone, Copy, Debug)]
pub struct ExitRule<'a> {
    /// Task of the model, which measures the certainty.
    pub task: &'a Task,
    /// Policy, which has passed [`ExitPolicy::check`] for the model.
    pub policy: &'a ExitPolicy,
}

impl ExitRule<'_> {
    /// Decides whether a text leaves at exit number `exit`, counted from 0. `passed` contains the
    /// logits of the exits that it passed, ending with this exit.
    ///
    /// # Panics
    /// If `passed` is empty.
    pub fn leaves<L: AsRef<[f32]>>(&self, exit: usize, passed: &[L]) -> bool {
        let (here, before) = passed.split_last().expect("the logits of this exit");
        let here = here.as_ref();
        let certainty = self.policy.measure().map_or(0.0, |m| self.task.measure(m, here));
        let same = before.iter().rev().take_while(|logits| self.task.agrees(logits.as_ref(), here));
        self.policy.leaves(exit, certainty, 1 + same.count())
    }
}

/// Texts of a batch on their way past the exits. Memory is used again by the next batch.
#[derive(Clone, Debug, Default)]
pub struct ExitWalk {
    /// Texts that have not left, in the order of the batch's rows.
    inside: Vec<usize>,
    /// Rows of the last exit that stay.
    stay: Vec<usize>,
    texts: Vec<Passed>,
    /// Number of exits passed.
    exits: usize,
}

/// Exits that a text has passed.
#[derive(Clone, Debug, Default)]
struct Passed {
    /// Logits; those beyond `count` are memory of an earlier batch.
    logits: Vec<Vec<f32>>,
    count: usize,
    /// Stage after which the text left.
    left: Option<usize>,
}

impl ExitWalk {
    /// Creates the walk of a batch.
    pub fn new(texts: usize) -> Self {
        let mut walk = ExitWalk::default();
        walk.begin(texts);
        walk
    }

    /// Begins the walk of another batch.
    pub fn begin(&mut self, texts: usize) {
        self.exits = 0;
        self.inside.clear();
        self.inside.extend(0..texts);
        self.texts.resize_with(texts, Passed::default);
        self.texts.iter_mut().for_each(|text| (text.count, text.left) = (0, None));
    }

    /// Takes the logits of the exit after `stage`, one row for each text that is inside. Returns the
    /// rows that stay, ascending. At the `last` exit all texts leave.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first logit that is not finite.
    pub fn pass<'l>(
        &mut self,
        rule: &ExitRule,
        stage: usize,
        last: bool,
        rows: impl Iterator<Item = &'l [f32]>,
    ) -> Result<&[usize], Error> {
        self.stay.clear();
        for (row, logits) in rows.enumerate() {
            if let Some(value) = logits.iter().find(|l| !l.is_finite()) {
                return Err(Error::NotFinite { stage, value: *value });
            }
            let text = &mut self.texts[self.inside[row]];
            if text.count == text.logits.len() {
                text.logits.push(Vec::new());
            }
            let here = &mut text.logits[text.count];
            here.clear();
            here.extend_from_slice(logits);
            text.count += 1;
            if last || rule.leaves(self.exits, &text.logits[..text.count]) {
                text.left = Some(stage);
            } else {
                self.stay.push(row);
            }
        }
        self.exits += 1;
        for (i, row) in self.stay.iter().enumerate() {
            self.inside[i] = self.inside[*row];
        }
        self.inside.truncate(self.stay.len());
        Ok(&self.stay)
    }

    /// Texts that have not left, in the order of the batch's rows.
    pub fn inside(&self) -> &[usize] {
        &self.inside
    }

    /// Stage after which a text left, and the logits of the exits that it passed; `None` for a text
    /// that is inside.
    pub fn left(&self, text: usize) -> Option<(usize, &[Vec<f32>])> {
        let text = &self.texts[text];
        Some((text.left?, &text.logits[..text.count]))
    }

    /// Returns all texts, once all have left.
    ///
    /// # Panics
    /// If a text is inside.
    pub fn into_left(self) -> Vec<Left> {
        let left = self.texts.into_iter().map(|mut text| {
            text.logits.truncate(text.count);
            Left { stage: text.left.expect("all texts have left"), exits: text.logits }
        });
        left.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: [f32; 2] = [4.0, -4.0];
    const UNSURE: [f32; 2] = [-0.1, 0.1];

    fn task() -> Task {
        Task::SingleLabel { labels: vec!["no".into(), "yes".into()] }
    }

    #[test]
    fn texts_leave_at_the_first_exit_at_which_they_are_sure() {
        let (task, policy) = (task(), ExitPolicy::confidence(0.9));
        let rule = ExitRule { task: &task, policy: &policy };
        let mut walk = ExitWalk::new(3);
        for _ in 0..2 {
            let rows = [UNSURE, SURE, UNSURE];
            let stay = walk.pass(&rule, 0, false, rows.iter().map(|r| &r[..])).unwrap();
            assert_eq!(stay, [0, 2]);
            assert_eq!(walk.inside(), [0, 2]);
            let rows = [UNSURE, SURE];
            assert_eq!(walk.pass(&rule, 2, false, rows.iter().map(|r| &r[..])).unwrap(), [0]);
            assert!(walk.left(0).is_none());
            assert_eq!(walk.left(2), Some((2, &[UNSURE.to_vec(), SURE.to_vec()][..])));
            assert!(walk.pass(&rule, 3, true, [&UNSURE[..]].into_iter()).unwrap().is_empty());
            let left = walk.clone().into_left();
            let stages: Vec<_> = left.iter().map(|l| (l.stage, l.exits.len())).collect();
            assert_eq!(stages, [(3, 3), (0, 1), (2, 2)]);
            walk.begin(3);
        }
    }

    #[test]
    fn logits_that_are_not_finite_are_an_error() {
        let mut walk = ExitWalk::new(1);
        let (task, policy) = (task(), ExitPolicy::Never);
        let rule = ExitRule { task: &task, policy: &policy };
        let error = walk.pass(&rule, 2, true, [&[0.0, f32::NAN][..]].into_iter());
        assert!(matches!(error, Err(Error::NotFinite { stage: 2, .. })));
    }
}
