// The page in a real browser: the model streams in, sentences get their answers.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { edgeRun } from "./lib/native.mjs";
import { heldBack, lastEntrySize, launch, manifest, openPage, serve } from "./lib/page.mjs";

const EASY = "A gorgeous, witty, seductive movie.";
/** The page has a policy of its own for a model that brings none. */
const POLICY = manifest().policy ? [] : ["--policy", "confidence", "--threshold", "0.9"];
let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

test("sentences get their answers", async () => {
  const server = await serve();
  const { page, complaints } = await openPage(browser, server.url);
  await page.getByText("Model ready").waitFor();
  assert.equal(await page.getByRole("progressbar").isVisible(), false, "the bar goes when it is full");
  for (const text of [EASY, "One long string of cliches.", "Not nearly as bad as I had feared."]) {
    const [native] = edgeRun([text], POLICY);
    await page.getByLabel("A sentence from a film review").fill(text);
    await page.getByRole("button", { name: "Classify" }).click();
    const exits = page.locator("#exits li");
    await page.locator(`#answer:not(.waiting)[data-stage="${native.stage}"]`).waitFor();
    assert.equal(await page.locator("#label").textContent(), native.label);
    assert.match(await page.locator("#confidence").textContent(), /^\d+(\.\d)?%$/);
    assert.match(await page.locator("#exit").textContent(), /^layer \d+ of \d+$/);
    assert.match(await page.locator("#time").textContent(), /^\d+\.\d ms$/);
    assert.equal(await page.locator("#tokens").textContent(), String(native.tokens));
    assert.equal(await exits.count(), native.exits.length);
  }
  assert.deepEqual(complaints, []);
  await page.close();
  await server.close();
});

test("an easy sentence is answered before the last stage has arrived", async () => {
  const { state, options } = heldBack({ hold: lastEntrySize() >> 1, throttle: 20e6 });
  const server = await serve(options);
  const { page, complaints } = await openPage(browser, server.url);
  await page.getByLabel("A sentence from a film review").fill(EASY);
  await page.keyboard.press("Enter");
  await page.locator("#answer:not(.waiting)").waitFor();
  const status = await page.locator("#arriving").textContent();
  assert.ok(state.sent < state.total, `${state.sent} of ${state.total} bytes had been sent`);
  const [, ready, total] = status.match(/(\d+) of (\d+) stages/).map(Number);
  assert.ok(ready < total, status);
  assert.ok(Number(await page.locator("#answer").getAttribute("data-stage")) < total - 1);
  state.release();
  await page.getByText("Model ready").waitFor();
  assert.deepEqual(complaints, []);
  await page.close();
  await server.close();
});

test("a model that cannot be loaded is reported on the page", async () => {
  const server = await serve({ model: "/no/such/model.edge" });
  const { page, complaints } = await openPage(browser, server.url);
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /the server says 404/);
  assert.equal(complaints.filter((c) => c.startsWith("uncaught")).length, 0, complaints.join("\n"));
  await page.close();
  await server.close();
});

test("the page works with the keyboard and has a name for every control", async () => {
  const server = await serve();
  const { page } = await openPage(browser, server.url);
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, textarea, progress")]
      .filter((e) => !(e.textContent.trim() || e.labels?.length || e.ariaLabel))
      .map((e) => e.outerHTML),
  );
  assert.deepEqual(nameless, []);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "text");
  await page.keyboard.press("Enter");
  await page.locator("#answer:not(.waiting)").waitFor();
  await page.close();
  await server.close();
});
