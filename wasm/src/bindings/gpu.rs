//! The GPU engine for JavaScript, through wasm-bindgen. The tokenizer and the CPU engine are in
//! another module, [`js`](super).

use super::convert::{read_policy, to_js};
use crate::bundle::{BundlePart, BundleReader, Manifest, stage_entry};
use crate::classifier::load::check_stage;
use crate::engine::{ExitOn, GpuEngine, GpuOptions, Left, Tokens};
use crate::exit::ExitRule;
use crate::graph::StageGraph;
use crate::{Error, Limits};
use js_sys::{Float32Array, Object, Promise, Reflect, Uint32Array};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// A model on the GPU, whose stages are uploaded as its bundle arrives.
#[wasm_bindgen]
#[derive(Debug)]
pub struct WasmGpu {
    reader: BundleReader,
    manifest: Option<Manifest>,
    /// Engine, shared with the batches that are under way.
    engine: Rc<GpuEngine>,
}

#[wasm_bindgen]
impl WasmGpu {
    /// Opens the best adapter, without a model; values are f16 if `f16` is true.
    pub async fn open(f16: bool) -> Result<WasmGpu, JsValue> {
        let options = GpuOptions { f16, ..GpuOptions::default() };
        let engine = GpuEngine::open(options).await.map_err(to_js)?;
        let reader = BundleReader::new(Limits::default());
        Ok(WasmGpu { reader, manifest: None, engine: Rc::new(engine) })
    }

    /// Name of the adapter.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.engine.name()
    }

    /// True if the adapter computes on the CPU.
    #[wasm_bindgen(getter, js_name = isSoftware)]
    pub fn is_software(&self) -> bool {
        self.engine.is_software()
    }

    /// Takes the next piece of the bundle. All batches must be complete.
    pub fn push(&mut self, piece: Vec<u8>) -> Result<(), JsValue> {
        let WasmGpu { reader, manifest, engine } = self;
        let pushed = reader.push(piece.into(), |part| {
            match part {
                BundlePart::Manifest(m) => *manifest = Some(*m),
                BundlePart::Tokenizer(_) => {}
                BundlePart::Stage(index, file) => {
                    let manifest = manifest.as_ref().expect("the manifest is the first entry");
                    let graph = StageGraph::decode(&stage_entry(index), file)?;
                    check_stage(manifest, index, &graph)?;
                    let problem = "a batch is under way".to_owned();
                    let busy = Error::Engine { stage: index, problem };
                    Rc::get_mut(engine).ok_or(busy)?.add(graph)?;
                }
            }
            Ok(())
        });
        pushed.map_err(to_js)
    }

    /// Computes a batch: `ids` of all texts joined, and the `lengths` of the texts. Resolves with
    /// the `stages` after which the texts left, and the `logits` of all exits that each text
    /// passed, text by text. The policy of the bundle is the default.
    pub fn run(
        &self,
        ids: Vec<u32>,
        lengths: &[u32],
        policy: &JsValue,
    ) -> Result<Promise, JsValue> {
        self.reader.finish().map_err(to_js)?;
        let manifest = self.manifest.as_ref().expect("a complete bundle has a manifest");
        let policy = match policy.is_undefined() {
            true => manifest.policy.clone().unwrap_or_default(),
            false => read_policy(policy)?,
        };
        policy.check(manifest.exits()).map_err(to_js)?;
        let mut rest = ids.as_slice();
        let texts = lengths.iter().map(|n| rest.split_off(..*n as usize));
        let texts = texts.collect::<Option<Vec<&[u32]>>>().filter(|_| rest.is_empty());
        let Some(texts) = texts else {
            let problem = "the sum of `lengths` differs from the number of `ids`".into();
            return Err(to_js(Error::Engine { stage: 0, problem }));
        };
        let (tokens, engine) = (Tokens::new(&texts), self.engine.clone());
        let task = manifest.task.clone();
        Ok(future_to_promise(async move {
            run(&engine, &tokens, &ExitRule { task: &task, policy: &policy }).await
        }))
    }
}

async fn run(engine: &GpuEngine, tokens: &Tokens, rule: &ExitRule<'_>) -> Result<JsValue, JsValue> {
    let left = engine.run_batch(tokens, rule, ExitOn::Gpu).await.map_err(to_js)?;
    let stages: Vec<u32> = left.iter().map(|l| l.stage as u32).collect();
    let logits: Vec<f32> = left.iter().flat_map(|Left { exits, .. }| exits.concat()).collect();
    let object = Object::new();
    Reflect::set(&object, &"stages".into(), &Uint32Array::from(stages.as_slice()))?;
    Reflect::set(&object, &"logits".into(), &Float32Array::from(logits.as_slice()))?;
    Ok(object.into())
}
