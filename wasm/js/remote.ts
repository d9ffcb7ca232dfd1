// Loads and classifies in a separate worker.

import type { Backend, BackendOptions, Model } from "./backend.js";
import { compiled } from "./compile.js";
import { EdgeError, fromWire, toWire } from "./errors.js";
import { unless } from "./host.js";
import { pieces } from "./pieces.js";
import type { Call, Reply, Request } from "./protocol.js";
import type { Engine, Manifest, Policy, Prediction } from "./types.js";

interface Waiting {
  done(value: unknown): void;
  failed(error: unknown): void;
}

export class Remote implements Backend {
  manifest!: Manifest;
  engine!: Engine;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  /** Reason why calls are refused; undefined while they are accepted. */
  #ended: unknown;

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Loads a model; resolves as soon as its first exit can answer. */
  static async open(model: Model, options: BackendOptions): Promise<Remote> {
    options.signal?.throwIfAborted();
    const remote = new Remote(start());
    try {
      await unless(options.signal, remote.#load(model, options));
      return remote;
    } catch (error) {
      remote.#end(error);
      throw error;
    }
  }

  async complete(): Promise<void> {
    await this.#call({ method: "complete" });
  }

  classify(texts: readonly string[], policy?: Policy, signal?: AbortSignal) {
    return this.#call({ method: "classify", texts: [...texts], policy }, signal) as Promise<Prediction[]>;
  }

  tokenize(text: string) {
    return this.#call({ method: "tokenize", text }) as Promise<Uint32Array>;
  }

  memory() {
    return this.#call({ method: "memory" }) as Promise<number>;
  }

  dispose(): void {
    this.#end(new EdgeError("disposed", "the classifier was disposed"));
  }

  #load(model: Model, { engine, cache, onProgress }: BackendOptions): Promise<void> {
    const worker = this.#worker;
    const source = typeof model === "string" ? undefined : pieces(model);
    return new Promise<void>((done, failed) => {
      worker.onmessage = ({ data }: MessageEvent<Reply>) => {
        if (data.kind === "answer") this.#settle(data);
        else if (data.kind === "progress") onProgress?.(data.progress);
        else if (data.kind === "engine") this.engine = data.engine;
        else if (data.kind === "pull") void source!.next().then(...passOn(worker));
        else if (data.kind === "failed") failed(fromWire(data.error));
        else {
          this.manifest = data.manifest;
          this.engine = data.engine;
          done();
        }
      };
      worker.onerror = (event) => {
        event.preventDefault();
        const error = new EdgeError("worker", `the worker failed: ${event.message || "it cannot be loaded"}`);
        failed(error);
        this.#end(error);
      };
      const address = typeof model === "string" ? { address: model } : {};
      // Sent before compiling, which keeps the page's thread busy.
      this.#send({ kind: "load", ...address, engine, cache, progress: onProgress !== undefined });
      compiled().then((compiled) => this.#send({ kind: "module", compiled }), failed);
    });
  }

  async #call(call: Call, signal?: AbortSignal): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended;
    signal?.throwIfAborted();
    const id = this.#calls++;
    const answer = new Promise((done, failed) => this.#waiting.set(id, { done, failed }));
    this.#send({ kind: "call", id, call });
    const stop = () => this.#send({ kind: "stop", id });
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await unless(signal, answer);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  #settle({ id, value, error }: Reply & { kind: "answer" }): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.failed(fromWire(error));
    else waiting?.done(value);
  }

  #end(error: unknown): void {
    this.#ended ??= error;
    this.#worker.terminate();
    for (const { failed } of this.#waiting.values()) failed(this.#ended);
    this.#waiting.clear();
  }

  #send(request: Request): void {
    this.#worker.postMessage(request);
  }
}

function start(): Worker {
  try {
    // Bundlers recognize this form, and put the worker into a separate file.
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "edge-distil" });
  } catch {
    return startFromAfar();
  }
}

/** Starts a worker with a script of another origin, which a worker may import but which cannot start one. */
function startFromAfar(): Worker {
  const script = `import ${JSON.stringify(import.meta.url.replace(/[^/]*$/, "worker.js"))};`;
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    const worker = new Worker(address, { type: "module", name: "edge-distil" });
    worker.addEventListener("message", () => URL.revokeObjectURL(address), { once: true });
    return worker;
  } catch (error) {
    throw new EdgeError("worker", `cannot start a worker: ${String(error)}`, { cause: error });
  }
}

/** Handlers that send a piece, or the error in its place, to the worker. */
function passOn(worker: Worker) {
  const send = (request: Request) => worker.postMessage(request);
  return [
    // Sent as a copy: the bytes belong to the owner of the stream.
    ({ done, value }: IteratorResult<Uint8Array, unknown>) =>
      send(done ? { kind: "piece" } : { kind: "piece", bytes: (value as Uint8Array).slice() }),
    (error: unknown) => send({ kind: "piece", error: toWire(error) }),
  ] as const;
}
