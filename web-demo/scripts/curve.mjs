#!/usr/bin/env node
// Writes web-demo/data/curve.json, which the slider shows, from what calibration left in the shipped
// checkpoint: curve.csv, exits.json, and the figures in the description of curve.svg.
//
//     node web-demo/scripts/curve.mjs

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const CHECKPOINT = new URL("../../models/sst2-minilm/", import.meta.url);
const OUTPUT = new URL("../data/curve.json", import.meta.url);

/** The curve of the kind of policy that the checkpoint carries, and where its own policy stands. */
export function curve() {
  const read = (name) => readFileSync(new URL(name, CHECKPOINT), "utf8");
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
  // Both are rounded to a tenth or a hundredth of a percent there.
  const figures =
    /Full depth is right for ([\d.]+) %.*chosen policy, (\w+), is right for ([\d.]+) % and computes ([\d.]+) %/s;
  const [, full, kind, accuracy, share] = figures.exec(read("curve.svg")) ?? [];
  if (kind !== policy.kind) throw new Error(`curve.svg describes ${kind}, exits.json holds ${policy.kind}`);
  const [, sentences] = /^hold_out = (\d+)$/m.exec(read("recipe.toml"));
  const percent = (text) => Number((Number(text) / 100).toFixed(6));
  return {
    sentences: Number(sentences),
    full: { accuracy: percent(full), share: 1 },
    own: { policy, accuracy: percent(accuracy), share: percent(share) },
    points,
  };
}

/** The file as it is committed: a point a line. */
export function text() {
  const { points, ...rest } = curve();
  const head = JSON.stringify(rest, undefined, 1).replace(/\n\s*/g, " ").slice(0, -2);
  const lines = points.map((point) => `  ${JSON.stringify(point)}`).join(",\n");
  return `${head},\n "points": [\n${lines}\n] }\n`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(OUTPUT, text());
}
