// Interface of the code that computes for a classifier: in the same thread, or in a worker.

import type { Engine, EngineChoice, Manifest, Policy, Prediction, Progress } from "./types.js";

export interface Backend {
  readonly manifest: Manifest;
  readonly engine: Engine;
  complete(): Promise<void>;
  classify(texts: readonly string[], policy?: Policy, signal?: AbortSignal): Promise<Prediction[]>;
  tokenize(text: string): Promise<Uint32Array>;
  memory(): Promise<number>;
  dispose(): void;
}

/** Model for a backend: an absolute address, or a stream of its bytes. */
export type Model = string | ReadableStream<Uint8Array>;

export interface BackendOptions {
  readonly engine: EngineChoice;
  /** True if a model from an address may be stored, and read from the store. */
  readonly cache: boolean;
  /** Called when the engine changes. */
  readonly onEngine?: ((engine: Engine) => void) | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}
