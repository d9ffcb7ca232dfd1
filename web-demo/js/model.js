// The model of the page: loading it, on this engine or that, and who is told.

import { Classifier } from "../pkg/index.js";

const SOURCE = new URL("../model.edge", import.meta.url);

let current;
let stop = new AbortController();
const listeners = { begin: [], progress: [], first: [], complete: [], kept: [], failed: [] };

/**
 * Hears of loading: `begin(time)`, `progress(Progress)`, `first(classifier)` when the first exit can
 * answer, `complete(classifier)`, `kept()` when the model before stays instead, `failed(error)` when
 * there is no model to ask.
 */
export function onModel(event, listener) {
  listeners[event].push(listener);
}

function tell(event, value) {
  for (const listener of listeners[event]) listener(value);
}

/** The classifier, as soon as its first exit can answer. */
export function classifier() {
  return current;
}

/**
 * Loads the model for an engine. The one before answers until this one can, and goes on where this
 * one cannot be had, which rejects.
 */
export async function load(engine) {
  stop.abort();
  const mine = (stop = new AbortController());
  const before = current;
  tell("begin", performance.now());
  const onProgress = (progress) => !mine.signal.aborted && tell("progress", progress);
  const loading = Classifier.load(SOURCE, { engine, onProgress, signal: mine.signal });
  current ??= loading;
  let loaded;
  try {
    loaded = await loading;
  } catch (error) {
    if (current === loading) {
      current = undefined;
      tell("failed", error);
    } else if (!mine.signal.aborted) tell("kept");
    throw error;
  }
  current = loading;
  tell("first", loaded);
  before?.then((old) => old.dispose());
  loaded.complete().then(
    () => tell("complete", loaded),
    // Another engine was chosen meanwhile.
    (error) => current === loading && !mine.signal.aborted && tell("failed", error),
  );
  return loaded;
}
