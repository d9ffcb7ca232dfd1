// Us, as plain SIMD128 and as relaxed-SIMD build, and onnxruntime-web in turn in one page of Chromium.
//
//     node bench.mjs [--json] [--parts depth,load] [--rounds 100] [--loads 9] [--tokens 16,32,128]

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launch } from "../../browser/lib/page.mjs";
import { sentences } from "../../browser/lib/native.mjs";
import { Report } from "./report.mjs";
import { HERE } from "./paths.mjs";
import { serve } from "./server.mjs";

const MODEL = "minilm int8";
const OURS = ["edge-runtime, simd128", "edge-runtime, relaxed simd"];
const TARGETS = ["wasm-simd128", "wasm-relaxed-simd"];
const PEERS = {
  "optimized-qint8": "onnxruntime-web, optimized, QInt8",
  "optimized-reduced": "onnxruntime-web, optimized, reduce_range",
  "plain-qint8": "onnxruntime-web, as exported, QInt8",
  "plain-reduced": "onnxruntime-web, as exported, reduce_range",
};
/** How long a browser is busy with a window that it has opened, in milliseconds. */
const SETTLES = 1500;
const WARMUP = 10;
const AGREEMENT = 0.95;
const LOADED = "a film";
const LOADED_IDS = [101, 1037, 2143, 102];

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    parts: { type: "string", default: "depth,load" },
    rounds: { type: "string", default: "100" },
    loads: { type: "string", default: "9" },
    tokens: { type: "string", default: "16,32,128" },
  },
});

const server = await serve();
const browser = await launch();
try {
  const { version } = JSON.parse(
    readFileSync(join(HERE, "node_modules", "onnxruntime-web", "package.json"), "utf8"),
  );
  const processor = `${cpus()[0].model}, ${cpus().length} logical cores`;
  const report = new Report(
    `browser: ${MODEL}, batch 1, one thread`,
    `${processor}; chromium ${browser.version()}, onnxruntime-web ${version}, node ${process.version}`,
  );
  const parts = options.parts.split(",");
  if (parts.includes("depth")) await depth(report);
  if (parts.includes("load")) await load(report);
  report.show(options.json);
} finally {
  await browser.close();
  await server.close();
}

/** A page of a fresh profile, with nothing cached, in a browser that has nothing else to do. */
async function open() {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(`in the page: ${error.message}`));
  await page.goto(server.url);
  await page.waitForTimeout(SETTLES);
  return page;
}

function call(page, name, ...args) {
  return page.evaluate(
    async ([name, args]) => (await import("/bench/page.js"))[name](...args),
    [name, args],
  );
}

async function depth(report) {
  const page = await open();
  const { isolated } = await call(page, "open", Object.keys(PEERS));
  if (!isolated) throw new Error("the page is not isolated, its clock is too coarse");
  const texts = sentences();
  const [plain, ...others] = await call(page, "labels", texts);
  const names = [OURS[1], ...Object.values(PEERS)];
  for (const [i, labels] of others.entries()) {
    const share = labels.filter((label, j) => label === plain[j]).length / texts.length;
    report.note(`${names[i]} gives our label for ${(100 * share).toFixed(1)}% of ${texts.length} sentences`);
    if (share < AGREEMENT) throw new Error(`${names[i]} agrees on only ${share} of the sentences`);
  }
  for (const tokens of options.tokens.split(",").map(Number)) {
    const times = await call(page, "race", tokens, Number(options.rounds), WARMUP);
    const named = Object.fromEntries([...OURS, ...Object.values(PEERS)].map((name, i) => [name, times[i]]));
    report.add(OURS, TARGETS, named, MODEL, tokens);
  }
  await page.context().close();
}

async function load(report) {
  const asks = {
    "edge-runtime, full depth": (page) => call(page, "loadOurs", LOADED, false),
    "edge-runtime, with exits": (page) => call(page, "loadOurs", LOADED, true),
  };
  const ours = Object.keys(asks);
  for (const [model, name] of Object.entries(PEERS)) {
    asks[name] = (page) => call(page, "loadPeer", model, LOADED_IDS);
  }
  const names = Object.keys(asks);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round <= Number(options.loads); round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(round + i) % names.length];
      const page = await open();
      const spent = await asks[name](page);
      await page.context().close();
      if (round > 0) times[name].push(spent);
    }
  }
  const targets = ["wasm", "wasm, with exits"];
  report.add(ours, targets, times, `${MODEL}, cold to answer`, LOADED_IDS.length, { workload: "load" });
}
