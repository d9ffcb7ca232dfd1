// What a page and its worker say to each other.

import type { Compiled } from "./compile.js";
import type { WireError } from "./errors.js";
import type { Engine, EngineChoice, Manifest, Policy, Progress } from "./types.js";

/** What the worker is asked. */
export type Request =
  /** A model to load: an address, or pieces that follow as `piece`s when they are asked for. */
  | {
      readonly kind: "load";
      readonly address?: string;
      readonly engine: EngineChoice;
      readonly cache: boolean;
      /** Whether anybody wants to hear of progress. */
      readonly progress: boolean;
    }
  /** The runtime's module, which the page has compiled while the worker was starting. */
  | { readonly kind: "module"; readonly compiled: Compiled }
  /** The next piece of the model; none at its end. */
  | { readonly kind: "piece"; readonly bytes?: Uint8Array; readonly error?: WireError }
  /** A method of the backend, answered under the same number. */
  | { readonly kind: "call"; readonly id: number; readonly call: Call }
  /** A call whose answer nobody waits for any more. */
  | { readonly kind: "stop"; readonly id: number };

export type Call =
  | { readonly method: "classify"; readonly texts: readonly string[]; readonly policy?: Policy | undefined }
  | { readonly method: "tokenize"; readonly text: string }
  | { readonly method: "complete" | "memory" };

/** What the worker says. */
export type Reply =
  | { readonly kind: "pull" }
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "loaded"; readonly manifest: Manifest; readonly engine: Engine }
  /** Who computes from now on. */
  | { readonly kind: "engine"; readonly engine: Engine }
  | { readonly kind: "failed"; readonly error: WireError }
  | { readonly kind: "answer"; readonly id: number; readonly value?: unknown; readonly error?: WireError };
