//! Loading of a classifier from the pieces of a bundle.

use super::Classifier;
use crate::Error;
use crate::bundle::{BundlePart, BundleReader, Limits, Manifest};
use crate::engine::{CpuEngine, Engine};
use crate::graph::{Call, Op, StageGraph};
use crate::tokenizer::Tokenizer;
use bytes::Bytes;

/// Loader that builds a [`Classifier`] from a bundle that arrives in pieces. The classifier can
/// answer from the first exits before the last stages have arrived.
#[derive(Debug)]
pub struct Loader<E: Engine = CpuEngine> {
    reader: BundleReader,
    manifest: Option<Manifest>,
    classifier: Option<Classifier<E>>,
    /// Engine; `None` once the classifier has it.
    engine: Option<E>,
}

impl<E: Engine + Default> Loader<E> {
    /// Creates a loader at the start of a bundle.
    pub fn new(limits: Limits) -> Self {
        Self::with_engine(limits, E::default())
    }
}

impl<E: Engine> Loader<E> {
    /// Creates a loader for an engine that has no stages yet.
    pub fn with_engine(limits: Limits, engine: E) -> Self {
        Self::with_reader(BundleReader::new(limits), engine)
    }

    fn with_reader(reader: BundleReader, engine: E) -> Self {
        Loader { reader, manifest: None, classifier: None, engine: Some(engine) }
    }

    /// Takes the next piece of the bundle.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Graph`] or [`Error::Tokenizer`]; the loader cannot be used after
    /// an error.
    pub fn push(&mut self, piece: impl Into<Bytes>) -> Result<(), Error> {
        let mut piece = piece.into();
        while let Some(entry) = self.reader.arrive(&mut piece)? {
            let digest = self.reader.digest().expect("only a caller of `arrive` goes without");
            self.accept(entry, &digest)?;
        }
        Ok(())
    }

    /// Takes a whole entry of the bundle, with its SHA-256.
    ///
    /// # Errors
    /// Errors of [`push`](Self::push).
    pub(crate) fn accept(&mut self, entry: Bytes, digest: &[u8]) -> Result<(), Error> {
        match self.reader.verify(entry, digest)? {
            BundlePart::Manifest(m) => self.manifest = Some(*m),
            BundlePart::Tokenizer(json) => {
                let manifest = self.manifest.take().expect("the manifest is the first entry");
                let tokenizer = Tokenizer::from_bundle(&json, manifest.input.max_tokens)?;
                let engine = self.engine.take().expect("there is one tokenizer");
                self.classifier = Some(Classifier::from_parts(manifest, tokenizer, engine));
            }
            BundlePart::Stage(index, file) => {
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

    /// Checks that the bundle is complete.
    ///
    /// # Errors
    /// [`Error::Bundle`] with the name of the entry at which the bundle breaks off.
    pub fn check_complete(&self) -> Result<(), Error> {
        self.reader.finish()
    }

    /// The complete classifier.
    ///
    /// # Errors
    /// Errors of [`check_complete`](Self::check_complete).
    pub fn finish(self) -> Result<Classifier<E>, Error> {
        self.reader.finish()?;
        Ok(self.classifier.expect("a complete bundle has a tokenizer"))
    }
}

/// Loading on a platform that has a faster SHA-256.
#[cfg(all(target_arch = "wasm32", not(feature = "wgpu")))]
impl Loader {
    /// Creates a loader for a caller that digests entries. The caller passes each entry of
    /// [`arrive`](Self::arrive) to [`accept`](Self::accept), with the digest.
    pub(crate) fn without_digest(limits: Limits) -> Self {
        Self::with_reader(BundleReader::without_digest(limits), CpuEngine::default())
    }

    /// Takes bytes from the front of a piece, until an entry is whole or the piece is empty.
    ///
    /// # Errors
    /// Errors of [`push`](Self::push).
    pub(crate) fn arrive(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, Error> {
        self.reader.arrive(piece)
    }
}

/// Checks a stage against the manifest: its logits, input and output.
pub(crate) fn check_stage(
    manifest: &Manifest,
    index: usize,
    graph: &StageGraph,
) -> Result<(), Error> {
    let stage = &manifest.stages[index];
    let last = index + 1 == manifest.stages.len();
    let labels = graph.logits.map(|(_, labels)| labels);
    let expected = stage.exit.then_some(manifest.task.width());
    let problem = if labels != expected {
        format!("it gives {labels:?} logits; expected {expected:?}, as in the manifest")
    } else if graph.input.is_none() != (index == 0) {
        "expected token ids as the input of stage 0, and hidden states as the input of others"
            .into()
    } else if !last && graph.next_hidden.is_none() {
        "it gives no hidden states for the next stage".into()
    } else {
        return graph.calls.iter().try_for_each(|call| check_tables(manifest, graph, call));
    };
    Err(Error::graph(&graph.name, "graph", problem))
}

/// Checks that the tables have a row for every token and position in the manifest.
fn check_tables(manifest: &Manifest, graph: &StageGraph, call: &Call) -> Result<(), Error> {
    let Op::Embed { words, positions, .. } = &call.op else {
        return Ok(());
    };
    let (vocabulary, max_tokens) = (manifest.encoder.vocabulary, manifest.input.max_tokens);
    if words.rows >= vocabulary && positions.rows >= max_tokens {
        return Ok(());
    }
    let problem = format!(
        "it has {} word pieces and {} positions; expected at least {vocabulary} and \
         {max_tokens}, as in the manifest",
        words.rows, positions.rows
    );
    Err(Error::graph(&graph.name, &call.name, problem))
}
