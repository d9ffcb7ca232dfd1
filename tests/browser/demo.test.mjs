// The page in a real browser: sentences get the answers of edge-run, and what is drawn is what was computed.

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { after, before, test } from "node:test";
import { answered, ask, openDemo, ready, setSlider, shown } from "./lib/demo.mjs";
import { edgeRun } from "./lib/native.mjs";
import { heldBack, lastEntrySize, launch, manifest, serve } from "./lib/page.mjs";
import { MODEL } from "./lib/paths.mjs";

const EASY = "A gorgeous, witty, seductive movie.";
const HARD = "The acting is fine but the script never finds its footing.";
const TURNS = "Somehow, this silly little film won me over.";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** The largest probability of two logits, from 0 at chance to 1. */
function partOf([a, b]) {
  return 2 / (1 + Math.exp(-Math.abs(a - b))) - 1;
}

test("sentences get their answers, drawn exit by exit", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  const exits = manifest().stages.length;
  for (const text of [EASY, "One long string of cliches.", HARD, TURNS, "!"]) {
    const [native] = edgeRun([text]);
    await ask(page, text);
    const answer = await shown(page);
    assert.equal(answer.label, native.label, text);
    assert.equal(answer.stage, native.stage, text);
    assert.equal(answer.tokens, String(native.tokens), text);
    assert.match(answer.verdict, native.label === "POSITIVE" ? /^Positive \d+\.\d%$/ : /^Negative \d+\.\d%$/);
    const exit = native.stage === 0 ? "embeddings" : `layer ${native.stage} of ${exits - 1}`;
    assert.equal(answer.exit, exit);
    assert.match(answer.time, /^\d+\.\d ms$/);
    assert.equal(answer.exits.length, exits);
    for (const [i, { state, part, mark, said }] of answer.exits.entries()) {
      const logits = native.exits[i];
      const isLast = i === native.exits.length - 1;
      assert.equal(state, logits ? (isLast ? "left" : "stayed") : "unused", `${text} exit ${i}`);
      assert.ok(Math.abs(part - (logits ? partOf(logits) : 0)) < 2e-3, `${text} exit ${i}: ${part}`);
      if (!logits) assert.match(said, /not computed/);
      // A text leaves where it reaches the mark, and only there; the last exit has none.
      else if (i < exits - 1) assert.equal(part >= mark, isLast, `${text} exit ${i}: ${part} at ${mark}`);
      else assert.ok(Number.isNaN(mark));
    }
  }
  assert.deepEqual(complaints, []);
  await page.close();
});

test("while one types, only the last text counts", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await page.locator("#text").fill("");
  await page.locator("#text").pressSequentially(HARD, { delay: 10 });
  await answered(page, HARD);
  const [native] = edgeRun([HARD]);
  assert.equal((await shown(page)).stage, native.stage);
  await page.locator("#text").fill("  ");
  await page.locator('#verdict[data-tone="none"]').waitFor();
  assert.equal((await shown(page)).verdict, "–");
  await page.getByRole("button", { name: EASY }).click();
  await answered(page, EASY);
  assert.match(await page.locator("#spoken").textContent(), /^$|^\w+, [\d.]+%, left after/);
  await page.waitForFunction(() => /^Positive, 9\d/.test(document.getElementById("spoken").textContent));
  assert.deepEqual(complaints, []);
  await page.close();
});

test("an easy sentence is answered before the last stage has arrived", async (t) => {
  const { state, options } = heldBack({ hold: lastEntrySize() >> 1, throttle: 20e6 });
  const server = await serve(options);
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ask(page, EASY);
  const status = await page.locator("#arriving").textContent();
  assert.ok(state.sent < state.total, `${state.sent} of ${state.total} bytes had been sent`);
  const [, arrived, total] = status.match(/(\d+) of (\d+) stages/).map(Number);
  assert.ok(arrived < total, status);
  assert.ok((await shown(page)).stage < total - 1);
  state.release();
  await ready(page);
  assert.match(await page.locator("#status").textContent(), /^Model ready: all \d+ stages\.$/);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("a model that cannot be loaded is reported on the page", async (t) => {
  const server = await serve({ model: "/no/such/model.edge" });
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  const alert = page.locator("#problem");
  await alert.waitFor();
  assert.match(await alert.textContent(), /404/);
  assert.equal(complaints.filter((c) => c.startsWith("uncaught")).length, 0, complaints.join("\n"));
  await page.close();
});

test("the slider goes from the first exit to full depth, by way of the model's own policy", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await ask(page, HARD);
  const slider = page.locator("#careful");
  const figures = page.locator("#careful-figures");
  const [own] = edgeRun([HARD]);
  assert.equal((await shown(page)).stage, own.stage);
  assert.equal(await figures.textContent(), "92.4% right with 32% of the layers");
  const at = { own: await slider.inputValue(), full: await slider.getAttribute("max") };

  const stageAt = async (value, expected) => {
    await setSlider(page, value);
    await page.waitForFunction((stage) => document.getElementById("answer").dataset.stage === String(stage), expected);
    assert.equal((await shown(page)).exits.filter(({ state }) => state !== "unused").length, expected + 1);
  };
  const [fast] = edgeRun([HARD], ["--policy", "entropy", "--threshold", "1"]);
  await stageAt(0, fast.stage);
  assert.equal(await figures.textContent(), "83.4% right with 0% of the layers");
  const [full] = edgeRun([HARD], ["--policy", "never"]);
  await stageAt(at.full, full.stage);
  assert.equal(await figures.textContent(), "92.7% right with 100% of the layers");
  assert.equal(await slider.getAttribute("aria-valuetext"), await figures.textContent());

  await page.getByRole("button", { name: "The model's own" }).click();
  await page.waitForFunction((stage) => document.getElementById("answer").dataset.stage === String(stage), own.stage);
  assert.equal(await slider.inputValue(), at.own);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("the words that matter are those without which the answer changes", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await ask(page, HARD);
  await page.locator(`#words[data-text="${HARD}"]`).waitFor();
  const found = await page.locator("#words span").evaluateAll((words) => {
    return words.map(({ textContent, dataset }) => ({ word: textContent, points: Number(dataset.points), tone: dataset.tone }));
  });
  const words = HARD.replace(".", "").split(" ");
  assert.deepEqual(found.map(({ word }) => word), words);
  // Words of this sentence stand once each.
  const [whole, ...without] = edgeRun([HARD, ...words.map((word) => HARD.replace(word, ""))], ["--policy", "never"]);
  const { label } = edgeRun([HARD])[0];
  for (const [i, { word, points, tone }] of found.entries()) {
    const expected = 100 * (whole.probabilities[label] - without[i].probabilities[label]);
    assert.ok(Math.abs(points - expected) < 0.2, `${word}: ${points}, natively ${expected}`);
    if (Math.abs(expected) > 1) assert.equal(tone, expected > 0 ? "negative" : "positive", word);
  }
  const most = found.toSorted((a, b) => b.points - a.points)[0];
  assert.equal(most.word, "never");
  assert.match(await page.locator("#words-summary").textContent(), /^For Negative: “never” \+\d+/);
  const long = Array(101).fill("good").join(" ");
  await ask(page, long);
  await page.getByText("at most 100 words; this one has 101").waitFor();
  assert.deepEqual(complaints, []);
  await page.close();
});

test("the waterfall tells what came when", async (t) => {
  const server = await serve({ throttle: 30e6 });
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await answered(page, TURNS);
  await page.waitForFunction(() => [...document.querySelectorAll("#waterfall .ms")].every((cell) => cell.textContent));
  const rows = await page.locator("#waterfall tbody tr").evaluateAll((rows) =>
    rows.map((row) => {
      const [name, , until, size] = [...row.children].map((cell) => cell.textContent);
      return { name, until: Number(until.replaceAll(",", "")), size };
    }),
  );
  const stages = manifest().stages.map((_, stage) => `Stage ${stage}`);
  assert.deepEqual(rows.map(({ name }) => name), ["Page", "Code", "Manifest", "Tokenizer", ...stages, "Can answer", "Answered"]);
  const until = Object.fromEntries(rows.map(({ name, until }) => [name, until]));
  const order = ["Manifest", "Tokenizer", ...stages].map((name) => until[name]);
  assert.deepEqual(order, order.toSorted((a, b) => a - b));
  assert.ok(until["Can answer"] <= until.Answered);
  assert.ok(until["Stage 0"] <= until["Can answer"] + 1, "the first exit needs the first stage");
  assert.ok(until["Can answer"] < until[stages.at(-1)], "and not the last");
  const sizes = rows.slice(2, -2).map(({ size }) => Number.parseFloat(size) * (size.endsWith("MB") ? 1e6 : 1e3));
  const sum = sizes.reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum / statSync(MODEL).size - 1) < 0.02, `${sum} bytes`);
  assert.match(await page.locator("#arriving").textContent(), /^22\.\d MB in \d+\.\d s from the network$/);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("another engine may be chosen, and one that is not there says why", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  const now = page.locator("#engine-now");
  assert.match(await now.textContent(), /^(CPU, (relaxed-simd|simd128)|GPU, webgpu), 6 layers, int8 weights$/);
  await page.getByRole("radio", { name: "CPU" }).check();
  await page.waitForFunction(() => /^CPU, /.test(document.getElementById("engine-now").textContent));
  await ready(page);
  assert.match(await page.locator("#arriving").textContent(), /from the browser's store$/);
  const gpu = page.getByRole("radio", { name: "GPU" });
  await gpu.check();
  await page.waitForFunction(() => !document.getElementById("engine-reason").hidden || /^GPU/.test(document.getElementById("engine-now").textContent));
  const [native] = edgeRun([HARD]);
  await ask(page, HARD);
  assert.deepEqual([(await shown(page)).label, (await shown(page)).stage], [native.label, native.stage]);
  if (/^GPU/.test(await now.textContent())) assert.equal(await gpu.isChecked(), true);
  else {
    assert.match(await page.locator("#engine-reason").textContent(), /^GPU is not available here: \w.+/);
    assert.equal(await gpu.isDisabled(), true);
    assert.equal(await page.getByRole("radio", { name: "CPU" }).isChecked(), true);
    assert.match(await now.textContent(), /^CPU, /);
    assert.match(await page.locator("#arriving").textContent(), /from the browser's store$/);
  }
  assert.deepEqual(complaints, []);
  await page.close();
});
