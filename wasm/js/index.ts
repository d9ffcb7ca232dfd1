// Classifies text in the browser, and in Node, with early-exit models.
//
//     const classifier = await Classifier.load("model.edge");
//     const { label, stage } = await classifier.classify("what a film");

import type { Backend, BackendOptions, Model } from "./backend.js";
import { EdgeError } from "./errors.js";
import { absolute, isPage } from "./host.js";
import { Local } from "./local.js";
import { Remote } from "./remote.js";
import type { ClassifyOptions, Engine, LoadOptions, Manifest, Policy, Prediction, Source } from "./types.js";

export { EdgeError, type ErrorCode } from "./errors.js";
export type * from "./types.js";

/** Largest number of texts of a stream that are classified together. */
const TOGETHER = 64;

/** Ends the workers of classifiers that were dropped without `dispose`. */
const dropped = new FinalizationRegistry<Backend>((backend) => backend.dispose());

/** Text classifier. */
export class Classifier {
  readonly #backend: Backend;
  readonly #policy: Policy | undefined;

  private constructor(backend: Backend, policy: Policy | undefined) {
    this.#backend = backend;
    this.#policy = policy;
    dropped.register(this, backend, backend);
  }

  /**
   * Loads a bundle. Resolves as soon as the first exit can answer. Later stages are still arriving
   * then, and calls that need a stage wait for it.
   */
  static async load(source: Source, options: LoadOptions = {}): Promise<Classifier> {
    const { onProgress, policy, signal, engine = "auto", worker, cache = true } = options;
    signal?.throwIfAborted();
    const model = open(source);
    const inner: BackendOptions = { engine, cache, onProgress, signal };
    return new Classifier(await start(model, inner, worker), policy);
  }

  /** The manifest of the bundle. */
  get manifest(): Manifest {
    return this.#backend.manifest;
  }

  /** The engine that computes. */
  get engine(): Engine {
    return this.#backend.engine;
  }

  /**
   * Resolves when the whole bundle has arrived, is verified and, if storage permits, is stored for
   * the next visit. Rejects if the bundle is damaged or breaks off.
   */
  async complete(): Promise<void> {
    await this.#backend.complete();
  }

  /** Classifies a text, or several; resolves when all of them have left. */
  async classify(text: string, options?: ClassifyOptions): Promise<Prediction>;
  async classify(texts: readonly string[], options?: ClassifyOptions): Promise<Prediction[]>;
  async classify(
    texts: string | readonly string[],
    options: ClassifyOptions = {},
  ): Promise<Prediction | Prediction[]> {
    const list = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(list) || !list.every((text) => typeof text === "string")) {
      throw new TypeError("classify expected a string or an array of strings");
    }
    const { policy = this.#policy, signal } = options;
    const predictions = await this.#backend.classify(list, policy, signal);
    return typeof texts === "string" ? predictions[0]! : predictions;
  }

  /**
   * Classifies each text of a stream, in order. Texts that arrive during a classification are
   * classified together afterwards. At most 64 texts more than have been answered are read.
   */
  async *stream(
    texts: Iterable<string> | AsyncIterable<string>,
    options: ClassifyOptions = {},
  ): AsyncGenerator<Prediction, void, void> {
    for await (const batch of batches(texts, TOGETHER)) yield* await this.classify(batch, options);
  }

  /** The token ids of a text, special tokens included. */
  async tokenize(text: string): Promise<Uint32Array> {
    return this.#backend.tokenize(text);
  }

  /** Bytes of memory of the runtime, the model's weights included. */
  async memory(): Promise<number> {
    return this.#backend.memory();
  }

  /** Stops loading and frees the memory; pending and later calls reject. */
  dispose(): void {
    dropped.unregister(this.#backend);
    this.#backend.dispose();
  }

  /** Calls `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

async function start(model: Model, options: BackendOptions, worker?: boolean): Promise<Backend> {
  if (worker ?? isPage()) {
    try {
      return await Remote.open(model, options);
    } catch (error) {
      // The bytes of a stream are lost with the worker; an address can be loaded again.
      const here = worker === undefined && typeof model === "string";
      if (!here || !(error instanceof EdgeError) || error.code !== "worker") throw error;
      console.warn(`edge-distil computes in the page's own thread: ${error.message}`);
    }
  }
  return Local.open(model, options);
}

function open(source: Source): Model {
  if (typeof source === "string" || source instanceof URL) return absolute(source);
  if (source instanceof ReadableStream) return source;
  if (source instanceof ArrayBuffer) return new Blob([source]).stream();
  if (!(source instanceof Response)) {
    throw new TypeError("expected an address, a Response, a ReadableStream or an ArrayBuffer as the model");
  }
  const name = source.url || "the response";
  if (!source.ok) throw new EdgeError("network", `cannot load ${name}: the server returned ${source.status}`);
  if (!source.body) throw new EdgeError("network", `${name} has no body`);
  return source.body;
}

/** Batches of the texts that have arrived since the last batch, at least one text and at most `most`. */
async function* batches(texts: Iterable<string> | AsyncIterable<string>, most: number) {
  if (Symbol.iterator in texts) {
    let batch: string[] = [];
    for (const text of texts) {
      if (batch.push(text) < most) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
    return;
  }
  const iterator = texts[Symbol.asyncIterator]();
  let waiting: string[] = [];
  let ended = false;
  let failure: unknown;
  let wake = () => {};
  let room = () => {};
  const pump = async () => {
    try {
      while (!ended) {
        const { done, value } = await iterator.next();
        if (done) break;
        waiting.push(value);
        wake();
        if (waiting.length >= most) await new Promise<void>((go) => (room = go));
      }
    } catch (error) {
      failure = error ?? new Error("the stream of texts failed");
    }
    ended = true;
    wake();
  };
  void pump();
  try {
    for (;;) {
      if (waiting.length === 0 && !ended) await new Promise<void>((go) => (wake = go));
      if (waiting.length > 0) {
        const batch = waiting;
        waiting = [];
        room();
        yield batch;
      } else if (ended) {
        if (failure !== undefined) throw failure;
        return;
      }
    }
  } finally {
    ended = true;
    room();
    void iterator.return?.();
  }
}
