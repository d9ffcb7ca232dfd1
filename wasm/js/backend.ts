// What a classifier computes with: the thread that it lives in, or a worker.

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

/** A model as a backend takes it: an absolute address, or its bytes as they come. */
export type Model = string | ReadableStream<Uint8Array>;

export interface BackendOptions {
  readonly engine: EngineChoice;
  /** Whether a model from an address may be stored, and taken from the store. */
  readonly cache: boolean;
  /** Called when somebody else computes than before. */
  readonly onEngine?: ((engine: Engine) => void) | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}
