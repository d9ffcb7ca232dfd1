//! Classification of texts, with early exit.

pub(crate) mod load;
mod one;
mod open;
#[cfg(feature = "onnx")]
mod open_onnx;
#[cfg(not(target_arch = "wasm32"))]
mod parallel;

pub use load::Loader;
pub use one::{Answer, Scratch};

use crate::bundle::Manifest;
use crate::engine::{CpuEngine, Engine, Tokens};
use crate::exit::{ExitRule, ExitWalk, Left, Logits};
use crate::input::Encoded;
use crate::task::Output;
use crate::tokenizer::Tokenizer;
use crate::{Error, ExitPolicy};

/// Text classifier: a model with its tokenizer and engine.
///
/// ```no_run
/// use edge_runtime::{Classifier, ExitPolicy};
/// let classifier = Classifier::open("model.edge")?;
/// for p in classifier.classify(&["what a film", "dull"], &ExitPolicy::confidence(0.9))? {
///     println!("{} after stage {}", p.label, p.stage);
/// }
/// # Ok::<(), edge_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Classifier<E: Engine = CpuEngine> {
    manifest: Manifest,
    tokenizer: Tokenizer,
    engine: E,
    #[cfg(not(target_arch = "wasm32"))]
    threads: usize,
}

/// Answer of a classifier for one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The label with the largest probability.
    pub label: String,
    /// One probability per label, in the order of [`Classifier::labels`].
    pub probabilities: Vec<f32>,
    /// The stage after which the text left.
    pub stage: usize,
    /// Tokens of the text, special tokens included.
    pub tokens: usize,
    /// True if the text was cut to the model's length.
    pub truncated: bool,
    /// The logits of every exit that the text passed, ending with the exit that answered.
    pub exits: Vec<Vec<f32>>,
}

impl<E: Engine> Classifier<E> {
    /// Creates a classifier from parts that are already loaded.
    pub(crate) fn from_parts(manifest: Manifest, tokenizer: Tokenizer, engine: E) -> Self {
        let tokenizer = tokenizer.with_vocabulary(manifest.encoder.vocabulary);
        Classifier {
            manifest,
            tokenizer,
            engine,
            #[cfg(not(target_arch = "wasm32"))]
            threads: 1,
        }
    }

    /// Sets the number of threads that share the texts of a call of [`classify`](Self::classify); 1
    /// by default. Answers are the same for every number.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The engine that computes.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The manifest of the bundle.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        self.manifest.task.labels()
    }

    /// The policy in the bundle; full depth if the bundle has none.
    pub fn policy(&self) -> ExitPolicy {
        self.manifest.policy.clone().unwrap_or_default()
    }

    /// Number of stages that have arrived, of [`Manifest::stages`].
    pub fn stages_ready(&self) -> usize {
        self.engine.stages()
    }

    /// Number of encoder layers that are computed for a text that leaves after `stage`.
    pub fn layers_through(&self, stage: usize) -> usize {
        self.manifest.stages.iter().take(stage + 1).map(|s| s.layers).sum()
    }

    /// Token ids of a text, special tokens included, truncated to the model's length.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer fails, or gives an id for which the model has no
    /// embedding.
    pub fn tokenize(&self, text: &str) -> Result<Encoded, Error> {
        self.tokenizer.encode(text)
    }

    /// Classifies each text.
    ///
    /// # Errors
    /// [`Error::Policy`] if the policy does not fit the model. [`Error::Incomplete`] if a stage
    /// that is needed has not arrived. [`Error::Tokenizer`], [`Error::Engine`] or
    /// [`Error::NotFinite`] if the computation fails.
    pub fn classify(&self, texts: &[&str], policy: &ExitPolicy) -> Result<Vec<Prediction>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if self.threads > 1 {
            return self.classify_in_parallel(texts, policy);
        }
        self.classify_in_turn(texts, policy)
    }

    fn classify_in_turn(
        &self,
        texts: &[&str],
        policy: &ExitPolicy,
    ) -> Result<Vec<Prediction>, Error> {
        let mut predictions = Vec::with_capacity(texts.len());
        let mut queue = Queue::new(texts);
        loop {
            let batch = self.next_batch(&mut queue)?;
            if batch.is_empty() {
                return Ok(predictions);
            }
            predictions.extend(self.classify_tokens(batch, policy)?);
        }
    }

    /// Takes the tokens of the next texts of a queue: one batch of the engine's size. The batch is
    /// empty at the end of the queue.
    ///
    /// # Errors
    /// Errors of [`tokenize`](Self::tokenize).
    pub fn next_batch<T: AsRef<str>>(
        &self,
        queue: &mut Queue<impl Iterator<Item = T>>,
    ) -> Result<Vec<Encoded>, Error> {
        self.next_batch_of(queue, self.engine.tokens_per_batch())
    }

    /// Takes the next batch of a queue, of at most `most` tokens or of one text.
    pub(crate) fn next_batch_of<T: AsRef<str>>(
        &self,
        queue: &mut Queue<impl Iterator<Item = T>>,
        most: usize,
    ) -> Result<Vec<Encoded>, Error> {
        let mut batch: Vec<Encoded> = queue.ahead.take().into_iter().collect();
        let mut tokens = batch.iter().map(|e| e.ids.len()).sum::<usize>();
        for text in queue.texts.by_ref() {
            let encoded = self.tokenize(text.as_ref())?;
            tokens += encoded.ids.len();
            if tokens > most && !batch.is_empty() {
                queue.ahead = Some(encoded);
                break;
            }
            batch.push(encoded);
        }
        Ok(batch)
    }

    /// Classifies texts that are tokens already.
    ///
    /// # Errors
    /// Errors of [`classify`](Self::classify).
    pub fn classify_tokens(
        &self,
        texts: Vec<Encoded>,
        policy: &ExitPolicy,
    ) -> Result<Vec<Prediction>, Error> {
        if self.engine.stages() == self.manifest.stages.len() {
            policy.check(self.manifest.exits())?;
            let ids: Vec<&[u32]> = texts.iter().map(|t| t.ids.as_slice()).collect();
            let rule = ExitRule { task: &self.manifest.task, policy };
            if let Some(left) = self.engine.run_all(&Tokens::new(&ids), &rule) {
                return self.predictions(&texts, left?);
            }
        }
        let mut walk = self.begin(texts, policy)?;
        if self.advance(&mut walk)? {
            return Ok(walk.into_predictions());
        }
        Err(Error::Incomplete {
            needed: walk.next_stage,
            arrived: self.engine.stages(),
            total: self.manifest.stages.len(),
        })
    }

    /// Starts a walk through the stages, which [`advance`](Self::advance) continues.
    ///
    /// # Errors
    /// [`Error::Policy`] or [`Error::Engine`].
    pub fn begin(&self, texts: Vec<Encoded>, policy: &ExitPolicy) -> Result<Walk<E>, Error> {
        policy.check(self.manifest.exits())?;
        let ids: Vec<&[u32]> = texts.iter().map(|t| t.ids.as_slice()).collect();
        Ok(Walk {
            batch: self.engine.begin(Tokens::new(&ids))?,
            policy: policy.clone(),
            logits: Logits::default(),
            exits: ExitWalk::new(texts.len()),
            left: vec![None; texts.len()],
            texts: texts.into_iter().map(|t| (t.ids.len(), t.truncated)).collect(),
            next_stage: 0,
        })
    }

    /// Runs the stages that have arrived, until all texts have left. Returns true if all have left;
    /// otherwise the walk needs more stages.
    ///
    /// # Errors
    /// [`Error::Engine`] or [`Error::NotFinite`]; the walk cannot be used after an error.
    pub fn advance(&self, walk: &mut Walk<E>) -> Result<bool, Error> {
        while !walk.exits.inside().is_empty() && walk.next_stage < self.engine.stages() {
            let stage = walk.next_stage;
            walk.next_stage += 1;
            if !self.engine.run(stage, &mut walk.batch, &mut walk.logits)? {
                continue;
            }
            let rule = ExitRule { task: &self.manifest.task, policy: &walk.policy };
            let last = stage + 1 == self.manifest.stages.len();
            let stay = walk.exits.pass(&rule, stage, last, walk.logits.rows())?;
            self.engine.keep(&mut walk.batch, stay)?;
            for (text, answer) in walk.left.iter_mut().enumerate().filter(|(_, a)| a.is_none()) {
                if let Some((stage, exits)) = walk.exits.left(text) {
                    *answer = Some(self.prediction(exits.to_vec(), walk.texts[text], stage));
                }
            }
        }
        Ok(walk.exits.inside().is_empty())
    }

    /// Predictions from the results of an engine that ran all stages.
    pub(crate) fn predictions(
        &self,
        texts: &[Encoded],
        left: Vec<Left>,
    ) -> Result<Vec<Prediction>, Error> {
        self.check_finite(&left)?;
        let texts = texts.iter().map(|t| (t.ids.len(), t.truncated)).zip(left);
        Ok(texts.map(|(text, left)| self.prediction(left.exits, text, left.stage)).collect())
    }

    /// Checks that the logits of all exits are finite numbers.
    fn check_finite(&self, left: &[Left]) -> Result<(), Error> {
        let stages = (0..self.manifest.stages.len()).filter(|s| self.manifest.stages[*s].exit);
        for (exit, stage) in stages.enumerate() {
            let mut logits = left.iter().filter_map(|l| l.exits.get(exit)).flatten();
            if let Some(value) = logits.find(|l| !l.is_finite()) {
                return Err(Error::NotFinite { stage, value: *value });
            }
        }
        Ok(())
    }

    fn prediction(
        &self,
        exits: Vec<Vec<f32>>,
        (tokens, truncated): (usize, bool),
        stage: usize,
    ) -> Prediction {
        let logits = exits.last().expect("an exit was passed");
        let Output::Label { index, probabilities } = self.manifest.task.output(logits);
        let label = self.labels()[index].clone();
        Prediction { label, probabilities, stage, tokens, truncated, exits }
    }
}

/// Texts that wait to be classified, see [`Classifier::next_batch`].
#[derive(Debug)]
pub struct Queue<I> {
    texts: I,
    /// A text that did not fit into the last batch.
    ahead: Option<Encoded>,
}

impl<I: Iterator<Item: AsRef<str>>> Queue<I> {
    /// Creates a queue of texts, which leave the queue in their order.
    pub fn new(texts: impl IntoIterator<IntoIter = I>) -> Self {
        Queue { texts: texts.into_iter(), ahead: None }
    }
}

/// A batch of texts on its way through the stages.
#[derive(Debug)]
pub struct Walk<E: Engine = CpuEngine> {
    batch: E::Batch,
    policy: ExitPolicy,
    /// Logits of the last exit.
    logits: Logits,
    exits: ExitWalk,
    left: Vec<Option<Prediction>>,
    /// Tokens of each text, and true if it was truncated.
    texts: Vec<(usize, bool)>,
    next_stage: usize,
}

impl<E: Engine> Walk<E> {
    /// The predictions so far; `None` for a text that is still inside.
    pub fn predictions(&self) -> &[Option<Prediction>] {
        &self.left
    }

    /// The predictions, once [`Classifier::advance`] has returned true.
    ///
    /// # Panics
    /// If a text is still inside.
    pub fn into_predictions(self) -> Vec<Prediction> {
        self.left.into_iter().map(|p| p.expect("all texts have left")).collect()
    }
}
