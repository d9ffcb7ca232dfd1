// The browser build answers as the native build does.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { edgeRun, sentences } from "./lib/native.mjs";
import { launch, openBlank, serve } from "./lib/page.mjs";
import { ROOT } from "./lib/paths.mjs";

const TOLERANCE = 1e-4;
let browser, server, page, complaints;

before(async () => {
  browser = await launch();
  server = await serve();
  ({ page, complaints } = await openBlank(browser, server.url));
  await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    globalThis.classifier = await Classifier.load("/model.edge");
    await globalThis.classifier.complete();
  });
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const classify = (texts, policy) =>
  page.evaluate(([t, p]) => globalThis.classifier.classify(t, p ? { policy: p } : {}), [texts, policy]);

for (const [name, args, policy] of [
  ["the policy of the bundle", [], undefined],
  ["full depth", ["--policy", "never"], { kind: "never" }],
  [
    "confidence 0.8",
    ["--policy", "confidence", "--threshold", "0.8"],
    { kind: "confidence", threshold: 0.8 },
  ],
]) {
  test(`same exits and logits as native: ${name}`, async () => {
    const texts = sentences();
    assert.ok(texts.length >= 200, `${texts.length} sentences`);
    const native = edgeRun(texts, args);
    const web = await classify(texts, policy);
    assert.equal(native.length, texts.length);
    assert.equal(web.length, texts.length);
    let worst = 0;
    for (const [i, text] of texts.entries()) {
      const same = ({ label, stage, tokens, truncated }) => ({ label, stage, tokens, truncated });
      assert.deepEqual(same(web[i]), same(native[i]), text);
      assert.equal(web[i].exits.length, native[i].exits.length, text);
      for (const [exit, logits] of web[i].exits.entries()) {
        for (const [j, logit] of logits.entries()) {
          worst = Math.max(worst, Math.abs(logit - native[i].exits[exit][j]));
        }
      }
      const sum = Object.values(web[i].probabilities).reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(sum - 1) < 1e-5, `${text}: probabilities sum to ${sum}`);
      assert.deepEqual(Object.keys(web[i].probabilities), Object.keys(native[i].probabilities));
    }
    console.log(`${texts.length} sentences, largest difference of a logit ${worst.toExponential(2)}`);
    assert.ok(worst <= TOLERANCE, `largest difference of a logit: ${worst}`);
  });
}

test("alone or in company, a text gets the same answer", async () => {
  const texts = sentences().slice(0, 8);
  const together = await classify(texts, { kind: "never" });
  for (const [i, text] of texts.entries()) {
    const [alone] = await classify([text], { kind: "never" });
    assert.deepEqual(alone, together[i], text);
  }
});

test("token ids equal the goldens", async () => {
  const goldens = readFileSync(join(ROOT, "tests", "goldens", "tokenizer.jsonl"), "utf8");
  const lines = goldens.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.ok(lines.length >= 2000);
  const ids = await page.evaluate(async (texts) => {
    const all = [];
    for (const text of texts) all.push(Array.from(await globalThis.classifier.tokenize(text)));
    return all;
  }, lines.map((line) => line.text));
  for (const [i, { text, ids: expected }] of lines.entries()) {
    assert.deepEqual(ids[i], expected, JSON.stringify(text.slice(0, 100)));
  }
});

test("nothing was complained about", () => assert.deepEqual(complaints, []));
