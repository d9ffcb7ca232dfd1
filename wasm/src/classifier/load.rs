//! From the pieces of a bundle to a classifier.

use super::Classifier;
use crate::Error;
use crate::bundle::{Architecture, BundleReader, Limits, Manifest, Part};
use crate::engine::{CpuEngine, Engine};
use crate::graph::{Call, Op, StageGraph};
use crate::tokenizer::Tokenizer;
use bytes::Bytes;

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
#[cfg(all(target_arch = "wasm32", not(feature = "wgpu")))]
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
