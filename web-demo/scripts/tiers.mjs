#!/usr/bin/env node
// Writes web-demo/data/tiers.json, the page's figures of the two shipped models: the size of model.edge, and
// the results of calibration in the checkpoint beside it (curve.csv, exits.json, and the description of
// curve.svg).
//
//     node web-demo/scripts/tiers.mjs      (after ./demo --no-serve)

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const MODELS = new URL("../../models/", import.meta.url);
const CHECKPOINTS = { full: "sst2-minilm", small: "sst2-minilm-small" };
/** Recipe with the number of held-out rows, on which both models are calibrated. */
const RECIPE = "sst2-minilm/recipe.toml";
const OUTPUT = new URL("../data/tiers.json", import.meta.url);

/** Figures of a model: its size, the curve of its kind of policy, and the point of its own policy. */
export function tier(checkpoint) {
  const file = (name) => new URL(`${checkpoint}/${name}`, MODELS);
  const read = (name) => readFileSync(file(name), "utf8");
  const { policy } = JSON.parse(read("exits.json"));
  const points = read("curve.csv")
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split(","))
    .filter(([kind]) => kind === policy.kind)
    .map(([, thresholds, accuracy, share]) => ({
      threshold: thresholds.split(" ").map(Number),
      accuracy: Number(accuracy),
      share: Number(share),
    }));
  // The figures in curve.svg are rounded to a tenth or a hundredth of a percent.
  const figures =
    /Full depth is right for ([\d.]+) %.*chosen policy, (\w+), is right for ([\d.]+) % and computes ([\d.]+) %/s;
  const [, full, kind, accuracy, share] = figures.exec(read("curve.svg")) ?? [];
  if (kind !== policy.kind) throw new Error(`curve.svg has the policy ${kind}, exits.json has ${policy.kind}; expected equal policies`);
  const [, sentences] = /^hold_out = (\d+)$/m.exec(readFileSync(new URL(RECIPE, MODELS), "utf8"));
  const odd = points.find((point) => Math.abs(point.accuracy * sentences - Math.round(point.accuracy * sentences)) > 1e-3);
  if (odd) throw new Error(`${checkpoint}: accuracy ${odd.accuracy} in curve.csv; expected a multiple of 1/${sentences}`);
  const percent = (text) => Number((Number(text) / 100).toFixed(6));
  return {
    bytes: statSync(file("model.edge")).size,
    sentences: Number(sentences),
    full: { accuracy: percent(full), share: 1 },
    own: { policy, accuracy: percent(accuracy), share: percent(share) },
    points,
  };
}

/** Text of the file, with one point a line. */
export function text() {
  const tiers = Object.entries(CHECKPOINTS).map(([name, checkpoint]) => {
    const { points, ...rest } = tier(checkpoint);
    const head = JSON.stringify(rest, undefined, 1).replace(/\n\s*/g, " ").slice(0, -2);
    const lines = points.map((point) => `  ${JSON.stringify(point)}`).join(",\n");
    return `"${name}": ${head},\n "points": [\n${lines}\n] }`;
  });
  return `{ ${tiers.join(",\n")} }\n`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(OUTPUT, text());
}
