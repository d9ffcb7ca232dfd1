// The runtime of this thread: one instance of the WebAssembly module, with the classes of `edge_runtime.js`.

import { compiled, type Compiled } from "./compile.js";
import init from "./edge_runtime.js";

export interface Runtime {
  readonly arithmetic: Compiled["arithmetic"];
  readonly memory: WebAssembly.Memory;
}

/** Starts the runtime once. The classes can be used after that. */
export function runtime(): Promise<Runtime> {
  started ??= start().catch((error: unknown) => {
    started = undefined;
    throw error;
  });
  return started;
}
let started: Promise<Runtime> | undefined;
let given: Promise<Compiled> | undefined;

/** Sets the module from which the runtime starts: one that another thread compiles. */
export function give(module: Promise<Compiled>): void {
  given = module;
}

async function start(): Promise<Runtime> {
  const { module, arithmetic } = await (given ?? compiled());
  const { memory } = await init({ module_or_path: module });
  return { arithmetic, memory };
}
