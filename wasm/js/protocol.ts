// Messages between a page and its worker.

import type { Compiled } from "./compile.js";
import type { WireError } from "./errors.js";
import type { Engine, EngineChoice, Manifest, Policy, Progress } from "./types.js";

/** Message to the worker. */
export type Request =
  /** Model to load: an address, or pieces that follow as `piece` messages on request. */
  | {
      readonly kind: "load";
      readonly address?: string;
      readonly engine: EngineChoice;
      readonly cache: boolean;
      /** True if the page wants progress messages. */
      readonly progress: boolean;
    }
  /** The runtime's module, which the page compiles while the worker starts. */
  | { readonly kind: "module"; readonly compiled: Compiled }
  /** The next piece of the model; without `bytes` at the end. */
  | { readonly kind: "piece"; readonly bytes?: Uint8Array; readonly error?: WireError }
  /** Call of a method of the backend; the answer has the same number. */
  | { readonly kind: "call"; readonly id: number; readonly call: Call }
  /** Stops a call whose answer is not needed any more. */
  | { readonly kind: "stop"; readonly id: number };

export type Call =
  | { readonly method: "classify"; readonly texts: readonly string[]; readonly policy?: Policy | undefined }
  | { readonly method: "tokenize"; readonly text: string }
  | { readonly method: "complete" | "memory" };

/** Message from the worker. */
export type Reply =
  | { readonly kind: "pull" }
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "loaded"; readonly manifest: Manifest; readonly engine: Engine }
  /** The engine that computes from now on. */
  | { readonly kind: "engine"; readonly engine: Engine }
  | { readonly kind: "failed"; readonly error: WireError }
  | { readonly kind: "answer"; readonly id: number; readonly value?: unknown; readonly error?: WireError };
