//! From text to labels, leaving early.

mod one;
mod open;
#[cfg(not(target_arch = "wasm32"))]
mod parallel;

pub use one::{Answer, Scratch};

use crate::bundle::{Architecture, BundleReader, Limits, Manifest, Part};
use crate::engine::{CpuEngine, Engine, Left, Logits, Tokens};
use crate::exit::{argmax, softmax};
use crate::graph::{Call, Op, StageGraph};
use crate::tokenizer::{Encoded, Tokenizer};
use crate::{Error, ExitPolicy};
use bytes::Bytes;

/// A model that puts labels on texts.
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

/// What a classifier says of one text.
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
    /// Whether the text was longer than the model takes.
    pub truncated: bool,
    /// The logits at every exit that the text passed; the last are those of the answer.
    pub exits: Vec<Vec<f32>>,
}

impl<E: Engine> Classifier<E> {
    /// A classifier of parts that are already loaded.
    pub(crate) fn from_parts(manifest: Manifest, tokenizer: Tokenizer, engine: E) -> Self {
        Classifier {
            manifest,
            tokenizer,
            engine,
            #[cfg(not(target_arch = "wasm32"))]
            threads: 1,
        }
    }

    /// Shares the texts of a call of [`classify`](Self::classify) among so many threads; 1 unless
    /// this is called. Answers do not depend on it.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The engine that computes.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// What the bundle says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.manifest.labels
    }

    /// The policy that the bundle carries; full depth if it carries none.
    pub fn policy(&self) -> ExitPolicy {
        self.manifest.policy.clone().unwrap_or_default()
    }

    /// How many stages have arrived, of [`Manifest::stages`].
    pub fn stages_ready(&self) -> usize {
        self.engine.stages()
    }

    /// The encoder layers that are computed for a text that leaves after `stage`.
    pub fn layers_through(&self, stage: usize) -> usize {
        self.manifest.stages.iter().take(stage + 1).map(|s| s.layers).sum()
    }

    /// The token ids of a text, special tokens included, truncated to what the model takes.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer fails, or gives an id that the model has no word for.
    pub fn tokenize(&self, text: &str) -> Result<Encoded, Error> {
        let encoded = self.tokenizer.encode(text)?;
        let vocabulary = self.manifest.architecture.vocabulary;
        match encoded.ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(Error::Tokenizer(format!(
                "gives the token id {id}, the model has {vocabulary} word pieces"
            ))),
            None => Ok(encoded),
        }
    }

    /// Puts a label on each text.
    ///
    /// # Errors
    /// [`Error::Policy`] if the policy does not fit the model, [`Error::Incomplete`] if a stage is
    /// needed that has not arrived, [`Error::Tokenizer`], [`Error::Engine`] or
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

    /// The tokens of the next texts of a queue: as many as are well computed together, none at its
    /// end.
    ///
    /// # Errors
    /// As [`tokenize`](Self::tokenize).
    pub fn next_batch<T: AsRef<str>>(
        &self,
        queue: &mut Queue<impl Iterator<Item = T>>,
    ) -> Result<Vec<Encoded>, Error> {
        self.next_batch_of(queue, self.engine.tokens_per_batch())
    }

    /// As [`next_batch`](Self::next_batch), of at most `most` tokens unless it is one text.
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

    /// As [`classify`](Self::classify), for texts that are tokens already.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub fn classify_tokens(
        &self,
        texts: Vec<Encoded>,
        policy: &ExitPolicy,
    ) -> Result<Vec<Prediction>, Error> {
        if self.engine.stages() == self.manifest.stages.len() {
            policy.check(self.manifest.exits())?;
            let ids: Vec<&[u32]> = texts.iter().map(|t| t.ids.as_slice()).collect();
            if let Some(left) = self.engine.run_all(&Tokens::new(&ids), policy) {
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

    /// Starts a walk through the stages, which [`advance`](Self::advance) carries on.
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
            inside: (0..texts.len()).collect(),
            stay: Vec::with_capacity(texts.len()),
            passed: vec![Vec::new(); texts.len()],
            left: vec![None; texts.len()],
            texts: texts.into_iter().map(|t| (t.ids.len(), t.truncated)).collect(),
            next_stage: 0,
            next_exit: 0,
        })
    }

    /// Runs the stages that have arrived, until all texts have left. Gives whether they have; if
    /// not, it takes more stages to go on.
    ///
    /// # Errors
    /// [`Error::Engine`] or [`Error::NotFinite`]; the walk is then of no further use.
    pub fn advance(&self, walk: &mut Walk<E>) -> Result<bool, Error> {
        while !walk.inside.is_empty() && walk.next_stage < self.engine.stages() {
            let stage = walk.next_stage;
            walk.next_stage += 1;
            if !self.engine.run(stage, &mut walk.batch, &mut walk.logits)? {
                continue;
            }
            if let Some(value) = walk.logits.values.iter().find(|l| !l.is_finite()) {
                return Err(Error::NotFinite { stage, value: *value });
            }
            let last = stage + 1 == self.manifest.stages.len();
            walk.stay.clear();
            for (row, logits) in walk.logits.rows().enumerate() {
                let text = walk.inside[row];
                let passed = &mut walk.passed[text];
                passed.push(logits.to_vec());
                if last || walk.policy.leaves(walk.next_exit, passed) {
                    let exits = std::mem::take(passed);
                    walk.left[text] = Some(self.prediction(exits, walk.texts[text], stage));
                } else {
                    walk.stay.push(row);
                }
            }
            walk.next_exit += 1;
            self.engine.keep(&mut walk.batch, &walk.stay)?;
            for (i, row) in walk.stay.iter().enumerate() {
                walk.inside[i] = walk.inside[*row];
            }
            walk.inside.truncate(walk.stay.len());
        }
        Ok(walk.inside.is_empty())
    }

    /// What an engine gives that has taken the texts through all stages.
    pub(crate) fn predictions(
        &self,
        texts: &[Encoded],
        left: Vec<Left>,
    ) -> Result<Vec<Prediction>, Error> {
        self.check_finite(&left)?;
        let texts = texts.iter().map(|t| (t.ids.len(), t.truncated)).zip(left);
        Ok(texts.map(|(text, left)| self.prediction(left.exits, text, left.stage)).collect())
    }

    /// Errs if an exit has given a logit that is no number.
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
        Prediction {
            label: self.manifest.labels[argmax(logits)].clone(),
            probabilities: softmax(logits),
            stage,
            tokens,
            truncated,
            exits,
        }
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
    /// A queue of texts, which leave it in their order.
    pub fn new(texts: impl IntoIterator<IntoIter = I>) -> Self {
        Queue { texts: texts.into_iter(), ahead: None }
    }
}

/// A batch of texts on its way through the stages.
#[derive(Debug)]
pub struct Walk<E: Engine = CpuEngine> {
    batch: E::Batch,
    policy: ExitPolicy,
    /// Those of the last exit.
    logits: Logits,
    /// The texts that have not left, in the order of the batch's rows.
    inside: Vec<usize>,
    /// Where in `inside` those stand that stay after the last exit.
    stay: Vec<usize>,
    passed: Vec<Vec<Vec<f32>>>,
    left: Vec<Option<Prediction>>,
    /// Tokens of each text, and whether it was truncated.
    texts: Vec<(usize, bool)>,
    next_stage: usize,
    next_exit: usize,
}

impl<E: Engine> Walk<E> {
    /// The predictions so far: `None` for a text that has not left.
    pub fn predictions(&self) -> &[Option<Prediction>] {
        &self.left
    }

    /// The predictions, once [`Classifier::advance`] has said that all texts have left.
    ///
    /// # Panics
    /// If a text has not left.
    pub fn into_predictions(self) -> Vec<Prediction> {
        self.left.into_iter().map(|p| p.expect("all texts have left")).collect()
    }
}

/// Builds a [`Classifier`] from a bundle that arrives in pieces. The classifier can answer from
/// the first exits before the last stages are there.
#[derive(Debug)]
pub struct Loader<E: Engine = CpuEngine> {
    reader: BundleReader,
    manifest: Option<Manifest>,
    classifier: Option<Classifier<E>>,
    /// Until the classifier has it.
    engine: Option<E>,
}

impl<E: Engine + Default> Loader<E> {
    /// A loader that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self::with_engine(limits, E::default())
    }
}

impl<E: Engine> Loader<E> {
    /// As [`new`](Self::new), for an engine that has no stages yet.
    pub fn with_engine(limits: Limits, engine: E) -> Self {
        Self::with_reader(BundleReader::new(limits), engine)
    }

    fn with_reader(reader: BundleReader, engine: E) -> Self {
        Loader { reader, manifest: None, classifier: None, engine: Some(engine) }
    }

    /// Takes the next piece of the bundle.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Graph`] or [`Error::Tokenizer`]; the loader is then of no
    /// further use.
    pub fn push(&mut self, piece: impl Into<Bytes>) -> Result<(), Error> {
        let mut piece = piece.into();
        while let Some(entry) = self.reader.arrive(&mut piece)? {
            let digest = self.reader.digest().expect("only a caller of `arrive` goes without");
            self.accept(entry, &digest)?;
        }
        Ok(())
    }

    /// Takes an entry of the bundle that is whole, with its SHA-256.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn accept(&mut self, entry: Bytes, digest: &[u8]) -> Result<(), Error> {
        match self.reader.verify(entry, digest)? {
            Part::Manifest(m) => self.manifest = Some(*m),
            Part::Tokenizer(json) => {
                let manifest = self.manifest.take().expect("the manifest is the first entry");
                let tokenizer = Tokenizer::from_bundle(&json, manifest.architecture.max_tokens)?;
                let engine = self.engine.take().expect("there is one tokenizer");
                self.classifier = Some(Classifier::from_parts(manifest, tokenizer, engine));
            }
            Part::Stage(index, file) => {
                let classifier = self.classifier.as_mut().expect("the tokenizer came before");
                let name = crate::bundle::stage_entry(index);
                let graph = StageGraph::decode(&name, file)?;
                check_stage(&classifier.manifest, index, &graph)?;
                classifier.engine.add_stage(graph)?;
            }
        }
        Ok(())
    }

    /// The classifier, as soon as the manifest and the tokenizer have arrived.
    pub fn classifier(&self) -> Option<&Classifier<E>> {
        self.classifier.as_ref()
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.reader.taken()
    }

    /// Size of the whole bundle in bytes, once the manifest has arrived.
    pub fn total(&self) -> Option<u64> {
        self.reader.total()
    }

    /// Says whether the bundle is complete.
    ///
    /// # Errors
    /// [`Error::Bundle`] naming the entry at which it breaks off.
    pub fn check_complete(&self) -> Result<(), Error> {
        self.reader.finish()
    }

    /// The complete classifier.
    ///
    /// # Errors
    /// As [`check_complete`](Self::check_complete).
    pub fn finish(self) -> Result<Classifier<E>, Error> {
        self.reader.finish()?;
        Ok(self.classifier.expect("a complete bundle has a tokenizer"))
    }
}

/// For a platform that digests entries faster than we.
#[cfg(target_arch = "wasm32")]
impl Loader {
    /// As [`new`](Self::new), for a caller that digests each entry that [`arrive`](Self::arrive) gives, and
    /// gives it to [`accept`](Self::accept).
    pub(crate) fn without_digest(limits: Limits) -> Self {
        Self::with_reader(BundleReader::without_digest(limits), CpuEngine::default())
    }

    /// Takes from the front of a piece, until an entry is whole or nothing is left.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn arrive(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, Error> {
        self.reader.arrive(piece)
    }
}

/// A stage must be what the manifest says of it.
pub(crate) fn check_stage(
    manifest: &Manifest,
    index: usize,
    graph: &StageGraph,
) -> Result<(), Error> {
    let stage = &manifest.stages[index];
    let last = index + 1 == manifest.stages.len();
    let labels = graph.logits.map(|(_, labels)| labels);
    let expected = stage.exit.then_some(manifest.labels.len());
    let problem = if labels != expected {
        format!("it gives {labels:?} logits, by the manifest it gives {expected:?}")
    } else if graph.input.is_none() != (index == 0) {
        "stage 0 takes token ids, and only stage 0".into()
    } else if !last && graph.next_hidden.is_none() {
        "it gives no hidden states for the next stage".into()
    } else {
        return graph.calls.iter().try_for_each(|call| check_tables(manifest, graph, call));
    };
    Err(Error::graph(&graph.name, "graph", problem))
}

/// Every token that the manifest permits must have a row in the tables.
fn check_tables(manifest: &Manifest, graph: &StageGraph, call: &Call) -> Result<(), Error> {
    let Op::Embed { words, positions, .. } = &call.op else {
        return Ok(());
    };
    let Architecture { vocabulary, max_tokens, .. } = manifest.architecture;
    if words.rows >= vocabulary && positions.rows >= max_tokens {
        return Ok(());
    }
    let problem = format!(
        "it has {} word pieces and {} positions, by the manifest it has {vocabulary} and \
         {max_tokens}",
        words.rows, positions.rows
    );
    Err(Error::graph(&graph.name, &call.name, problem))
}
