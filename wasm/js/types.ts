// The types of the package's surface.

/** Where a bundle comes from: an address (in Node also a path), a response, a stream of bytes, or the bytes. */
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
  /** Where the bytes come from: over the network, or from what an earlier visit stored. */
  readonly from: "network" | "cache";
}

/**
 * Who computes: `cpu` is WebAssembly with SIMD. `gpu` is WebGPU, once all of the model has arrived, or an
 * error where there is none; `gpu-f16` the same with values in f16, or an error where the GPU has no
 * `shader-f16`. `auto` begins on the CPU, and where there is a GPU it measures both and gives
 * it the batches that it is faster at; what the GPU fails at goes to the CPU.
 */
export type EngineChoice = "auto" | "cpu" | "gpu" | "gpu-f16";

/** Who computes, and with what. */
export interface Engine {
  readonly name: "cpu" | "gpu";
  readonly arithmetic: "simd128" | "relaxed-simd" | "webgpu" | "webgpu-f16";
  /** Why `auto` did or did not take the GPU. */
  readonly reason?: string;
}

export interface LoadOptions {
  /** Called after each piece that arrives. */
  readonly onProgress?: (progress: Progress) => void;
  /** The exit policy of calls that give none; that of the bundle unless given. */
  readonly policy?: Policy;
  /** Stops loading. */
  readonly signal?: AbortSignal;
  /** `auto` unless given. */
  readonly engine?: EngineChoice;
  /**
   * Whether to compute in a worker of the classifier's own, so that a page never freezes. Unless
   * given: in a page yes, or in the page's own thread where no worker can be had; elsewhere (in a
   * worker, in Node) no.
   */
  readonly worker?: boolean;
  /**
   * Whether to keep a model that comes from an address in the browser's Cache Storage, under its
   * hash, and take it from there. True unless given; where storage is denied or full, the model is
   * fetched each time.
   */
  readonly cache?: boolean;
}

export interface ClassifyOptions {
  readonly policy?: Policy;
  /** Stops between two batches, at most some tens of milliseconds later. */
  readonly signal?: AbortSignal;
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
  /** What follows the manifest in the bundle: the tokenizer, then a graph for each stage. */
  readonly entries: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
}
