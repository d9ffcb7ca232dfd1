// Classifies text in the browser with models that leave early.
//
//     const classifier = await Classifier.load("model.edge");
//     const { label, stage } = await classifier.classify("what a film");

import type { WasmClassifier } from "./edge_runtime.js";

/** Where a bundle comes from: an address, a response, a stream of bytes, or the bytes. */
export type Source = string | URL | Response | ReadableStream<Uint8Array> | ArrayBuffer;

/**
 * When a text leaves the network. A threshold is one number for all exits, or one per exit.
 * `confidence` leaves at the largest probability, `entropy` at a normalized entropy at or below,
 * `margin` at the distance of the two largest probabilities, `patience` when so many exits in a
 * row agree; `never` runs the full depth.
 */
export type Policy =
  | { readonly kind: "confidence" | "entropy" | "margin"; readonly threshold: number | readonly number[] }
  | { readonly kind: "patience"; readonly threshold: number }
  | { readonly kind: "never" };

/** How much of a bundle has arrived. */
export interface Progress {
  readonly bytes: number;
  /** 0 until the first entry of the bundle has arrived, as is `stagesTotal`. */
  readonly totalBytes: number;
  readonly stagesReady: number;
  readonly stagesTotal: number;
}

export interface LoadOptions {
  /** Called after each piece that arrives. */
  readonly onProgress?: (progress: Progress) => void;
  /** The exit policy of calls that give none; that of the bundle unless given. */
  readonly policy?: Policy;
  /** Stops loading. */
  readonly signal?: AbortSignal;
}

export interface ClassifyOptions {
  readonly policy?: Policy;
}

/** What a classifier says of one text. */
export interface Prediction {
  /** The label with the largest probability. */
  readonly label: string;
  /** The probability of each label. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** The stage after which the text left; the manifest lists the stages. */
  readonly stage: number;
  /** Tokens of the text, special tokens included. */
  readonly tokens: number;
  /** Whether the text was longer than the model takes. */
  readonly truncated: boolean;
  /** The logits at every exit that the text passed; the last are those of the answer. */
  readonly exits: readonly (readonly number[])[];
}

/** What a bundle says of itself, as far as a page needs it. */
export interface Manifest {
  readonly labels: readonly string[];
  readonly stages: readonly { readonly layers: number; readonly exit: boolean }[];
  readonly architecture: {
    readonly model_type: string;
    readonly layers: number;
    readonly max_tokens: number;
    readonly precision: string;
  };
  readonly policy?: Policy;
}

/**
 * A module that exports `f`: one dot product of relaxed SIMD as the kernels use it, four times
 * -128 by 127 added to 1000.
 */
// prettier-ignore
const RELAXED_DOT = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, // magic, version
  1, 5, 1, 96, 0, 1, 127, // type: () -> i32
  3, 2, 1, 0, // one function of it
  7, 5, 1, 1, 102, 0, 0, // exported as f
  10, 25, 1, 23, 0, // its body
  65, 128, 127, 253, 15, // i32.const -128, i8x16.splat
  65, 255, 0, 253, 15, // i32.const 127, i8x16.splat
  65, 232, 7, 253, 17, // i32.const 1000, i32x4.splat
  253, 147, 2, // i32x4.relaxed_dot_i8x16_i7x16_add_s
  253, 27, 0, // i32x4.extract_lane 0
  11, // end
]);
const RELAXED_DOT_GIVES = -4 * 128 * 127 + 1000;

/** Whether relaxed SIMD is there and right: early versions of V8 lose the sum that is added to. */
function hasRelaxedSimd() {
  if (!WebAssembly.validate(RELAXED_DOT)) return false;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(RELAXED_DOT));
  return (exports["f"] as () => number)() === RELAXED_DOT_GIVES;
}

/** The build that this browser runs fastest, fetched and compiled once. */
function runtime() {
  started ??= start().catch((error: unknown) => {
    started = undefined; // The network may be back at the next call.
    throw error;
  });
  return started;
}
let started: ReturnType<typeof start> | undefined;

async function start() {
  const build = hasRelaxedSimd()
    ? await import("./relaxed/edge_runtime.js")
    : await import("./edge_runtime.js");
  await build.default();
  // The builds differ in their instructions only.
  return build as typeof import("./edge_runtime.js");
}

/** A model that puts labels on texts. */
export class Classifier {
  readonly #wasm: WasmClassifier;
  readonly #policy: Policy | undefined;
  #disposed = false;

  /** What the bundle says of itself. */
  readonly manifest: Manifest;

  private constructor(wasm: WasmClassifier, policy: Policy | undefined, manifest: Manifest) {
    this.#wasm = wasm;
    this.#policy = policy;
    this.manifest = manifest;
  }

  /**
   * Loads a bundle. Resolves as soon as the first exit can answer; later stages go on arriving,
   * and calls that need them wait for them.
   */
  static async load(source: Source, options: LoadOptions = {}): Promise<Classifier> {
    const { onProgress, policy, signal } = options;
    signal?.throwIfAborted();
    const [stream, { WasmClassifier }] = await Promise.all([open(source, signal), runtime()]);
    const report =
      onProgress &&
      ((bytes: number, totalBytes: number, stagesReady: number, stagesTotal: number) =>
        onProgress({ bytes, totalBytes, stagesReady, stagesTotal }));
    const wasm = WasmClassifier.fromStream(stream, report);
    try {
      await wasm.ready();
      const manifest = JSON.parse(await wasm.manifest()) as Manifest;
      return new Classifier(wasm, policy, manifest);
    } catch (error) {
      wasm.free();
      signal?.throwIfAborted();
      throw error;
    }
  }

  /** Resolves when the whole bundle has arrived and is verified, rejects if it is not. */
  async complete(): Promise<void> {
    await this.#use().complete();
  }

  /** Puts a label on a text, or on each of several; resolves when all of them have left. */
  async classify(text: string, options?: ClassifyOptions): Promise<Prediction>;
  async classify(texts: readonly string[], options?: ClassifyOptions): Promise<Prediction[]>;
  async classify(
    texts: string | readonly string[],
    options: ClassifyOptions = {},
  ): Promise<Prediction | Prediction[]> {
    const list = typeof texts === "string" ? [texts] : [...texts];
    const policy = options.policy ?? this.#policy;
    const predictions: Prediction[] = await this.#use().classify(list, policy);
    return typeof texts === "string" ? predictions[0]! : predictions;
  }

  /** The token ids of a text, special tokens included. */
  async tokenize(text: string): Promise<Uint32Array> {
    return this.#use().tokenize(text);
  }

  /** Stops loading and frees the memory; pending and later calls reject. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#wasm.free();
  }

  #use(): WasmClassifier {
    if (this.#disposed) throw new Error("the classifier was disposed");
    return this.#wasm;
  }
}

async function open(source: Source, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  if (source instanceof ReadableStream) return abortable(source, signal);
  if (source instanceof ArrayBuffer) return abortable(new Blob([source]).stream(), signal);
  const response =
    source instanceof Response ? source : await fetch(source, signal ? { signal } : {});
  if (!response.ok) {
    throw new Error(`cannot load ${response.url || "the model"}: the server says ${response.status}`);
  }
  if (!response.body) throw new Error(`${response.url || "the response"} has no body`);
  return abortable(response.body, signal);
}

function abortable(stream: ReadableStream<Uint8Array>, signal?: AbortSignal) {
  if (!signal) return stream;
  return stream.pipeThrough(new TransformStream<Uint8Array, Uint8Array>(), { signal });
}
