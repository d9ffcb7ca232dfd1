// The two models of the page: after a switch everything is that of the other one, and nothing is left of
// the one before.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { answered, ask, chooseTier, inUse, openDemo, ready, runBatch, setSlider, shown } from "./lib/demo.mjs";
import { edgeRun } from "./lib/native.mjs";
import { heldBack, lastEntrySize, launch, manifest, serve } from "./lib/page.mjs";
import { MODEL, ROOT, SMALL } from "./lib/paths.mjs";

const HARD = "The acting is fine but the script never finds its footing.";
const TEXTS = ["A gorgeous, witty, seductive movie.", "A paean to chutzpah, and a snooze.", HARD];
const FILES = { full: MODEL, small: SMALL };
const LAYERS = { full: 6, small: 3 };
const tiers = JSON.parse(readFileSync(join(ROOT, "web-demo", "data", "tiers.json"), "utf8"));

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** The addresses of models that a server was asked for, with the first byte, and whether all was sent. */
function watched(options = {}) {
  const asked = [];
  const onRequest = (request, response) => {
    if (!request.url.endsWith(".edge")) return;
    const [, from] = /^bytes=(\d+)-/.exec(request.headers.range ?? "") ?? [, "0"];
    const one = { name: request.url.slice(1), from: Number(from), closed: false };
    asked.push(one);
    response.on("close", () => {
      one.closed = true;
      one.whole = response.writableFinished;
    });
  };
  return { asked, options: { ...options, onRequest } };
}

/** What stands on the page is the answer that edge-run gives with a model. */
async function checkAnswer(page, text, tier, args = []) {
  await answered(page, text);
  const [native] = edgeRun([text], args, FILES[tier]);
  await page.waitForFunction((tokens) => document.getElementById("tokens").textContent === tokens, String(native.tokens));
  const answer = await shown(page);
  assert.equal(answer.label, native.label, text);
  assert.equal(answer.stage, native.stage, text);
  // Rounded down to tenths of a percent, of numbers that differ in their last digits.
  const [, percent] = /([\d.]+)%$/.exec(answer.verdict);
  const expected = 100 * native.probabilities[native.label];
  assert.ok(Math.abs(Number(percent) + 0.05 - expected) < 0.06, `${text}: ${answer.verdict}, natively ${expected}`);
  assert.equal(answer.exits.length, LAYERS[tier] + 1);
  assert.equal(answer.exits.filter(({ state }) => state !== "unused").length, native.exits.length);
  if (native.stage > 0) assert.equal(answer.exit, `layer ${native.stage} of ${LAYERS[tier]}`);
}

/** A share in percent, rounded to a tenth as it is written in decimals. */
function tenths(share) {
  return (Math.round(Number((1000 * share).toFixed(6))) / 10).toFixed(1);
}

/** Of two logits: by how much one probability is larger than the other. */
function margin([a, b]) {
  return Math.abs(Math.tanh((a - b) / 2));
}

const chosen = (page) => page.locator("#tiers input:checked").inputValue();

test("the two models differ, as natively so on the page", () => {
  // Without this the tests below could not tell one from the other.
  const [full, small] = [MODEL, SMALL].map((model) => edgeRun([HARD], [], model)[0]);
  assert.notEqual(full.tokens, small.tokens);
  assert.ok(Math.abs(full.probabilities.NEGATIVE - small.probabilities.NEGATIVE) > 0.002);
});

test("after a switch the answer, the layers, the curve, the engine's line and the load are those of the other model", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  assert.equal(await chosen(page), "full");
  await ask(page, HARD);
  await checkAnswer(page, HARD, "full");
  const megabytes = (tier) => (tiers[tier].bytes / 1e6).toFixed(1);
  for (const [tier, from] of [["small", "the network"], ["full", "the browser's store"], ["small", "the browser's store"]]) {
    await chooseTier(page, tier);
    await inUse(page, LAYERS[tier]);
    // The text is answered anew without being touched.
    await checkAnswer(page, HARD, tier);
    assert.match(await page.locator("#engine-now").textContent(), new RegExp(`, ${LAYERS[tier]} layers, int8 weights$`));
    assert.match(await page.locator("#arriving").textContent(), new RegExp(`^${megabytes(tier)} MB in \\d+\\.\\d s from ${from}$`));
    const stages = manifest(FILES[tier]).stages.length;
    const rows = page.locator("#waterfall tbody th", { hasText: /^Stage \d$/ });
    assert.equal(await rows.count(), stages);
    await page.waitForFunction(() => document.querySelector("#waterfall tr:last-child .ms").textContent);
    for (const text of TEXTS) {
      await ask(page, text);
      await checkAnswer(page, text, tier);
    }
    // The slider begins where the model's own policy is, and has the points of this one.
    const { own, full, points } = tiers[tier];
    const figures = ({ accuracy, share }) => `${tenths(accuracy)}% right with ${Math.round(100 * share)}% of the layers`;
    assert.equal(await page.locator("#careful-figures").textContent(), figures(own));
    assert.equal(await page.locator("#careful").getAttribute("max"), String(points.length + 1));
    assert.match(await page.locator("#curve > svg").getAttribute("aria-label"), new RegExp(`to ${tenths(full.accuracy)}% with all\\.$`));
    assert.equal(page.workers().length, 1, "the classifier before is disposed of, with its worker");
    assert.equal(await chosen(page), tier);
  }
  // A point of the curve is a policy for this model.
  assert.equal(tiers.small.own.policy.kind, "margin");
  const steps = [...tiers.small.points, { ...tiers.small.own, isOwn: true }].sort((a, b) => a.share - b.share);
  const [{ exits }] = edgeRun([HARD], ["--policy", "never"], SMALL);
  const stageAt = ({ threshold }) => exits.findIndex((logits, exit) => margin(logits) >= threshold[exit]);
  const [own] = edgeRun([HARD], [], SMALL);
  const at = steps.findIndex((step) => !step.isOwn && stageAt(step) !== own.stage);
  assert.notEqual(at, -1, "a policy makes a difference");
  const stage = stageAt(steps[at]);
  await setSlider(page, at);
  await page.waitForFunction((stage) => document.getElementById("answer").dataset.stage === String(stage), stage);
  // Full depth stays full depth.
  await setSlider(page, await page.locator("#careful").getAttribute("max"));
  await chooseTier(page, "full");
  await inUse(page, 6);
  await checkAnswer(page, HARD, "full", ["--policy", "never"]);
  assert.equal(await page.locator("#careful-figures").textContent(), "92.7% right with 100% of the layers");
  assert.deepEqual(complaints, []);
  await page.close();
});

for (const [when, hold] of [
  ["before its first exit can answer", () => tiers.full.bytes - 300_000],
  ["after its first exit could answer", () => lastEntrySize() >> 1],
]) {
  test(`a model that is still arriving is stopped by the choice of the other, ${when}`, async (t) => {
    const { state, options } = heldBack({ hold: hold() });
    const { asked, options: all } = watched(options);
    const server = await serve(all);
    t.after(() => server.close());
    const { page } = await openDemo(browser, server.url);
    await page.locator("#text").fill(HARD);
    if (when.startsWith("after")) {
      await checkAnswer(page, HARD, "full");
      assert.equal(await page.locator("#loaded[data-from]").count(), 0);
      // A question that waits for the last layer, and is never answered by this model.
      await setSlider(page, await page.locator("#careful").getAttribute("max"));
      await page.waitForFunction(() => document.getElementById("answer").ariaBusy === "true");
      await page.waitForTimeout(200);
    } else {
      while (state.sent === 0) await page.waitForTimeout(20);
    }
    await page.evaluate(() => {
      globalThis.problems = [];
      const place = document.getElementById("problem");
      new MutationObserver(() => place.textContent && globalThis.problems.push(place.textContent)).observe(place, { childList: true });
    });
    await chooseTier(page, "small");
    await inUse(page, 3);
    if (when.startsWith("after")) await page.locator("#careful-own").click();
    await checkAnswer(page, HARD, "small");
    assert.equal(page.workers().length, 1);
    const [full] = asked;
    assert.equal(full.name, "model.edge");
    while (!full.closed) await page.waitForTimeout(20);
    assert.equal(full.whole, false, "the rest was not waited for");
    assert.deepEqual(await page.evaluate(() => globalThis.problems), []);
    // And back: what had come of it is not fetched again.
    state.release();
    await chooseTier(page, "full");
    await inUse(page, 6);
    await checkAnswer(page, HARD, "full");
    const last = asked.findLast(({ name }) => name === "model.edge");
    if (when.startsWith("after")) assert.ok(last.from >= 1 << 20, `it went on at ${last.from}`);
    assert.equal(page.workers().length, 1);
    await page.close();
  });
}

test("of quick changes of mind the last one counts", async (t) => {
  const server = await serve({ throttle: 40e6 });
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await page.locator("#text").fill(HARD);
  for (const tier of ["small", "full", "small", "full", "small"]) {
    await chooseTier(page, tier);
    await page.waitForTimeout(60);
  }
  await inUse(page, 3);
  await checkAnswer(page, HARD, "small");
  assert.equal(await chosen(page), "small");
  assert.equal(page.workers().length, 1);
  assert.equal(await page.locator("#problem").isVisible(), false);
  assert.deepEqual(complaints.filter((complaint) => complaint.startsWith("uncaught")), []);
  await page.close();
});

test("an engine is chosen for the model in use, and stays chosen with the other", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await chooseTier(page, "small");
  await inUse(page, 3);
  await page.getByRole("radio", { name: "CPU" }).check();
  await inUse(page, 3);
  await checkAnswer(page, "Somehow, this silly little film won me over.", "small");
  await chooseTier(page, "full");
  await inUse(page, 6);
  assert.equal(await page.locator("#engines input:checked").inputValue(), "cpu");
  assert.match(await page.locator("#engine-now").textContent(), /^CPU, /);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("where the other model cannot be had, the one before stays or comes back", async (t) => {
  const { state, options } = heldBack({ hold: lastEntrySize() >> 1 });
  const server = await serve({ ...options, small: "/no/such/model.edge" });
  t.after(() => server.close());
  const { page } = await openDemo(browser, server.url);
  await ask(page, HARD);
  const refused = page.locator("#tier-reason");
  for (const isComplete of [false, true]) {
    await chooseTier(page, "small");
    await refused.waitFor();
    assert.match(await refused.textContent(), /^“Small” is not available: .*404/);
    if (!isComplete) state.release();
    await inUse(page, 6);
    assert.equal(await chosen(page), "full");
    await checkAnswer(page, HARD, "full");
    await ask(page, TEXTS[0]);
    await checkAnswer(page, TEXTS[0], "full");
    await ask(page, HARD);
    assert.equal(page.workers().length, 1);
    assert.equal(await page.locator("#problem").isVisible(), false);
  }
  assert.match(await page.locator("#arriving").textContent(), /^22\.6 MB in /);
  // The choice may be made again: a server can be mended.
  assert.equal(await page.locator('#tiers input[value="small"]').isDisabled(), false);
  await page.reload();
  await ready(page);
  assert.equal(await chosen(page), "full", "what could not be had is not remembered");
  await page.close();
});

test("the choice is remembered; without that model the next visit has the other", async (t) => {
  const { asked, options } = watched();
  const server = await serve(options);
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await chooseTier(page, "small");
  await inUse(page, 3);
  asked.length = 0;
  await page.reload();
  await inUse(page, 3);
  assert.equal(await chosen(page), "small");
  assert.deepEqual([...new Set(asked.map(({ name }) => name))], ["model-small.edge"], "the other is not even asked for");
  await checkAnswer(page, "Somehow, this silly little film won me over.", "small");
  assert.equal(await page.locator("#tier-full").textContent(), "Full 22.6 MB", "a size is known before the model is");
  assert.deepEqual(complaints, []);
  await page.context().route("**/model-small.edge", (route) => route.fulfill({ status: 404 }));
  await page.reload();
  await inUse(page, 6);
  assert.equal(await chosen(page), "full");
  assert.match(await page.locator("#tier-reason").textContent(), /404/);
  await page.close();
});

test("each model works without a network once it was fetched", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page } = await openDemo(browser, server.url);
  await ready(page);
  await page.getByText("Works offline").waitFor();
  await chooseTier(page, "small");
  await inUse(page, 3);
  await page.getByText("Works offline").waitFor();
  await server.close();
  await page.reload();
  for (const tier of ["small", "full", "small"]) {
    await chooseTier(page, tier);
    await inUse(page, LAYERS[tier]);
    assert.match(await page.locator("#arriving").textContent(), /from the browser's store$/);
    await ask(page, HARD);
    await checkAnswer(page, HARD, tier);
    assert.equal(await page.locator("#offline").isVisible(), true);
  }
  await page.context().close();
});

test("a model that was never fetched cannot be had without a network, and says so", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page } = await openDemo(browser, server.url);
  await ready(page);
  await page.getByText("Works offline").waitFor();
  await server.close();
  await chooseTier(page, "small");
  await page.locator("#tier-reason").waitFor();
  assert.match(await page.locator("#tier-reason").textContent(), /^“Small” is not available: cannot load .*model-small\.edge/);
  await inUse(page, 6);
  await ask(page, HARD);
  await checkAnswer(page, HARD, "full");
  assert.equal(await page.locator("#offline").isVisible(), true);
  await page.context().close();
});

test("the switch is worked with the keyboard, has a name, and speaks both languages", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  const group = page.getByRole("radiogroup", { name: "Model" });
  await group.getByRole("radio", { name: "Full 22.6 MB", exact: true }).focus();
  await page.keyboard.press("ArrowRight");
  await inUse(page, 3);
  const small = group.getByRole("radio", { name: "Small 6.4 MB", exact: true });
  assert.equal(await small.isChecked(), true);
  assert.equal(await small.evaluate((input) => input === document.activeElement), true, "the focus stays");
  await page.keyboard.press("ArrowLeft");
  await inUse(page, 6);
  await page.getByRole("button", { name: "中文" }).click();
  await page.getByRole("radiogroup", { name: "模型" }).getByRole("radio", { name: "小型 6.4 MB" }).check();
  await page.waitForFunction(() => document.getElementById("engine-now").textContent.includes("3 层"));
  assert.deepEqual(complaints, []);
  await page.close();
});

test("while a batch runs the model stays", async (t) => {
  const { state, options } = heldBack({ hold: lastEntrySize() >> 1 });
  const server = await serve(options);
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ask(page, TEXTS[0]);
  // It waits for the last stage.
  await setSlider(page, await page.locator("#careful").getAttribute("max"));
  await page.locator("#lines").fill(TEXTS.join("\n"));
  await page.locator("#start").click();
  for (const id of ["tiers", "engines"]) {
    const states = await page.locator(`#${id} input`).evaluateAll((inputs) => inputs.map(({ disabled }) => disabled));
    assert.ok(states.every(Boolean), id);
  }
  state.release();
  await page.locator("#download").waitFor();
  assert.equal(await page.locator('#tiers input[value="small"]').isDisabled(), false);
  await chooseTier(page, "small");
  // A batch that is begun while another model is on its way is that model's.
  const rows = (await runBatch(page)).trim().split("\r\n").slice(1);
  assert.equal(rows.length, TEXTS.length);
  const native = edgeRun(TEXTS, ["--policy", "never"], SMALL);
  for (const [i, { label, probabilities }] of native.entries()) {
    assert.ok(rows[i].includes(`,${label},`), rows[i]);
    const confidence = Number(new RegExp(`,${label},([\\d.]+),(\\d+),`).exec(rows[i])[1]);
    assert.ok(Math.abs(confidence - probabilities[label]) < 1e-4, rows[i]);
    assert.match(rows[i], new RegExp(`,${label},[\\d.]+,3,`));
  }
  assert.deepEqual(complaints, []);
  await page.close();
});
