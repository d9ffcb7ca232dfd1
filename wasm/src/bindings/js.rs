//! Classifier for JavaScript, through wasm-bindgen.
//!
//! A [`WasmClassifier`] reads its stream in the background. Calls wait for the stages that they
//! need, so the first exits can answer while later stages are still arriving.

use super::convert::{error_to_js, read_policy, to_js};
use crate::bundle::{BundlePart, BundleReader};
use crate::engine::Left;
use crate::input::Encoded;
use crate::{Classifier, Error, ExitPolicy, Limits, Loader, Prediction, Queue, Walk};
use bytes::Bytes;
use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array, Uint32Array};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise, spawn_local};
use web_sys::{ReadableStream, ReadableStreamDefaultReader, SubtleCrypto};

/// A classifier whose bundle is arriving, or has arrived.
#[wasm_bindgen]
#[derive(Debug)]
pub struct WasmClassifier {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Debug)]
struct Shared {
    loader: Loader,
    arrival: Arrival,
    reader: ReadableStreamDefaultReader,
    /// Calls that wait for the next piece.
    waiting: Vec<Waker>,
}

#[derive(Debug)]
enum Arrival {
    Arriving,
    Complete,
    Failed(JsValue),
}

#[wasm_bindgen]
impl WasmClassifier {
    /// Starts to read a bundle and returns at once. `on_progress(bytes, totalBytes, stagesReady,
    /// stagesTotal)` is called after each piece; the totals are 0 until the manifest has arrived. A
    /// failure of reading rejects every pending and every later call.
    #[wasm_bindgen(js_name = fromStream)]
    pub fn from_stream(
        stream: &ReadableStream,
        on_progress: Option<Function>,
    ) -> Result<WasmClassifier, JsValue> {
        let reader = ReadableStreamDefaultReader::new(stream)?;
        let subtle = subtle();
        let new = if subtle.is_some() { Loader::without_digest } else { Loader::new };
        let shared = Rc::new(RefCell::new(Shared {
            loader: new(Limits::default()),
            arrival: Arrival::Arriving,
            reader: reader.clone(),
            waiting: Vec::new(),
        }));
        let of_task = shared.clone();
        spawn_local(async move {
            let outcome = read_all(&of_task, &reader, subtle, on_progress).await;
            let failed = outcome.is_err();
            of_task.borrow_mut().settle(match outcome {
                Ok(()) => Arrival::Complete,
                Err(error) => Arrival::Failed(error),
            });
            if failed {
                // The first error is reported; an error of cancelling adds nothing.
                let _ = JsFuture::from(reader.cancel()).await;
            }
        });
        Ok(WasmClassifier { shared })
    }

    /// Resolves as soon as the first exit can answer.
    pub fn ready(&self) -> Promise {
        self.promise(|shared| {
            let classifier = shared.loader.classifier()?;
            let first_exit = classifier.manifest().stages.iter().position(|s| s.exit)?;
            (classifier.stages_ready() > first_exit).then_some(Ok(JsValue::UNDEFINED))
        })
    }

    /// Resolves as soon as the whole bundle has arrived and is verified.
    pub fn complete(&self) -> Promise {
        self.promise(|shared| {
            matches!(shared.arrival, Arrival::Complete).then_some(Ok(JsValue::UNDEFINED))
        })
    }

    /// The manifest of the bundle, as JSON.
    pub fn manifest(&self) -> Promise {
        self.promise(|shared| {
            let manifest = shared.loader.classifier()?.manifest();
            Some(Ok(serde_json::to_string(manifest).expect("a manifest is plain data").into()))
        })
    }

    /// The token ids of a text, special tokens included, as a `Uint32Array`.
    pub fn tokenize(&self, text: String) -> Promise {
        self.promise(move |shared| {
            let encoded = shared.loader.classifier()?.tokenize(&text);
            Some(encoded.map(|e| Uint32Array::from(e.ids.as_slice()).into()).map_err(to_js))
        })
    }

    /// Starts to classify texts; [`WasmJob::next`] gives the predictions. The policy of the bundle
    /// is the default.
    pub fn begin(&self, texts: Vec<String>, policy: &JsValue) -> Result<WasmJob, JsValue> {
        let policy = match policy.is_undefined() {
            true => None,
            false => Some(read_policy(policy)?),
        };
        let queue = Queue::new(texts);
        let work = Work { queue, policy, taken: Vec::new(), walk: None };
        Ok(WasmJob { shared: self.shared.clone(), work: Rc::new(RefCell::new(work)) })
    }

    fn promise(
        &self,
        mut get: impl FnMut(&Shared) -> Option<Result<JsValue, JsValue>> + 'static,
    ) -> Promise {
        let shared = self.shared.clone();
        future_to_promise(async move { until(&shared, &mut get).await })
    }
}

/// Texts that are classified a batch at a time. Other batches and the page's events have their turn
/// between two batches.
#[wasm_bindgen]
#[derive(Debug)]
pub struct WasmJob {
    shared: Rc<RefCell<Shared>>,
    work: Rc<RefCell<Work>>,
}

#[derive(Debug)]
struct Work {
    queue: Queue<std::vec::IntoIter<String>>,
    policy: Option<ExitPolicy>,
    /// The batch that another engine computes.
    taken: Vec<Encoded>,
    /// The batch that waits for a stage to arrive.
    walk: Option<Walk>,
}

#[wasm_bindgen]
impl WasmJob {
    /// The predictions for the next batch of texts, in order; an empty list at the end. Resolves
    /// once all texts of the batch have left, which may wait for stages that are still arriving.
    /// Call it again only after it has resolved.
    pub fn next(&self) -> Promise {
        let (shared, work) = (self.shared.clone(), self.work.clone());
        future_to_promise(async move {
            until(&shared, |shared| {
                let classifier = shared.loader.classifier()?;
                match work.borrow_mut().advance(classifier) {
                    Ok(None) => None,
                    Ok(Some(predictions)) => Some(predictions_to_js(classifier, &predictions)),
                    Err(error) => Some(Err(to_js(error))),
                }
            })
            .await
        })
    }

    /// The next batch of texts for another engine, of at most `tokens` tokens or of one text: the
    /// joined `ids`, and the `lengths` of the texts, empty at the end. Next call [`put`](Self::put)
    /// with the engine's results, or [`next`](Self::next) if the engine failed.
    pub fn take(&self, tokens: usize) -> Promise {
        let (shared, work) = (self.shared.clone(), self.work.clone());
        future_to_promise(async move {
            until(&shared, |shared| {
                let Work { queue, taken, .. } = &mut *work.borrow_mut();
                let batch = shared.loader.classifier()?.next_batch_of(queue, tokens);
                Some(batch.map_err(to_js).and_then(|batch| {
                    *taken = batch;
                    batch_to_js(taken)
                }))
            })
            .await
        })
    }

    /// The predictions for the batch of [`take`](Self::take). `stages` are those after which its
    /// texts left; `logits` are those of all exits that each text passed, text by text.
    pub fn put(&self, stages: &[u32], logits: &[f32]) -> Result<JsValue, JsValue> {
        let shared = self.shared.borrow();
        let gone = || error_to_js("disposed", "the classifier was disposed");
        let classifier = shared.loader.classifier().ok_or_else(gone)?;
        let texts = std::mem::take(&mut self.work.borrow_mut().taken);
        let exits = |stage: usize| {
            classifier.manifest().stages.iter().take(stage + 1).filter(|s| s.exit).count()
        };
        let mut logits = logits.chunks_exact(classifier.labels().len());
        let left = stages.iter().map(|stage| {
            let stage = *stage as usize;
            Left { stage, exits: logits.by_ref().take(exits(stage)).map(<[f32]>::to_vec).collect() }
        });
        let predictions = classifier.predictions(&texts, left.collect()).map_err(to_js)?;
        predictions_to_js(classifier, &predictions)
    }
}

impl Work {
    /// The predictions of the batch; `None` if it needs more stages.
    fn advance(&mut self, classifier: &Classifier) -> Result<Option<Vec<Prediction>>, Error> {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => {
                let mut batch = std::mem::take(&mut self.taken);
                if batch.is_empty() {
                    batch = classifier.next_batch(&mut self.queue)?;
                }
                if batch.is_empty() {
                    return Ok(Some(Vec::new()));
                }
                let policy = self.policy.get_or_insert_with(|| classifier.policy());
                classifier.begin(batch, policy)?
            }
        };
        if classifier.advance(&mut walk)? {
            return Ok(Some(walk.into_predictions()));
        }
        self.walk = Some(walk);
        Ok(None)
    }
}

/// Identity of a bundle, read from its first bytes, which must contain the whole manifest.
#[wasm_bindgen]
#[derive(Debug)]
pub struct WasmIdentity {
    digest: String,
    /// Size of the bundle.
    #[wasm_bindgen(readonly, js_name = totalBytes)]
    pub total_bytes: f64,
}

#[wasm_bindgen]
impl WasmIdentity {
    /// Reads the identity from the first bytes of a bundle; `None` if the manifest is incomplete.
    pub fn of(head: &[u8]) -> Option<WasmIdentity> {
        let mut reader = BundleReader::new(Limits::default());
        let mut digest = None;
        // The loader reads the whole bundle and reports its errors.
        let _ = reader.push(head.to_vec().into(), |part| {
            if let BundlePart::Manifest(manifest) = part {
                digest = Some(manifest.digest);
            }
            Ok(())
        });
        Some(WasmIdentity { digest: digest?, total_bytes: reader.total()? as f64 })
    }

    /// SHA-256 of the manifest, which contains the SHA-256 of all other entries.
    #[wasm_bindgen(getter)]
    pub fn digest(&self) -> String {
        self.digest.clone()
    }
}

impl Drop for WasmClassifier {
    fn drop(&mut self) {
        let reader = self.shared.borrow().reader.clone();
        self.shared
            .borrow_mut()
            .settle(Arrival::Failed(error_to_js("disposed", "the classifier was disposed")));
        spawn_local(async move {
            // An error of cancelling has no receiver any more.
            let _ = JsFuture::from(reader.cancel()).await;
        });
    }
}

impl Shared {
    /// Ends the arrival, unless it has failed before. A failure frees the memory of the model.
    fn settle(&mut self, arrival: Arrival) {
        if matches!(self.arrival, Arrival::Failed(_)) {
            return;
        }
        if matches!(arrival, Arrival::Failed(_)) {
            self.loader = Loader::new(Limits::default());
        }
        self.arrival = arrival;
        self.wake();
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

async fn read_all(
    shared: &RefCell<Shared>,
    reader: &ReadableStreamDefaultReader,
    subtle: Option<SubtleCrypto>,
    on_progress: Option<Function>,
) -> Result<(), JsValue> {
    loop {
        let read = JsFuture::from(reader.read()).await;
        let read = read.map_err(|e| match is_ours(&e) {
            true => e,
            false => to_js(Error::Stream(message_of(&e))),
        })?;
        if Reflect::get(&read, &"done".into())?.is_truthy() {
            return shared.borrow().loader.check_complete().map_err(to_js);
        }
        let piece = Reflect::get(&read, &"value".into())?;
        let Some(piece) = piece.dyn_ref::<Uint8Array>() else {
            return Err(to_js(Error::Stream(
                "expected pieces of type Uint8Array, found another type".into(),
            )));
        };
        let mut piece = Bytes::from(piece.to_vec());
        match &subtle {
            None => drop(loading(shared, |loader| loader.push(piece))?),
            Some(subtle) => loop {
                let entry = loading(shared, |loader| loader.arrive(&mut piece))?;
                let Some(entry) = entry.flatten() else { break };
                let digest = subtle.digest_with_str_and_u8_array("SHA-256", &entry)?;
                let digest = Uint8Array::new(&JsFuture::from(digest).await?).to_vec();
                loading(shared, |loader| loader.accept(entry, &digest))?;
            },
        }
        let progress = loading(shared, |loader| {
            let classifier = loader.classifier();
            Ok([
                loader.bytes() as f64,
                loader.total().unwrap_or(0) as f64,
                classifier.map_or(0, |c| c.stages_ready()) as f64,
                classifier.map_or(0, |c| c.manifest().stages.len()) as f64,
            ])
        })?;
        let Some(progress) = progress else { return Ok(()) };
        if let Some(on_progress) = &on_progress {
            let args: Array = progress.into_iter().map(JsValue::from).collect();
            on_progress.apply(&JsValue::UNDEFINED, &args)?;
        }
    }
}

/// The platform's SHA-256, several times as fast as the one here; `None` outside a secure context.
fn subtle() -> Option<SubtleCrypto> {
    let crypto = Reflect::get(&js_sys::global(), &"crypto".into()).ok()?;
    Reflect::get(&crypto, &"subtle".into()).ok()?.dyn_into().ok()
}

/// Calls `act` with the loader of a bundle that is arriving, and wakes all waiting calls. Returns
/// `None` after the classifier was disposed of.
fn loading<T>(
    shared: &RefCell<Shared>,
    act: impl FnOnce(&mut Loader) -> Result<T, Error>,
) -> Result<Option<T>, JsValue> {
    let mut shared = shared.borrow_mut();
    if !matches!(shared.arrival, Arrival::Arriving) {
        return Ok(None);
    }
    let done = act(&mut shared.loader).map_err(to_js)?;
    shared.wake();
    Ok(Some(done))
}

/// Waits until `get` returns a result; calls `get` after each piece.
async fn until<T>(
    shared: &RefCell<Shared>,
    mut get: impl FnMut(&Shared) -> Option<Result<T, JsValue>>,
) -> Result<T, JsValue> {
    poll_fn(|context| {
        let mut shared = shared.borrow_mut();
        if let Arrival::Failed(error) = &shared.arrival {
            return Poll::Ready(Err(error.clone()));
        }
        match get(&shared) {
            Some(got) => Poll::Ready(got),
            None if matches!(shared.arrival, Arrival::Complete) => Poll::Ready(Err(error_to_js(
                "engine",
                "a bug in the runtime: the bundle is complete, and a call still waits for it",
            ))),
            None => {
                shared.waiting.push(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

fn batch_to_js(batch: &[Encoded]) -> Result<JsValue, JsValue> {
    let ids: Vec<u32> = batch.iter().flat_map(|text| &text.ids).copied().collect();
    let lengths: Vec<u32> = batch.iter().map(|text| text.ids.len() as u32).collect();
    let object = Object::new();
    Reflect::set(&object, &"ids".into(), &Uint32Array::from(ids.as_slice()))?;
    Reflect::set(&object, &"lengths".into(), &Uint32Array::from(lengths.as_slice()))?;
    Ok(object.into())
}

fn predictions_to_js(
    classifier: &Classifier,
    predictions: &[Prediction],
) -> Result<JsValue, JsValue> {
    let each = predictions.iter().map(|p| prediction_to_js(p, classifier.labels()));
    each.collect::<Result<Array, _>>().map(JsValue::from)
}

fn prediction_to_js(prediction: &Prediction, labels: &[String]) -> Result<JsValue, JsValue> {
    let object = Object::new();
    let set = |key: &str, value: JsValue| Reflect::set(&object, &key.into(), &value);
    let probabilities = Object::new();
    for (label, p) in labels.iter().zip(&prediction.probabilities) {
        Reflect::set(&probabilities, &label.into(), &(*p).into())?;
    }
    let numbers = |logits: &Vec<f32>| logits.iter().map(|l| JsValue::from(*l)).collect::<Array>();
    set("label", (&prediction.label).into())?;
    set("probabilities", probabilities.into())?;
    set("stage", (prediction.stage as u32).into())?;
    set("tokens", (prediction.tokens as u32).into())?;
    set("truncated", prediction.truncated.into())?;
    set("exits", prediction.exits.iter().map(numbers).collect::<Array>().into())?;
    Ok(object.into())
}

/// Returns true if the package's own JavaScript has thrown the error, with a complete message.
fn is_ours(error: &JsValue) -> bool {
    error.dyn_ref::<js_sys::Error>().is_some_and(|e| e.name() == "EdgeError")
}

fn message_of(error: &JsValue) -> String {
    let message = error.dyn_ref::<js_sys::Error>().map(|e| String::from(e.message()));
    message.unwrap_or_else(|| format!("{error:?}"))
}
