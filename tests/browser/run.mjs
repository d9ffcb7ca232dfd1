#!/usr/bin/env node
// Installs what the browser tests need and runs them: `node tests/browser/run.mjs [NAME]...`, all or those of the
// files whose names begin so.
// They test what is built: wasm/pkg, target/release and the model.edge of both shipped models.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Failure, run } from "../../wasm/build/run.mjs";
import { npmInstall } from "../../wasm/build/npm.mjs";
import { ensureChromium } from "./lib/chromium.mjs";
import { EDGE_EXPORT, EDGE_RUN, HERE, MODEL, PACKAGE, SMALL } from "./lib/paths.mjs";

const NEEDED = [
  [join(PACKAGE, "index.js"), "node wasm/build.mjs"],
  [EDGE_RUN, "cargo build --release"],
  [EDGE_EXPORT, "cargo build --release"],
  [MODEL, "./demo --no-serve"],
  [SMALL, "./demo --no-serve"],
];

try {
  for (const [file, remedy] of NEEDED) {
    if (!existsSync(file)) throw new Failure(`${file} is missing; make it with \`${remedy}\``);
  }
  npmInstall(HERE);
  const env = { CHROMIUM: ensureChromium() };
  const names = process.argv.slice(2);
  const chosen = (file) => names.length === 0 || names.some((name) => file.startsWith(name));
  const tests = readdirSync(HERE).filter((name) => name.endsWith(".test.mjs") && chosen(name));
  if (tests.length === 0) throw new Failure(`no file of tests begins with ${names.join(" or ")}`);
  const files = tests.sort().map((name) => join(HERE, name));
  const options = ["--test-concurrency=2", "--test-force-exit", "--test-reporter=spec"];
  run(process.execPath, ["--test", ...options, ...files], { env });
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(`browser tests: ${error.message}`);
  process.exitCode = 1;
}
