// The WebAssembly module: the fastest build for this browser, fetched and compiled once.

import { EdgeError, messageOf } from "./errors.js";
import { readFile } from "./host.js";

/** A module of one function that makes a vector. It is valid only in a browser with SIMD. */
// prettier-ignore
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, // magic, version
  1, 5, 1, 96, 0, 1, 123, // type: () -> v128
  3, 2, 1, 0, // one function of it
  10, 8, 1, 6, 0, 65, 0, 253, 15, 11, // its body: i32.const 0, i8x16.splat
]);

/**
 * A module that exports `f`: one dot product of relaxed SIMD, as in the kernels. It adds four times
 * -128 by 127 to 1000.
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

/** True if relaxed SIMD exists and is correct: early versions of V8 drop the addend. */
function hasRelaxedSimd() {
  if (!WebAssembly.validate(RELAXED_DOT)) return false;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(RELAXED_DOT));
  return (exports["f"] as () => number)() === RELAXED_DOT_GIVES;
}

export interface Compiled {
  readonly module: WebAssembly.Module;
  readonly arithmetic: "simd128" | "relaxed-simd";
}

/** The compiled module, which threads can send to each other. */
export function compiled(): Promise<Compiled> {
  compiling ??= compile().catch((error: unknown) => {
    compiling = undefined; // The next call tries again.
    throw error;
  });
  return compiling;
}
let compiling: Promise<Compiled> | undefined;

async function compile(): Promise<Compiled> {
  if (typeof WebAssembly !== "object") {
    throw new EdgeError("unsupported", "this browser has no WebAssembly, or a policy forbids it");
  }
  if (!WebAssembly.validate(SIMD)) {
    throw new EdgeError(
      "unsupported",
      "this browser's WebAssembly has no SIMD; expected Chrome 91, Firefox 89, Safari 16.4 or later",
    );
  }
  const relaxed = hasRelaxedSimd();
  // Bundlers find a file only by a complete literal address.
  const address = relaxed
    ? new URL("./edge_runtime_relaxed.wasm", import.meta.url)
    : new URL("./edge_runtime_bg.wasm", import.meta.url);
  return { module: await moduleAt(address), arithmetic: relaxed ? "relaxed-simd" : "simd128" };
}

/** Loads the module at an address. */
export async function moduleAt(address: URL): Promise<WebAssembly.Module> {
  try {
    return await load(address);
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) {
      const hint = "; a Content-Security-Policy must permit 'wasm-unsafe-eval' in script-src";
      throw new EdgeError("unsupported", `${messageOf(error)}${hint}`, { cause: error });
    }
    throw new EdgeError("network", `cannot load ${address}: ${messageOf(error)}`, { cause: error });
  }
}

async function load(address: URL): Promise<WebAssembly.Module> {
  const file = address.protocol === "file:" ? await readFile(address) : undefined;
  if (file) return WebAssembly.compile(file);
  const response = await fetch(address);
  if (!response.ok) throw new Error(`the server returned ${response.status}`);
  // Browsers compile during the download if the server sends the type of WebAssembly.
  const known = response.headers.get("Content-Type")?.startsWith("application/wasm");
  return known ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}
