// The model of the page: loading it, on this engine or that, and who is told.

import { Classifier } from "../pkg/index.js";

const SOURCE = new URL("../model.edge", import.meta.url);

/** The model that is asked, as a promise; while there is none that works, the one that is tried. */
let current;
let works = false;
/** The load that is told of: the last one begun, or where that failed the one in use. */
let latest;
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

/** The classifier, as soon as its first exit can answer; rejects if it cannot be loaded. */
export function classifier() {
  return current;
}

/**
 * Loads the model for an engine. The one before answers until this one can, and goes on where this
 * one cannot be had, which rejects.
 */
export async function load(engine) {
  stop.abort();
  const { signal } = (stop = new AbortController());
  const before = works ? current : undefined;
  tell("begin", performance.now());
  const onProgress = (progress) => latest === loading && tell("progress", progress);
  const loading = Classifier.load(SOURCE, { engine, onProgress, signal });
  latest = loading;
  if (!works) current = loading;
  try {
    const loaded = await loading;
    current = loading;
    works = true;
    tell("first", loaded);
    before?.then((old) => old.dispose());
    watch(loading, loaded);
  } catch (error) {
    if (latest === loading) await goBack(before, error);
    throw error;
  }
}

async function goBack(before, error) {
  if (!before) return tell("failed", error);
  latest = before;
  tell("kept");
  watch(before, await before);
}

function watch(loading, loaded) {
  loaded.complete().then(
    () => latest === loading && tell("complete", loaded),
    (error) => latest === loading && tell("failed", error),
  );
}
