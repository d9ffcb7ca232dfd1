// The GPU engine of the package: answers as the native build does, and gives way to the CPU.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { edgeRun, sentences } from "./lib/native.mjs";
import { launch, openBlank, serve } from "./lib/page.mjs";

/** WebGPU of Chromium on its software adapter. */
const WEBGPU = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
];
const TOLERANCE = 2e-3;
/** As in wasm/tests/gpu_f16.rs. */
const F16_TOLERANCE = 0.5;
let browser, server;

before(async () => {
  browser = await launch(WEBGPU);
  server = await serve();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** A page that has loaded the model; `prepare` changes it before. */
async function loaded(options, prepare) {
  const fetched = [];
  const { page, complaints } = await openBlank(browser, server.url);
  page.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  await prepare?.(page);
  const engine = await page.evaluate(async (options) => {
    const { Classifier } = await import("/pkg/index.js");
    globalThis.classifier = await Classifier.load("/model.edge", options);
    await globalThis.classifier.complete();
    return globalThis.classifier.engine;
  }, options);
  const classify = (texts, policy) =>
    page.evaluate(([t, p]) => globalThis.classifier.classify(t, p ? { policy: p } : {}), [texts, policy]);
  return { page, complaints, fetched, engine, classify };
}

for (const worker of [true, false]) {
  test(`the GPU gives the same exits and logits as native, worker: ${worker}`, async () => {
    const { page, fetched, engine, classify } = await loaded({ engine: "gpu", worker });
    assert.deepEqual([engine.name, engine.arithmetic], ["gpu", "webgpu"]);
    assert.ok(fetched.includes("/pkg/edge_runtime_gpu.wasm"), fetched.join(", "));
    const all = sentences().slice(0, worker ? 64 : 8);
    for (const [args, policy] of [
      [[], undefined],
      [["--policy", "never"], { kind: "never" }],
      [["--policy", "entropy", "--threshold", "0.4"], { kind: "entropy", threshold: 0.4 }],
      [["--policy", "patience", "--threshold", "2"], { kind: "patience", threshold: 2 }],
    ]) {
      // A software adapter takes seconds for a full batch: the policies share what one has proved.
      const texts = policy ? all.slice(0, 16) : all;
      const native = edgeRun(texts, args);
      const web = await classify(texts, policy);
      let worst = 0;
      for (const [i, text] of texts.entries()) {
        const same = ({ label, stage, tokens, truncated }) => ({ label, stage, tokens, truncated });
        assert.deepEqual(same(web[i]), same(native[i]), text);
        for (const [exit, logits] of web[i].exits.entries()) {
          for (const [j, logit] of logits.entries()) {
            worst = Math.max(worst, Math.abs(logit - native[i].exits[exit][j]));
          }
        }
      }
      console.log(`${texts.length} sentences, largest difference of a logit ${worst.toExponential(2)}`);
      assert.ok(worst <= TOLERANCE, `largest difference of a logit: ${worst}`);
    }
    await page.close();
  });
}

test("in f16 the GPU gives logits near those in f32, or says that it has none", async () => {
  const { page } = await openBlank(browser, server.url);
  const texts = sentences().slice(0, 16);
  const { has, problem, engine, answers } = await page.evaluate(async (texts) => {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    const has = adapter.features.has("shader-f16");
    const { Classifier } = await import("/pkg/index.js");
    try {
      const classifier = await Classifier.load("/model.edge", { engine: "gpu-f16" });
      const answers = await classifier.classify(texts, { policy: { kind: "never" } });
      return { has, engine: classifier.engine, answers };
    } catch (error) {
      return { has, problem: `${error.name} ${error.code}: ${error.message}` };
    }
  }, texts);
  await page.close();
  if (!has) {
    assert.match(problem, /^EdgeError engine: .*has no `shader-f16`; use f32/);
    return console.log("NOT RUN: the adapter of this browser has no shader-f16; it says so");
  }
  assert.deepEqual([engine.name, engine.arithmetic], ["gpu", "webgpu-f16"]);
  for (const [i, { exits }] of edgeRun(texts, ["--policy", "never"]).entries()) {
    for (const [j, logit] of exits.flat().entries()) {
      assert.ok(Math.abs(answers[i].exits.flat()[j] - logit) <= F16_TOLERANCE, texts[i]);
    }
  }
});

test("a policy that does not fit is an error of the policy", async () => {
  const { page } = await loaded({ engine: "gpu" });
  const said = await page.evaluate(() =>
    globalThis.classifier
      .classify("a text", { policy: { kind: "confidence", threshold: 2 } })
      .then(() => "classified", (error) => `${error.name} ${error.code}`),
  );
  assert.equal(said, "EdgeError policy");
  await page.close();
});

test("auto does not take a software adapter, loads nothing for it, and says why", async () => {
  const { page, complaints, fetched, classify } = await loaded({ engine: "auto" });
  // The browser may take longer to say what adapter there is than the model to load.
  await page.waitForFunction(() => globalThis.classifier.engine.reason !== undefined);
  const engine = await page.evaluate(() => globalThis.classifier.engine);
  assert.equal(engine.name, "cpu");
  assert.match(engine.reason, /software adapter/);
  assert.deepEqual(fetched.filter((path) => /gpu/.test(path)), []);
  const [answer] = await classify(["what a wonderful film"]);
  assert.equal(answer.label, edgeRun(["what a wonderful film"])[0].label);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("without WebGPU, gpu is an error and auto the CPU", async () => {
  const none = (page) => page.evaluate(() => Object.defineProperty(navigator, "gpu", { value: undefined }));
  const { page, engine } = await loaded({ engine: "auto", worker: false }, none);
  assert.equal(engine.name, "cpu");
  assert.match(engine.reason, /no WebGPU/);
  const said = await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const loading = Classifier.load("/model.edge", { engine: "gpu", worker: false });
    return loading.then(() => "loaded", (error) => `${error.name} ${error.code}: ${error.message}`);
  });
  assert.match(said, /^EdgeError engine: this browser has no WebGPU/);
  await page.close();
});

test("a device that is lost while auto computes leaves the batch to the CPU", async () => {
  // An adapter that does not say what it is, so that auto measures it, by a clock that says it takes no
  // time: each contender looks at the clock five times, the GPU first.
  const hidden = (page) =>
    page.evaluate(() => {
      Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
      Object.defineProperty(GPUAdapterInfo.prototype, "architecture", { get: () => "hidden" });
      const { requestDevice } = GPUAdapter.prototype;
      GPUAdapter.prototype.requestDevice = async function (...args) {
        return (globalThis.device = await requestDevice.apply(this, args));
      };
      let looks = 0;
      let time = 0;
      performance.now = () => (looks++ % 10 < 5 ? time : ++time);
    });
  const { page, classify } = await loaded({ engine: "auto", worker: false }, hidden);
  const measured = () => /faster|slower/.test(globalThis.classifier.engine.reason ?? "");
  await page.waitForFunction(measured, undefined, { timeout: 120_000 });
  const before = await page.evaluate(() => globalThis.classifier.engine);
  assert.equal(before.name, "gpu", before.reason);
  const texts = sentences().slice(0, 24);
  const native = edgeRun(texts);
  const answers = classify(texts);
  await page.evaluate(() => globalThis.device.destroy());
  for (const [i, answer] of (await answers).entries()) assert.equal(answer.label, native[i].label, texts[i]);
  const again = await classify(texts);
  for (const [i, answer] of again.entries()) assert.equal(answer.stage, native[i].stage, texts[i]);
  const engine = await page.evaluate(() => globalThis.classifier.engine);
  assert.equal(engine.name, "cpu");
  await page.close();
});
