// Where things are.

import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
export const HERE = join(ROOT, "tests", "browser");
export const PACKAGE = join(ROOT, "wasm", "pkg");
export const MODEL = join(ROOT, "models", "sst2-minilm", "model.edge");
export const SMALL = join(ROOT, "models", "sst2-minilm-small", "model.edge");

const BIN = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "release");
export const EDGE_RUN = join(BIN, "edge-run");
export const EDGE_EXPORT = join(BIN, "edge-export");
