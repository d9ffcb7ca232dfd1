// The model of the page: which one, on which engine, its loading, and who is told.

import { Classifier } from "../pkg/index.js";
import { remember, remembered } from "./memory.js";

/** The models that there are, and where each of them is. */
const ADDRESSES = { full: "../model.edge", small: "../model-small.edge" };
export const TIERS = Object.keys(ADDRESSES);
const KEPT_AS = "tier";

/** What worked last, which is gone back to where something else cannot be had. */
let good = { tier: "full", engine: "auto" };
/**
 * The load whose model is asked; while there is none that works, the one that is tried. A load is
 * `{ tier, engine, time, loading, loaded, isComplete }`: what was chosen, when it began, and the
 * classifier as a promise and, once its first exit can answer, as itself.
 */
let current;
/** The load that is told of: the last one begun, or where that failed the one in use. */
let latest;
let stop = new AbortController();
const listeners = { begin: [], progress: [], first: [], complete: [], refused: [], kept: [], failed: [] };

/**
 * Hears of loading: `begin(load)`, `progress(Progress)`, `first(classifier)` when the first exit can
 * answer, `complete(classifier)`; of a choice that cannot be had `refused({ tier, engine, asked,
 * error })`, where `asked` is what was changed, and then `kept(load)` when the model before stays, or
 * the beginning of another; `failed(error)` when there is no model to ask.
 */
export function onModel(event, listener) {
  listeners[event].push(listener);
}

function tell(event, value) {
  for (const listener of listeners[event]) listener(value);
}

/** The model and the engine that are chosen, `{ tier, engine }`. */
export function chosen() {
  return latest ?? { ...good, tier: remembered(KEPT_AS, TIERS) ?? good.tier };
}

/** The classifier, as soon as its first exit can answer; rejects if it cannot be loaded. */
export function classifier() {
  return current.loading;
}

/** The classifier once no other is on its way, which would take its place. */
export async function settled() {
  for (let seen; seen !== latest; ) {
    seen = latest;
    await seen.loading.catch(() => {});
  }
  return classifier();
}

/**
 * Loads a model: what is chosen, with another `tier` or `engine`. The one before answers until this
 * one can, and goes on where this one cannot be had. But where that is another model of which a part
 * has yet to arrive, it is dropped at once: two do not share the line.
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
    // Where another choice was made meanwhile, that one goes on.
    if (latest === mine) goBack(mine, before, Object.keys(change)[0], error);
    return;
  }
  // It came at the moment at which another choice was made.
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
