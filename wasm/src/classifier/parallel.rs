//! Classification of many texts on several threads.

use super::{Classifier, Prediction};
use crate::engine::Engine;
use crate::{Error, ExitPolicy};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shares of the texts for each thread. A thread that finishes early takes another share.
const SHARES: usize = 16;

impl<E: Engine> Classifier<E> {
    /// Classifies texts on several threads. Answers equal those on one thread, in the texts' order.
    pub(super) fn classify_in_parallel(
        &self,
        texts: &[&str],
        policy: &ExitPolicy,
    ) -> Result<Vec<Prediction>, Error> {
        let length = texts.len().div_ceil(self.threads * SHARES).max(1);
        let shares: Vec<&[&str]> = texts.chunks(length).collect();
        let answers: Vec<OnceLock<_>> = shares.iter().map(|_| OnceLock::new()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let take = || next.fetch_add(1, Ordering::Relaxed);
            while let Some((share, answer)) =
                Some(take()).and_then(|i| Some((shares.get(i)?, answers.get(i)?)))
            {
                answer.get_or_init(|| self.classify_in_turn(share, policy));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(shares.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut predictions = Vec::with_capacity(texts.len());
        for answer in answers {
            predictions.extend(answer.into_inner().expect("each share is taken")?);
        }
        Ok(predictions)
    }
}
