//! Answers of every exit for every sentence, and the exits at which sentences leave under a policy.

use crate::Error;
use edge_runtime::exit::{ExitRule, ExitWalk};
use edge_runtime::task::single_label::argmax;
use edge_runtime::{Classifier, ExitPolicy, Queue, Task};
use std::path::Path;

/// Logits of every exit for every sentence of a data set, with the true labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcomes {
    /// Number of encoder layers of the model.
    pub layers_total: usize,
    /// Layer before each exit, ascending; 0 is the embeddings. The last exit follows the last
    /// layer.
    pub exits: Vec<usize>,
    /// The labels, in the order of the logits.
    pub labels: Vec<String>,
    /// The true label of each sentence, as an index of `labels`.
    pub truth: Vec<u32>,
    /// Logits, `[sentence][exit][label]`.
    pub logits: Vec<Vec<Vec<f32>>>,
}

/// Exits and labels of all sentences under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The exit at which each sentence leaves, counted from 0.
    pub exit: Vec<usize>,
    /// The label that each sentence gets.
    pub predicted: Vec<u32>,
    /// Encoder layers computed for all sentences together.
    pub layers: usize,
}

impl Outcomes {
    /// Runs a bundle at full depth on texts. `truth` contains label indices in the order of the
    /// bundle. `progress` is called with the number of texts done and the number of texts.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Bundle`] if the bundle cannot be opened or fails,
    /// [`Error::Measure`] if the labels do not match the texts or the bundle.
    pub fn of_bundle(
        path: &Path,
        texts: &[impl AsRef<str>],
        truth: Vec<u32>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, Error> {
        let failed = |cause| match cause {
            edge_runtime::Error::Io { path, cause } => Error::Io { path, cause },
            cause => Error::Bundle { path: path.into(), cause },
        };
        let classifier = Classifier::open(path).map_err(failed)?;
        let stages = &classifier.manifest().stages;
        let mut outcomes = Outcomes {
            layers_total: stages.iter().map(|s| s.layers).sum(),
            exits: (0..stages.len())
                .filter(|stage| stages[*stage].exit)
                .map(|stage| classifier.layers_through(stage))
                .collect(),
            labels: classifier.labels().to_vec(),
            truth,
            logits: Vec::with_capacity(texts.len()),
        };
        // Mismatches are reported before the work, not after it.
        outcomes.check_truth(texts.len())?;
        progress(0, texts.len());
        let mut queue = Queue::new(texts);
        loop {
            let batch = classifier.next_batch(&mut queue).map_err(failed)?;
            if batch.is_empty() {
                break;
            }
            let answers = classifier.classify_tokens(batch, &ExitPolicy::Never).map_err(failed)?;
            outcomes.logits.extend(answers.into_iter().map(|answer| answer.exits));
            progress(outcomes.logits.len(), texts.len());
        }
        outcomes.check()?;
        Ok(outcomes)
    }

    /// Checks that the fields are consistent.
    ///
    /// # Errors
    /// [`Error::Measure`] that names the inconsistency.
    pub fn check(&self) -> Result<(), Error> {
        self.check_truth(self.logits.len())?;
        if self.exits.last() != Some(&self.layers_total)
            || !self.exits.is_sorted_by(|a, b| a < b)
            || self.layers_total == 0
        {
            return Err(Error::Measure(format!(
                "exits after the layers {:?}; expected ascending numbers up to the last layer, {}",
                self.exits, self.layers_total
            )));
        }
        let (exits, labels) = (self.exits.len(), self.labels.len());
        for (sentence, logits) in self.logits.iter().enumerate() {
            if logits.len() != exits || logits.iter().any(|l| l.len() != labels) {
                return Err(Error::Measure(format!(
                    "sentence {} has logits for {} exits; \
                     expected {exits} exits of {labels} labels",
                    sentence + 1,
                    logits.len()
                )));
            }
            if let Some(value) = logits.iter().flatten().find(|l| !l.is_finite()) {
                return Err(Error::Measure(format!(
                    "sentence {} has the logit {value}; expected a finite number",
                    sentence + 1
                )));
            }
        }
        Ok(())
    }

    fn check_truth(&self, sentences: usize) -> Result<(), Error> {
        let labels = self.labels.len();
        if sentences == 0 {
            return Err(Error::Measure("there are no sentences".into()));
        }
        if labels < 2 {
            return Err(Error::Measure(format!("{labels} label; expected 2 or more")));
        }
        if self.truth.len() != sentences {
            return Err(Error::Measure(format!(
                "{} true labels for {sentences} sentences; expected one for each",
                self.truth.len()
            )));
        }
        match self.truth.iter().position(|t| *t as usize >= labels) {
            Some(at) => Err(Error::Measure(format!(
                "sentence {} has the label number {}; the model counts {labels} labels from 0",
                at + 1,
                self.truth[at]
            ))),
            None => Ok(()),
        }
    }

    /// Number of sentences.
    pub fn sentences(&self) -> usize {
        self.logits.len()
    }

    /// Applies a policy to every sentence, as the runtime does. The last exit takes all remaining
    /// sentences.
    ///
    /// # Errors
    /// [`Error::Measure`] if the outcomes are inconsistent or the policy does not match the model.
    pub fn walk(&self, policy: &ExitPolicy) -> Result<Walked, Error> {
        self.check()?;
        policy.check(self.exits.len()).map_err(|e| Error::Measure(e.to_string()))?;
        let task = Task::SingleLabel { labels: self.labels.clone() };
        let rule = ExitRule { task: &task, policy };
        let mut walk = ExitWalk::new(self.logits.len());
        for exit in 0..self.exits.len() {
            let inside = walk.inside().to_vec();
            let rows = inside.iter().map(|sentence| self.logits[*sentence][exit].as_slice());
            walk.pass(&rule, exit, exit + 1 == self.exits.len(), rows)
                .map_err(|e| Error::Measure(e.to_string()))?;
        }
        let mut walked = Walked { exit: Vec::new(), predicted: Vec::new(), layers: 0 };
        for (sentence, logits) in self.logits.iter().enumerate() {
            let (exit, _) = walk.left(sentence).expect("all sentences have left");
            walked.exit.push(exit);
            walked.predicted.push(argmax(&logits[exit]) as u32);
            walked.layers += self.exits[exit];
        }
        Ok(walked)
    }

    /// Labels that one exit gives to all sentences.
    ///
    /// # Errors
    /// [`Error::Measure`] if the outcomes are inconsistent, or there is no such exit.
    pub fn at_exit(&self, exit: usize) -> Result<Vec<u32>, Error> {
        self.check()?;
        if exit >= self.exits.len() {
            return Err(Error::Measure(format!(
                "exit {exit}; the model counts {} exits from 0",
                self.exits.len()
            )));
        }
        Ok(self.logits.iter().map(|logits| argmax(&logits[exit]) as u32).collect())
    }

    /// Computed layers, as a share of those at full depth, 0 to 1.
    pub fn share(&self, walked: &Walked) -> f64 {
        walked.layers as f64 / (walked.exit.len() * self.layers_total).max(1) as f64
    }

    /// Selects the outcomes of some of the sentences.
    pub(crate) fn some(&self, sentences: &[usize]) -> Self {
        Outcomes {
            layers_total: self.layers_total,
            exits: self.exits.clone(),
            labels: self.labels.clone(),
            truth: sentences.iter().map(|s| self.truth[*s]).collect(),
            logits: sentences.iter().map(|s| self.logits[*s].clone()).collect(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Random outcomes that resemble real ones: some sentences are hard, and later exits are more
    /// confident and err less.
    pub(crate) fn random(sentences: usize, exits: usize, labels: usize, seed: u64) -> Outcomes {
        let mut random = Rng::new(&[seed]);
        let mut uniform = |scale: f32| scale * (random.below(20_001) as f32 / 10_000.0 - 1.0);
        let mut outcomes = Outcomes {
            layers_total: exits - 1,
            exits: (0..exits).collect(),
            labels: (0..labels).map(|l| format!("label {l}")).collect(),
            truth: Vec::new(),
            logits: Vec::new(),
        };
        for sentence in 0..sentences {
            let truth = sentence % labels;
            let ease = uniform(2.0) + 1.5;
            let logits = (0..exits).map(|exit| {
                let mut row: Vec<f32> = (0..labels).map(|_| uniform(1.5)).collect();
                row[truth] += ease * (exit + 1) as f32 / exits as f32;
                row
            });
            outcomes.logits.push(logits.collect());
            outcomes.truth.push(truth as u32);
        }
        outcomes
    }

    #[test]
    fn sentences_leave_where_the_policy_says() {
        let (sure, unsure) = (vec![4.0, -4.0], vec![-0.1, 0.1]);
        let outcomes = Outcomes {
            layers_total: 6,
            exits: vec![0, 2, 6],
            labels: vec!["a".into(), "b".into()],
            truth: vec![0, 0, 1],
            logits: vec![
                vec![sure.clone(), unsure.clone(), unsure.clone()],
                vec![unsure.clone(), sure.clone(), unsure.clone()],
                vec![unsure.clone(); 3],
            ],
        };
        let walked = outcomes.walk(&ExitPolicy::confidence(0.9)).unwrap();
        assert_eq!(walked, Walked { exit: vec![0, 1, 2], predicted: vec![0, 0, 1], layers: 8 });
        assert!((outcomes.share(&walked) - 8.0 / 18.0).abs() < 1e-12);
        let full = outcomes.walk(&ExitPolicy::Never).unwrap();
        assert_eq!((full.layers, outcomes.share(&full)), (18, 1.0));
        assert_eq!(full.predicted, outcomes.at_exit(2).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let good = random(4, 3, 2, 1);
        good.check().unwrap();
        let check = |change: &dyn Fn(&mut Outcomes), message: &str| {
            let mut bad = good.clone();
            change(&mut bad);
            let error = bad.walk(&ExitPolicy::Never).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        check(&|o| o.exits = vec![0, 2, 1], "[0, 2, 1]");
        check(&|o| o.exits.clear(), "the last layer, 2");
        check(&|o| o.truth[3] = 2, "sentence 4 has the label number 2");
        check(&|o| o.truth.truncate(3), "3 true labels for 4 sentences");
        check(&|o| o.labels.truncate(1), "1 label");
        check(&|o| o.logits[1].truncate(2), "sentence 2 has logits for 2 exits");
        check(&|o| o.logits[1][1][1] = f32::NAN, "the logit NaN");
        check(&|o| o.logits.clear(), "no sentences");
        let error = good.walk(&ExitPolicy::confidence(2.0)).unwrap_err();
        assert!(error.to_string().contains("not between 0 and 1"), "{error}");
        assert!(good.at_exit(3).is_err());
    }

    #[test]
    fn a_bundle_is_measured_at_every_exit() {
        use crate::checkpoint::Checkpoint;
        use crate::export::export;
        use crate::quantize::Precision;
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fixtures/bert-exits");
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("model.edge");
        let checkpoint = Checkpoint::open(fixture).unwrap();
        export(&checkpoint, Precision::Fp32, &bundle, |_, _, _| {}).unwrap();

        let texts = ["good .", "not bad", "a film"];
        let mut seen = Vec::new();
        let outcomes =
            Outcomes::of_bundle(&bundle, &texts, vec![0, 1, 1], |done, of| seen.push((done, of)))
                .unwrap();
        assert_eq!((seen[0], *seen.last().unwrap()), ((0, 3), (3, 3)));
        assert_eq!(outcomes.exits, checkpoint.exits.unwrap().layers);
        let classifier = Classifier::open(&bundle).unwrap();
        for policy in [ExitPolicy::Never, ExitPolicy::confidence(0.6), ExitPolicy::patience(2)] {
            let walked = outcomes.walk(&policy).unwrap();
            let answers = classifier.classify(&texts, &policy).unwrap();
            for (i, answer) in answers.iter().enumerate() {
                assert_eq!(answer.exits.len(), walked.exit[i] + 1);
                assert_eq!(answer.label, outcomes.labels[walked.predicted[i] as usize]);
            }
        }

        let error = Outcomes::of_bundle(&bundle, &texts, vec![0], |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("1 true labels for 3 sentences"), "{error}");
        let missing = folder.path().join("none.edge");
        let error = Outcomes::of_bundle(&missing, &texts, vec![0; 3], |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("none.edge"), "{error}");
    }
}
