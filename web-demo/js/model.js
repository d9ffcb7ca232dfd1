// The model of the page: its tier, engine and loading, and the listeners of these.

import { Classifier } from "../pkg/index.js";
import { remember, remembered } from "./memory.js";

/** Addresses of the models, by tier. */
const ADDRESSES = { full: "../model.edge", small: "../model-small.edge" };
export const TIERS = Object.keys(ADDRESSES);
const KEPT_AS = "tier";

/** The last choice that worked, used again if another choice fails. */
let good = { tier: "full", engine: "auto" };
/**
 * The load whose model answers; before the first success, the load in progress. A load is
 * `{ tier, engine, time, loading, loaded, isComplete }`: the choice, the time of its start, a promise of
 * the classifier, and the classifier itself once its first exit can answer.
 */
let current;
/** The load that listeners get: the last one begun, or the one in use if that failed. */
let latest;
let stop = new AbortController();
const listeners = { begin: [], progress: [], first: [], complete: [], refused: [], kept: [], failed: [] };

/**
 * Adds a listener for an event of loading: `begin(load)`, `progress(Progress)`, `first(classifier)` when the
 * first exit can answer, `complete(classifier)`. A choice that fails gives `refused({ tier, engine, asked,
 * error })`, where `asked` names the changed setting. `kept(load)` follows if the old model stays, or
 * `begin` of another. `failed(error)` means that no model can answer.
 */
export function onModel(event, listener) {
  listeners[event].push(listener);
}

function tell(event, value) {
  for (const listener of listeners[event]) listener(value);
}

/** The chosen model and engine, `{ tier, engine }`. */
export function chosen() {
  return latest ?? { ...good, tier: remembered(KEPT_AS, TIERS) ?? good.tier };
}

/** The classifier, as soon as its first exit can answer; rejects if it cannot be loaded. */
export function classifier() {
  return current.loading;
}

/** The classifier, after all loads have ended. */
export async function settled() {
  for (let seen; seen !== latest; ) {
    seen = latest;
    await seen.loading.catch(() => {});
  }
  return classifier();
}

/**
 * Loads a model: the current choice, with another `tier` or `engine`. The old model answers until the new
 * one can, and stays if the new one fails. An old model of another tier that is still incomplete is
 * disposed of at once: two downloads would share the network.
 */
export async function load(change = {}) {
  stop.abort();
  const { signal } = (stop = new AbortController());
  const { tier, engine } = { ...chosen(), ...change };
  let before = current?.loaded && current;
  if (before && !before.isComplete && before.tier !== tier) {
    before.loaded.dispose();
    before = undefined;
  }
  const mine = { tier, engine, time: performance.now(), isComplete: false };
  const onProgress = (progress) => latest === mine && tell("progress", progress);
  mine.loading = Classifier.load(new URL(ADDRESSES[tier], import.meta.url), { engine, onProgress, signal });
  latest = mine;
  if (!before) current = mine;
  tell("begin", mine);
  try {
    mine.loaded = await mine.loading;
  } catch (error) {
    // If another choice was made meanwhile, its load continues.
    if (latest === mine) goBack(mine, before, Object.keys(change)[0], error);
    return;
  }
  // Another choice was made while this load ended.
  if (latest !== mine) return mine.loaded.dispose();
  current = mine;
  good = { tier, engine };
  remember(KEPT_AS, tier);
  tell("first", mine.loaded);
  before?.loaded.dispose();
  watch(mine);
}

function goBack({ tier, engine }, before, asked, error) {
  if (!before && tier === good.tier && engine === good.engine) return tell("failed", error);
  tell("refused", { tier, engine, asked, error });
  if (!before) return load(good);
  latest = before;
  tell("kept", before);
  watch(before);
}

function watch(one) {
  one.loaded.complete().then(
    () => {
      one.isComplete = true;
      if (latest === one) tell("complete", one.loaded);
    },
    (error) => latest === one && tell("failed", error),
  );
}
