// The GPU engine beside the CPU engine: both get the model, and the faster one gets each batch.

import { moduleAt } from "./compile.js";
import type { WasmClassifier, WasmJob } from "./edge_runtime.js";
import { EdgeError, messageOf, ours } from "./errors.js";
import type { init, WasmGpu } from "./gpu.js";
import { turn } from "./host.js";
import type { Engine, Policy, Prediction } from "./types.js";

/** Largest number of tokens of a batch: enough to fill a GPU. */
const TOKENS = 4096;
/** Numbers of texts in the measured batches, and number of words of each text. */
const MEASURED = [16, 1];
const WORDS = 28;

interface Gpu {
  readonly wasm: WasmGpu;
  readonly memory: WebAssembly.Memory;
}

interface GpuModule {
  readonly init: typeof init;
  readonly WasmGpu: typeof WasmGpu;
}

/** WebGPU types, which the types of the DOM may lack. */
interface Adapter {
  readonly isFallbackAdapter?: boolean;
  readonly info?: { readonly isFallbackAdapter?: boolean; readonly architecture?: string };
}
interface WebGpu {
  requestAdapter(options: { powerPreference: "high-performance" }): Promise<Adapter | null>;
}

export class Accelerator {
  readonly #forced: boolean;
  readonly #f16: boolean;
  /** The engine, without a model; rejects if it cannot be opened. */
  readonly opened: Promise<Gpu>;
  /** Resolves when the choice between GPU and CPU is made. */
  #ready: Promise<void> = Promise.resolve();
  #gpu: Gpu | undefined;
  /** Smallest number of tokens of a batch that goes to the GPU. */
  #from = Infinity;
  /** Reason for the choice. */
  #reason: string | undefined;
  /** Error that ended the use of the GPU. */
  #problem: unknown;
  /** Pieces that arrived before the engine was opened. */
  #pieces: Uint8Array[] = [];
  #disposed = false;
  #changed = () => {};

  constructor(choice: "auto" | "gpu" | "gpu-f16") {
    this.#forced = choice !== "auto";
    this.#f16 = choice === "gpu-f16";
    this.opened = open(this.#forced, this.#f16);
    this.opened.then(
      (gpu) => this.#take(gpu),
      (error: unknown) => this.#giveUp(error),
    );
  }

  /** Returns the same stream, and passes its pieces to the GPU too. */
  follow(stream: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    if (this.#reason !== undefined || !webgpu()) return stream;
    const passing = new TransformStream<Uint8Array, Uint8Array>({
      transform: (piece, controller) => {
        this.#push(piece);
        controller.enqueue(piece);
      },
    });
    return stream.pipeThrough(passing);
  }

  /** Starts to compute batches once the whole model has arrived; calls `changed` when that begins or ends. */
  start(cpu: WasmClassifier, complete: Promise<void>, changed: () => void): void {
    this.#changed = changed;
    this.#ready = Promise.all([this.opened, complete])
      .then(() => this.#choose(cpu))
      .catch((error: unknown) => this.#giveUp(error));
  }

  /** The engine that computes. */
  engine(cpu: Engine): Engine {
    const gpu: Engine = { name: "gpu", arithmetic: this.#f16 ? "webgpu-f16" : "webgpu" };
    const usual = this.#from < Infinity || this.#forced ? gpu : cpu;
    return this.#reason === undefined ? usual : { ...usual, reason: this.#reason };
  }

  /** The predictions for the next batch of a job. */
  async next(job: WasmJob, policy: Policy | undefined): Promise<Prediction[]> {
    if (this.#forced) await this.#ready;
    const gpu = this.#gpu;
    if (!gpu || this.#from === Infinity) {
      if (this.#forced && this.#problem) throw ours(this.#problem);
      return job.next();
    }
    const { ids, lengths } = (await job.take(TOKENS)) as { ids: Uint32Array; lengths: Uint32Array };
    if (lengths.length === 0) return [];
    if (ids.length < this.#from) return job.next();
    try {
      const { stages, logits } = await gpu.wasm.run(ids, lengths, policy);
      return job.put(stages, logits);
    } catch (error) {
      const problem = ours(error);
      if (this.#forced || (problem instanceof EdgeError && problem.code !== "engine")) throw problem;
      this.#giveUp(problem);
      return job.next();
    }
  }

  /** Bytes of memory of the engine, without the GPU's memory. */
  memory(): number {
    return this.#gpu?.memory.buffer.byteLength ?? 0;
  }

  dispose(): void {
    this.#disposed = true;
    this.#drop();
  }

  #take(gpu: Gpu): void {
    if (this.#disposed) return gpu.wasm.free();
    this.#gpu = gpu;
    const pieces = this.#pieces;
    this.#pieces = [];
    for (const piece of pieces) this.#push(piece);
  }

  #push(piece: Uint8Array): void {
    if (this.#reason !== undefined || this.#disposed) return;
    // A copy: the reader of the stream reuses the memory of the pieces.
    if (!this.#gpu) return void this.#pieces.push(piece.slice());
    try {
      this.#gpu.wasm.push(piece);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  #giveUp(problem: unknown): void {
    if (this.#disposed) return;
    this.#problem = problem;
    this.#reason = messageOf(problem);
    this.#drop();
    this.#changed();
  }

  #drop(): void {
    this.#from = Infinity;
    this.#pieces = [];
    this.#gpu?.wasm.free();
    this.#gpu = undefined;
  }

  /** Chooses the engine: measures both, unless the GPU is forced. */
  async #choose(cpu: WasmClassifier): Promise<void> {
    const gpu = this.#gpu;
    if (!gpu || this.#disposed) return;
    if (this.#forced) {
      this.#from = 0;
      return this.#changed();
    }
    let from = Infinity;
    for (const texts of MEASURED) {
      const batch = Array.from({ length: texts }, () => "word ".repeat(WORDS));
      const taken = cpu.begin(batch, { kind: "never" });
      const { ids, lengths } = (await taken.take(TOKENS)) as { ids: Uint32Array; lengths: Uint32Array };
      taken.free();
      const onGpu = await fastest(() => gpu.wasm.run(ids, lengths, { kind: "never" }));
      const onCpu = await fastest(async () => {
        const job = cpu.begin(batch, { kind: "never" });
        while ((await job.next()).length > 0);
        job.free();
      });
      if (this.#disposed) return;
      if (onGpu >= onCpu) break;
      // The result of the smallest batch is used for all smaller ones.
      from = texts === 1 ? 0 : ids.length;
    }
    this.#from = from;
    const faster = from < Infinity ? `is faster from ${from} tokens on` : "is slower than the CPU";
    this.#reason = `${gpu.wasm.name} ${faster}`;
    if (from === Infinity) this.#drop();
    this.#changed();
  }
}

/** Shorter one of two times, after a warm-up run. */
async function fastest(run: () => Promise<unknown>): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 3; i++) {
    await turn();
    const begin = performance.now();
    await run();
    if (i > 0) least = Math.min(least, performance.now() - begin);
  }
  return least;
}

function webgpu(): WebGpu | undefined {
  return (globalThis.navigator as { gpu?: WebGpu } | undefined)?.gpu;
}

/** Opens the engine on a GPU. Accepts a software adapter only if `software` is true. */
async function open(software: boolean, f16: boolean): Promise<Gpu> {
  const gpu = webgpu();
  const wrong = (problem: string) => new EdgeError("engine", problem);
  if (!gpu) throw wrong("this browser has no WebGPU");
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw wrong("WebGPU found no adapter");
  const { isFallbackAdapter = adapter.isFallbackAdapter, architecture } = adapter.info ?? {};
  if (!software && (isFallbackAdapter || architecture === "swiftshader")) {
    throw wrong("the GPU is a software adapter");
  }
  // Bundlers must leave the file as it is (by a comment of build.mjs): a bundled worker may not import
  // parts of itself.
  const address = new URL("./gpu.js", import.meta.url);
  const { init, WasmGpu } = (await import(address.href)) as GpuModule;
  const module = await moduleAt(new URL("./edge_runtime_gpu.wasm", import.meta.url));
  const { memory } = await init({ module_or_path: module });
  return { wasm: await WasmGpu.open(f16), memory };
}
