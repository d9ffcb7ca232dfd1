// The public types of the package.

/** Source of a bundle: an address (in Node also a path), a response, a stream of bytes, or the bytes. */
export type Source = string | URL | Response | ReadableStream<Uint8Array> | ArrayBuffer;

/**
 * Rule by which a text leaves the network. A threshold is one number for all exits, or one per exit.
 * A text leaves if the measure of the policy reaches the threshold: the largest probability for
 * `confidence`, the difference of the two largest probabilities for `margin`, or the number of exits
 * in a row that agree for `patience`. For `entropy` it leaves if the normalized entropy is at most the
 * threshold. `never` runs the full depth.
 */
export type Policy =
  | { readonly kind: "confidence" | "entropy" | "margin"; readonly threshold: number | readonly number[] }
  | { readonly kind: "patience"; readonly threshold: number }
  | { readonly kind: "never" };

/** Part of a bundle that has arrived. */
export interface Progress {
  readonly bytes: number;
  /** Size of the bundle. It and `stagesTotal` are 0 until the first entry of the bundle has arrived. */
  readonly totalBytes: number;
  readonly stagesReady: number;
  readonly stagesTotal: number;
  /** Source of the bytes: the network, or the store of an earlier visit. */
  readonly from: "network" | "cache";
}

/**
 * Choice of the engine. `cpu` is WebAssembly with SIMD. `gpu` is WebGPU, used once the whole model has
 * arrived; it is an error without a GPU. `gpu-f16` is WebGPU with values in f16; it is an error without
 * `shader-f16`. `auto` begins on the CPU. If a GPU exists, `auto` measures both, and gives the GPU the
 * batches at which it is faster; batches that fail on the GPU go to the CPU.
 */
export type EngineChoice = "auto" | "cpu" | "gpu" | "gpu-f16";

/** Engine that computes, with its arithmetic. */
export interface Engine {
  readonly name: "cpu" | "gpu";
  readonly arithmetic: "simd128" | "relaxed-simd" | "webgpu" | "webgpu-f16";
  /** Reason for the choice of `auto`. */
  readonly reason?: string;
}

export interface LoadOptions {
  /** Called after each piece that arrives. */
  readonly onProgress?: (progress: Progress) => void;
  /** Default exit policy of calls; by default the policy of the bundle. */
  readonly policy?: Policy;
  /** Stops loading. */
  readonly signal?: AbortSignal;
  /** Choice of the engine; `auto` by default. */
  readonly engine?: EngineChoice;
  /**
   * True to compute in a separate worker, so that a page never freezes. The default in a page is
   * true, with the page's own thread as a fallback if a worker cannot be started. The default
   * elsewhere (in a worker, in Node) is false.
   */
  readonly worker?: boolean;
  /**
   * True to store a model from an address in the browser's Cache Storage, under its hash, and to read
   * it from there. True by default. If storage is denied or full, the model is fetched each time.
   */
  readonly cache?: boolean;
}

export interface ClassifyOptions {
  readonly policy?: Policy;
  /** Stops between two batches, at most some tens of milliseconds later. */
  readonly signal?: AbortSignal;
}

/** Answer of a classifier for one text. */
export interface Prediction {
  /** The label with the largest probability. */
  readonly label: string;
  /** The probability of each label. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** The stage after which the text left; the manifest lists the stages. */
  readonly stage: number;
  /** Tokens of the text, special tokens included. */
  readonly tokens: number;
  /** True if the text was cut to the model's length. */
  readonly truncated: boolean;
  /** The logits of every exit that the text passed, ending with the exit that answered. */
  readonly exits: readonly (readonly number[])[];
}

/** Manifest of a bundle: the fields that a page needs. */
export interface Manifest {
  /** The meaning of the logits: one label for each text. */
  readonly task: { readonly kind: "single-label"; readonly labels: readonly string[] };
  readonly input: { readonly texts: number; readonly max_tokens: number };
  readonly encoder: { readonly family: string; readonly layers: number };
  readonly weights: { readonly precision: string };
  readonly stages: readonly { readonly layers: number; readonly exit: boolean }[];
  readonly policy?: Policy;
  /** Entries after the manifest: the tokenizer, then a graph for each stage. */
  readonly entries: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
}
