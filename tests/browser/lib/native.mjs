// The native programs, and the sentences that both builds answer.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EDGE_EXPORT, EDGE_RUN, MODEL, ROOT } from "./paths.mjs";

/** The predictions of edge-run, one per line of text. */
export function edgeRun(texts, args = [], model = MODEL) {
  const options = { input: texts.map((t) => `${t}\n`).join(""), maxBuffer: 1 << 28, encoding: "utf8" };
  const out = execFileSync(EDGE_RUN, [model, "--json", ...args], {
    ...options,
    stdio: ["pipe", "pipe", "inherit"],
  });
  return out.trimEnd().split("\n").map((line) => JSON.parse(line));
}

export function edgeExport(checkpoint, output) {
  execFileSync(EDGE_EXPORT, ["--int8", checkpoint, "-o", output], { stdio: ["ignore", "ignore", "inherit"] });
}

/** The committed sentences, and where it is at hand the first 300 of the SST-2 dev set. */
export function sentences() {
  const lines = (path) => readFileSync(path, "utf8").split("\n").filter((line) => line.trim());
  const texts = lines(join(ROOT, "tests", "python", "sentences.txt"));
  const dev = join(ROOT, "..", "shared", "data", "sst2", "dev.tsv");
  if (!existsSync(dev)) return texts;
  return [...texts, ...lines(dev).slice(1, 301).map((line) => line.split("\t")[0].trim())];
}
