// The package brings a build with relaxed SIMD and a plain one, and a browser gets the one that it can run.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sentences } from "./lib/native.mjs";
import { launch, openBlank, serve } from "./lib/page.mjs";

const TOLERANCE = 1e-4;
let browser, server;

before(async () => {
  browser = await launch();
  server = await serve();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** What a browser fetches and answers that has relaxed SIMD, or says that it has not. */
async function visit(relaxed, texts) {
  const { page, complaints } = await openBlank(browser, server.url);
  const fetched = [];
  page.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  const answers = await page.evaluate(
    async ([relaxed, texts]) => {
      const { validate } = WebAssembly;
      // The relaxed dot product is the instruction 0xfd 0x93 0x02.
      if (!relaxed) WebAssembly.validate = (bytes) => !bytes.includes(0x93) && validate(bytes);
      const { Classifier } = await import("/pkg/index.js");
      // In the page's own thread, whose WebAssembly is the one that was changed.
      const classifier = await Classifier.load("/model.edge", { worker: false });
      return classifier.classify(texts, { policy: { kind: "never" } });
    },
    [relaxed, texts],
  );
  assert.deepEqual(complaints, []);
  await page.close();
  return { answers, wasm: fetched.filter((path) => path.endsWith(".wasm")) };
}

test("each browser fetches one build, and both builds answer the same", async () => {
  const texts = sentences().slice(0, 60);
  const relaxed = await visit(true, texts);
  const plain = await visit(false, texts);
  assert.deepEqual(relaxed.wasm, ["/pkg/edge_runtime_relaxed.wasm"]);
  assert.deepEqual(plain.wasm, ["/pkg/edge_runtime_bg.wasm"]);
  for (const [i, text] of texts.entries()) {
    for (const [exit, logits] of plain.answers[i].exits.entries()) {
      for (const [j, logit] of logits.entries()) {
        const difference = Math.abs(logit - relaxed.answers[i].exits[exit][j]);
        assert.ok(difference <= TOLERANCE, `${text}: a logit differs by ${difference}`);
      }
    }
  }
});

test("a browser without SIMD, or without WebAssembly, is told so", async () => {
  for (const lacks of ["SIMD", "WebAssembly"]) {
    const { page } = await openBlank(browser, server.url);
    const said = await page.evaluate(async (lacks) => {
      if (lacks === "SIMD") WebAssembly.validate = () => false;
      else delete globalThis.WebAssembly;
      const { Classifier } = await import("/pkg/index.js");
      const loading = Classifier.load("/model.edge", { worker: false });
      return loading.then(() => "loaded", (error) => `${error.name} ${error.code}: ${error.message}`);
    }, lacks);
    assert.match(said, new RegExp(`^EdgeError unsupported: .*${lacks}`));
    await page.close();
  }
});
