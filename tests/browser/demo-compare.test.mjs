// The compare page, and the data that it and the slider show.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { text as tiersText } from "../../web-demo/scripts/tiers.mjs";
import { openDemo } from "./lib/demo.mjs";
import { launch, manifest, serve } from "./lib/page.mjs";
import { MODEL, ROOT, SMALL } from "./lib/paths.mjs";

const DATA = join(ROOT, "web-demo", "data");
const data = JSON.parse(readFileSync(join(DATA, "compare.json"), "utf8"));

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

test("what the page knows of the models is what the shipped checkpoints make it", () => {
  assert.equal(readFileSync(join(DATA, "tiers.json"), "utf8"), tiersText());
  const tiers = JSON.parse(tiersText());
  assert.deepEqual(Object.keys(tiers), ["full", "small"]);
  for (const [tier, file] of [["full", MODEL], ["small", SMALL]]) {
    const { bytes, sentences, full, own, points } = tiers[tier];
    assert.deepEqual(manifest(file).policy, own.policy, "the bundle carries the same policy");
    assert.equal(bytes, readFileSync(file).length);
    const exits = manifest(file).stages.length;
    for (const { threshold } of points) assert.equal(threshold.length, exits);
    for (const { accuracy } of [full, own, ...points]) {
      const right = accuracy * sentences;
      assert.ok(Math.abs(right - Math.round(right)) < 1e-6, `${tier}: ${right} of ${sentences} sentences`);
    }
  }
});

test("the figures fit the shipped model and each other", () => {
  const [teacher, student, int8, exits, small] = data.models;
  assert.deepEqual(data.models.map(({ id }) => id), ["teacher", "student", "int8", "exits", "small"]);
  assert.equal(small.bytes, readFileSync(SMALL).length);
  assert.ok(small.share > exits.share && small.share < 1);
  assert.equal(int8.bytes, readFileSync(MODEL).length);
  assert.deepEqual([int8.parameters, int8.bytes], [exits.parameters, exits.bytes]);
  assert.ok(student.bytes > 4 * student.parameters && student.bytes < 4.1 * student.parameters, "fp32");
  assert.equal(teacher.sentencesPerSecond, null, "its weights are not kept");
  for (const { accuracy } of data.models) assert.ok(accuracy.low < accuracy.value && accuracy.value < accuracy.high);
  const left = data.exits.reduce((sum, { leave }) => sum + leave, 0);
  assert.equal(left, data.measured.sentences);
  const layers = data.exits.reduce((sum, { layer, leave }) => sum + layer * leave, 0);
  assert.ok(Math.abs(layers / left / data.layers - exits.share) < 1e-9);
});

test("the page shows every figure twice, drawn and in tables", async () => {
  const { page, complaints } = await openDemo(browser, `${server.url}compare.html`);
  await page.locator("#table tbody tr").first().waitFor();
  const rows = await page.locator("#table tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((c) => c.textContent)));
  assert.equal(rows.length, 5);
  assert.equal(rows[4][0], "Small student, int8, with exits");
  const exits = data.models[3];
  const figures = [
    "Student, int8, with exits",
    `${(exits.parameters / 1e6).toFixed(1)} M`,
    `${(exits.bytes / 1e6).toFixed(1)} MB`,
    exits.sentencesPerSecond.toLocaleString("en"),
    `${(100 * exits.accuracy.value).toFixed(2)}%`,
    `${(100 * exits.accuracy.low).toFixed(1)}% – ${(100 * exits.accuracy.high).toFixed(1)}%`,
    `${(100 * exits.share).toFixed(1)}%`,
  ];
  assert.deepEqual(rows[3], figures);
  assert.equal(rows[0][3], "not measured");
  const charts = page.locator("#charts figure");
  assert.equal(await charts.count(), 5);
  const widths = await charts.first().locator("rect.bar").evaluateAll((bars) => bars.map((b) => Number.parseFloat(b.getAttribute("width"))));
  const [teacher] = data.models;
  for (const [i, { bytes }] of data.models.entries()) {
    assert.ok(Math.abs(widths[i] - (100 * bytes) / teacher.bytes) < 0.01, `bar ${i}: ${widths[i]} %`);
  }
  assert.match(await charts.first().locator("svg").getAttribute("aria-label"), /^Size\. Teacher, MPNet-base: 438\.0 MB; /);
  assert.equal(await page.locator("#layers-table tbody tr").count(), data.exits.length);
  const { date, machine } = data.measured;
  // A machine's name may hold brackets: it is no pattern.
  const measured = await page.locator("#measured").textContent();
  assert.ok(measured.includes(`${date} on ${machine}`), measured);
  assert.deepEqual(complaints, []);
  await page.close();
});
