// The runtime of this thread: one instance of the WebAssembly module, whose classes `edge_runtime.js` has.

import { compiled, type Compiled } from "./compile.js";
import init from "./edge_runtime.js";

export interface Runtime {
  readonly arithmetic: Compiled["arithmetic"];
  readonly memory: WebAssembly.Memory;
}

/** The runtime, which the classes need before they can be used; it is started once. */
export function runtime(): Promise<Runtime> {
  started ??= start().catch((error: unknown) => {
    started = undefined;
    throw error;
  });
  return started;
}
let started: Promise<Runtime> | undefined;
let given: Promise<Compiled> | undefined;

/** Has the runtime started from a module that another thread compiles. */
export function give(module: Promise<Compiled>): void {
  given = module;
}

async function start(): Promise<Runtime> {
  const { module, arithmetic } = await (given ?? compiled());
  const { memory } = await init({ module_or_path: module });
  return { arithmetic, memory };
}
