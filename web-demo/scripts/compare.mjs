#!/usr/bin/env node
// Writes web-demo/data/compare.json, which the compare page shows: the shipped student in three forms,
// measured here by the toolkit's own programs, and its teacher as far as it is known.
//
//     node web-demo/scripts/compare.mjs DEV.tsv          (GLUE's dev set of SST-2)
//
// It needs `cargo build --release` and takes some two minutes on a machine that does nothing else.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, readSync, closeSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BIN = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "release");
const CHECKPOINT = join(ROOT, "models", "sst2-minilm");
const OUTPUT = join(ROOT, "web-demo", "data", "compare.json");
/** Every model answers all sentences so often, in turn; the median counts. */
const ROUNDS = 9;
const THREADS = 2;

/**
 * The teacher, MPNet-base, whose weights are not kept. Its parameters follow from its architecture;
 * how much of dev is right stands in the card of the model.
 */
const TEACHER = { words: 30527, positions: 514, width: 768, inner: 3072, layers: 12, buckets: 32, heads: 12, labels: 2 };

function teacher(sentences) {
  const t = TEACHER;
  const dense = (from, to) => from * to + to;
  const norm = 2 * t.width;
  const layer =
    4 * dense(t.width, t.width) + norm + dense(t.width, t.inner) + dense(t.inner, t.width) + norm;
  const parameters =
    (t.words + t.positions) * t.width + norm + t.layers * layer + t.buckets * t.heads +
    dense(t.width, t.width) + dense(t.width, t.labels);
  const card = readFileSync(join(CHECKPOINT, "README.md"), "utf8");
  const [, percent] = /\*\*Teacher\*\*: MPNet-base[^\n]*?([\d.]+) % on dev/.exec(card);
  const right = Math.round((Number(percent) / 100) * sentences);
  return {
    id: "teacher",
    parameters,
    bytes: 4 * parameters,
    sentencesPerSecond: null,
    accuracy: wilson(right, sentences),
    share: 1,
  };
}

/** A proportion with its 95 % interval (Wilson 1927), as the toolkit computes it. */
function wilson(right, of) {
  const z = 1.959963984540054;
  const p = right / of;
  const middle = (p + (z * z) / (2 * of)) / (1 + (z * z) / of);
  const half = ((z / (1 + (z * z) / of)) * Math.sqrt((p * (1 - p)) / of + (z * z) / (4 * of * of)));
  return { value: p, low: middle - half, high: middle + half };
}

/** The numbers in a safetensors file, from its header. */
function parameters(path) {
  const file = openSync(path, "r");
  const length = Buffer.alloc(8);
  readSync(file, length, 0, 8, 0);
  const header = Buffer.alloc(Number(length.readBigUInt64LE()));
  readSync(file, header, 0, header.length, 8);
  closeSync(file);
  const { __metadata__, ...tensors } = JSON.parse(header.toString("utf8"));
  return Object.values(tensors).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

function evaluate(model, dev) {
  const json = execFileSync(join(BIN, "edge-distill"), ["evaluate", model, "--data", dev, "--json"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return JSON.parse(json);
}

/** A program that answers all texts each time it is asked, and says in how many seconds. */
function runner(model, file, exits) {
  const args = ["throughput", model, file, "--threads", String(THREADS), ...(exits ? ["--exits"] : [])];
  const program = spawn(join(BIN, "edge-bench"), args, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
  return {
    async seconds() {
      program.stdin.write("go\n");
      const { value } = await lines.next();
      return Number(value.split(" ", 1)[0]) / 1e9;
    },
    end: () => program.stdin.end(),
  };
}

async function main([dev]) {
  if (!dev) throw new Error("say where the dev set is: node web-demo/scripts/compare.mjs DEV.tsv");
  const folder = mkdtempSync(join(tmpdir(), "edge-compare-"));
  try {
    const bundle = (name, flag) => {
      const path = join(folder, name);
      execFileSync(join(BIN, "edge-export"), [flag, CHECKPOINT, "-o", path], { stdio: ["ignore", "ignore", "inherit"] });
      return path;
    };
    const fp32 = bundle("fp32.edge", "--fp32");
    const int8 = bundle("model.edge", "--int8");
    const texts = join(folder, "texts.txt");
    const rows = readFileSync(dev, "utf8").trimEnd().split("\n").slice(1);
    writeFileSync(texts, rows.map((row) => row.split("\t")[0].trim()).join("\n") + "\n");

    const runners = [runner(fp32, texts, false), runner(int8, texts, false), runner(int8, texts, true)];
    const times = runners.map(() => []);
    for (let round = 0; round < ROUNDS + 1; round++) {
      for (const [i, one] of runners.entries()) {
        const seconds = await one.seconds();
        // The first round warms up.
        if (round > 0) times[i].push(seconds);
      }
    }
    runners.forEach((one) => one.end());
    const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    const speeds = times.map((values) => Math.round(rows.length / median(values)));

    const [evaluated32, evaluated8] = [fp32, int8].map((model) => evaluate(model, dev));
    const size = parameters(join(CHECKPOINT, "model.safetensors"));
    const row = (id, model, speed, { accuracy, share }) => ({
      id,
      parameters: size,
      bytes: statSync(model).size,
      sentencesPerSecond: speed,
      accuracy,
      share,
    });
    const data = {
      measured: {
        date: new Date().toISOString().slice(0, 10),
        machine: cpus()[0].model.trim(),
        threads: THREADS,
        sentences: rows.length,
        rounds: ROUNDS,
      },
      layers: evaluated8.layers,
      models: [
        teacher(rows.length),
        row("student", fp32, speeds[0], evaluated32.full_depth),
        row("int8", int8, speeds[1], evaluated8.full_depth),
        row("exits", int8, speeds[2], evaluated8.early_exit),
      ],
      exits: evaluated8.exits.map(({ layer, accuracy, leave }) => ({ layer, accuracy, leave })),
    };
    writeFileSync(OUTPUT, `${JSON.stringify(data, undefined, 2)}\n`);
    for (const { id, sentencesPerSecond, accuracy } of data.models) console.log(id, sentencesPerSecond, accuracy.value);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`compare.mjs: ${error.message}`);
  process.exitCode = 1;
});
