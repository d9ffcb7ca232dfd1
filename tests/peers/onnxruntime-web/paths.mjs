// Where things are.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "../../browser/lib/paths.mjs";

export const HERE = fileURLToPath(new URL(".", import.meta.url)).replace(/\/$/, "");
/** Where the native benchmarks build the shipped model for all. */
export const MODELS = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "peers", "native", "minilm");
