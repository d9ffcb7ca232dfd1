// Loads and classifies in the thread that this module runs in.

import type { Backend, BackendOptions, Model } from "./backend.js";
import { Download } from "./download.js";
import { WasmClassifier } from "./edge_runtime.js";
import { EdgeError, messageOf, ours } from "./errors.js";
import { readFile, turn, unless } from "./host.js";
import { runtime, type Runtime } from "./runtime.js";
import { visited } from "./store.js";
import { Accelerator } from "./webgpu.js";
import type { Engine, Manifest, Policy, Prediction } from "./types.js";

export class Local implements Backend {
  readonly manifest: Manifest;
  readonly #wasm: WasmClassifier;
  readonly #runtime: Runtime;
  readonly #stop: AbortController;
  readonly #complete: Promise<void>;
  readonly #accelerator: Accelerator | undefined;
  #disposed = false;

  private constructor(
    wasm: WasmClassifier,
    runtime: Runtime,
    stop: AbortController,
    complete: Promise<void>,
    manifest: Manifest,
    accelerator: Accelerator | undefined,
  ) {
    this.#wasm = wasm;
    this.#runtime = runtime;
    this.#stop = stop;
    this.#complete = complete;
    this.manifest = manifest;
    this.#accelerator = accelerator;
  }

  get engine(): Engine {
    const cpu = { name: "cpu", arithmetic: this.#runtime.arithmetic } as const;
    return this.#accelerator?.engine(cpu) ?? cpu;
  }

  /** Loads a model; resolves as soon as its first exit can answer. */
  static async open(model: Model, options: BackendOptions): Promise<Local> {
    const { signal, onProgress, onEngine } = options;
    signal?.throwIfAborted();
    const stop = new AbortController();
    // After loading, its signal has no effect any more, and `dispose` stops the classifier.
    const abort = () => stop.abort(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    let wasm: WasmClassifier | undefined;
    const accelerator = options.engine === "cpu" ? undefined : new Accelerator(options.engine);
    try {
      const source = await from(model, options.cache, stop.signal);
      const started = await runtime();
      stop.signal.throwIfAborted();
      wasm = WasmClassifier.fromStream(
        accelerator?.follow(source.stream) ?? source.stream,
        onProgress &&
          ((bytes: number, totalBytes: number, stagesReady: number, stagesTotal: number) =>
            onProgress({ bytes, totalBytes, stagesReady, stagesTotal, from: source.from() })),
      );
      const complete = settled(wasm, source.download);
      await unless(stop.signal, wasm.ready());
      const manifest = JSON.parse(await wasm.manifest()) as Manifest;
      if (options.engine.startsWith("gpu")) await unless(stop.signal, accelerator!.opened);
      const local = new Local(wasm, started, stop, complete, manifest, accelerator);
      accelerator?.start(wasm, complete, () => onEngine?.(local.engine));
      return local;
    } catch (error) {
      stop.abort(error);
      accelerator?.dispose();
      wasm?.free();
      signal?.throwIfAborted();
      throw ours(error);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async complete(): Promise<void> {
    this.#check();
    await this.#complete;
  }

  async classify(texts: readonly string[], policy?: Policy, signal?: AbortSignal) {
    this.#check();
    signal?.throwIfAborted();
    const predictions: Prediction[] = [];
    try {
      const job = this.#wasm.begin([...texts], policy);
      try {
        for (;;) {
          const next = this.#accelerator ? this.#accelerator.next(job, policy) : job.next();
          const batch: Prediction[] = await unless(signal, next);
          if (batch.length === 0) return predictions;
          predictions.push(...batch);
          if (predictions.length < texts.length) await turn();
          signal?.throwIfAborted();
        }
      } finally {
        job.free();
      }
    } catch (error) {
      throw ours(error);
    }
  }

  async tokenize(text: string): Promise<Uint32Array> {
    this.#check();
    try {
      return await this.#wasm.tokenize(text);
    } catch (error) {
      throw ours(error);
    }
  }

  async memory(): Promise<number> {
    return this.#runtime.memory.buffer.byteLength + (this.#accelerator?.memory() ?? 0);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#accelerator?.dispose();
    this.#wasm.free();
    this.#stop.abort(new EdgeError("disposed", "the classifier was disposed"));
  }

  #check(): void {
    if (this.#disposed) throw new EdgeError("disposed", "the classifier was disposed");
  }
}

/** Resolves when the whole model has arrived, is verified and, if permitted, is stored. */
function settled(wasm: WasmClassifier, download: Download | undefined): Promise<void> {
  const settled = wasm.complete().then(
    () => download?.verified(),
    async (error: unknown) => {
      const problem = ours(error);
      if (problem instanceof EdgeError && problem.code === "bundle") await download?.damaged();
      throw problem;
    },
  );
  settled.catch(() => {}); // The error reaches callers of `complete`, and calls that need a stage.
  return settled;
}

interface Arriving {
  readonly stream: ReadableStream<Uint8Array>;
  readonly download?: Download;
  from(): "network" | "cache";
}

async function from(
  model: Model,
  cache: boolean,
  signal: AbortSignal,
): Promise<Arriving> {
  if (typeof model !== "string") {
    return { stream: streamOf(model.getReader(), signal), from: () => "network" };
  }
  if (!/^(https?|blob|data):/.test(model)) {
    const bytes = await file(model);
    return { stream: new Blob([bytes]).stream(), from: () => "cache" };
  }
  const download = new Download(model, cache ? visited(model) : Promise.resolve(undefined), signal);
  const pieces = download.pieces();
  // Requested at once, so that the model is downloaded while the runtime is compiled.
  let first: ReturnType<typeof pieces.next> | undefined = pieces.next();
  first.catch(() => {}); // The reader of the stream gets the error.
  const reader = {
    read: () => {
      const next = first ?? pieces.next();
      first = undefined;
      return next;
    },
    cancel: async () => void (await pieces.return(undefined)),
  };
  return { stream: streamOf(reader, signal), download, from: () => download.from };
}

async function file(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const bytes = await readFile(path.startsWith("file:") ? new URL(path) : path);
    if (bytes) return bytes;
  } catch (error) {
    throw new EdgeError("network", `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  throw new EdgeError("network", `cannot load ${path}: expected an address with http:, https:, blob: or data:`);
}

interface Reader {
  read(): Promise<IteratorResult<Uint8Array, unknown>> | Promise<ReadableStreamReadResult<Uint8Array>>;
  cancel(reason?: unknown): Promise<void>;
}

/** Makes a stream from a reader. The stream ends with an error if the signal is aborted. */
function streamOf(reader: Reader, signal: AbortSignal): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        signal.addEventListener("abort", () => {
          controller.error(signal.reason);
          reader.cancel(signal.reason).catch(() => {});
        });
      },
      async pull(controller) {
        // A fast network gives the next piece at once, so calls that wait for an answer get a turn here.
        await turn();
        const { done, value } = await reader.read();
        if (signal.aborted) return;
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
