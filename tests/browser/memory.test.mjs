// Memory: the weights are held once, nothing grows with use, and all of it is given back.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { edgeExport } from "./lib/native.mjs";
import { launch, openBlank, serve } from "./lib/page.mjs";
import { MODEL, ROOT } from "./lib/paths.mjs";

/** The most memory at any moment of loading, as a multiple of the model's size. */
const PEAK = 1.6;
/** What collected garbage and compiled code may add to the heap after the first hundred calls. */
const SLACK = 256 << 10;

let folder, browser, server, small;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "edge-memory-"));
  const model = join(folder, "model.edge");
  edgeExport(join(ROOT, "models", "fixtures", "bert-exits"), model);
  browser = await launch();
  server = await serve();
  small = await serve({ model });
});
after(async () => {
  await browser?.close();
  await server?.close();
  await small?.close();
  if (folder) rmSync(folder, { recursive: true });
});

/** A page, and what its JavaScript holds: bytes of objects, and of buffers beside them. */
async function open(url = server.url) {
  const { page } = await openBlank(browser, url);
  const devtools = await page.context().newCDPSession(page);
  const held = async ({ collect }) => {
    if (collect) await devtools.send("HeapProfiler.collectGarbage");
    const { usedSize, backingStorageSize } = await devtools.send("Runtime.getHeapUsage");
    return usedSize + backingStorageSize;
  };
  return { page, held };
}

test(`loading takes at most ${PEAK} times the model's size, with what waits to be collected`, async () => {
  const { page, held } = await open();
  const before = await held({ collect: true });
  let peak = 0;
  await page.exposeFunction("look", async () => {
    peak = Math.max(peak, (await held({ collect: false })) - before);
  });
  const memory = await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    let looking = true;
    const look = async () => {
      while (looking) await globalThis.look();
    };
    const watched = look();
    const classifier = await Classifier.load("/model.edge", { worker: false });
    await classifier.complete();
    await classifier.classify("a text", { policy: { kind: "never" } });
    looking = false;
    await watched;
    return classifier.memory();
  });
  const model = statSync(MODEL).size;
  const times = (bytes) => (bytes / model).toFixed(2);
  console.log(`# WebAssembly ${times(memory)}, JavaScript ${times(peak)} times the model's size at most`);
  assert.ok(memory >= model, "the weights are in the WebAssembly memory");
  assert.ok(memory + peak <= PEAK * model, `${memory} and ${peak} bytes for a model of ${model}`);
  await page.close();
});

test("10,000 classifications leave the memory where it was after the first 100", async () => {
  const { page, held } = await open(small.url);
  const start = () =>
    page.evaluate(async () => {
      const { Classifier } = await import("/pkg/index.js");
      globalThis.classifier = await Classifier.load("/model.edge", { worker: false });
    });
  /**
   * So many texts of 1 to 40 words, drawn by a generator that gives the same each time; first of all
   * the longest that can be drawn.
   */
  const classify = (count) =>
    page.evaluate(async (count) => {
      let state = 1;
      const draw = (n) => (state = (state * 48271) % 0x7fffffff) % n;
      const words = ["a", "film", "of", "great", "beauty", "that", "never", "arrives"];
      for (let i = 0; i < count; i++) {
        const text =
          i < words.length
            ? `${words[i]} `.repeat(40)
            : Array.from({ length: 1 + draw(40) }, () => words[draw(words.length)]).join(" ");
        await globalThis.classifier.classify(text, { policy: { kind: "never" } });
      }
      return globalThis.classifier.memory();
    }, count);
  await start();
  const memory = await classify(100);
  const heap = await held({ collect: true });
  assert.equal(await classify(10_000), memory, "WebAssembly memory");
  const grown = (await held({ collect: true })) - heap;
  assert.ok(grown <= SLACK, `the heap grew by ${grown} bytes`);
  await page.close();
});

test("a classifier that is disposed of gives its memory to the next", async () => {
  const { page, held } = await open(small.url);
  const loads = (count) =>
    page.evaluate(async (count) => {
      const { Classifier } = await import("/pkg/index.js");
      let memory;
      for (let i = 0; i < count; i++) {
        const classifier = await Classifier.load("/model.edge", { worker: false });
        await classifier.complete();
        await classifier.classify("a text", { policy: { kind: "never" } });
        memory = await classifier.memory();
        classifier.dispose();
      }
      return memory;
    }, count);
  const memory = await loads(5);
  const heap = await held({ collect: true });
  assert.equal(await loads(50), memory, "WebAssembly memory");
  const grown = (await held({ collect: true })) - heap;
  assert.ok(grown <= SLACK, `the heap grew by ${grown} bytes`);
  await page.close();
});
