// Many texts at once: files of several kinds, the results against edge-run, stopping, and a page that
// stays awake.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { chooseFile, download, openDemo, ready, runBatch, setSlider } from "./lib/demo.mjs";
import { edgeRun, sentences } from "./lib/native.mjs";
import { launch, manifest, serve } from "./lib/page.mjs";

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** A file as Python reads it: a list of objects by column. */
function readCsv(text) {
  const python = "import csv,io,json,sys;print(json.dumps(list(csv.DictReader(io.StringIO(sys.stdin.buffer.read().decode(),newline='')))))";
  return JSON.parse(execFileSync("python3", ["-c", python], { input: text, maxBuffer: 1 << 28 }));
}

function checkAgainstNative(results, texts, args) {
  // edge-run takes a text a line; white space is all one to the tokenizer.
  const native = edgeRun(texts.map((text) => text.replace(/\s+/g, " ")), args);
  assert.equal(results.length, texts.length);
  for (const [i, text] of texts.entries()) {
    const { label, stage, tokens, probabilities } = native[i];
    assert.equal(results[i].label, label, text);
    assert.equal(Number(results[i].left_after_layer), stage, text);
    assert.equal(Number(results[i].tokens), tokens, text);
    assert.ok(Math.abs(results[i].confidence - probabilities[label]) < 1e-4, text);
  }
  return native;
}

async function histogram(page) {
  return page.locator("#histogram li").evaluateAll((bars) => bars.map(({ dataset }) => Number(dataset.count)));
}

test("a CSV with quotes, line ends and commas in its cells gets the answers of edge-run", async () => {
  const { page, complaints } = await openDemo(browser, server.url);
  const texts = [
    ...sentences().slice(0, 60),
    'He said "never again",\r\nand I believe him.',
    "=SUM(of all fears), and a good one",
    "- not for me",
    "première, café, naïve",
  ];
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const file = texts.map((text, i) => `${i},${quoted(text)},${i % 2}\r\n`).join("");
  await chooseFile(page, "reviews.csv", `id,review,stars\r\n${file}`);
  assert.equal(await page.locator("#header").isChecked(), true);
  assert.equal(await page.locator("#column option:checked").textContent(), "review");
  const results = readCsv(await runBatch(page));
  const native = checkAgainstNative(results, texts);
  const formula = /^\s*[=+\-@]/;
  assert.deepEqual(results.map(({ text }) => text), texts.map((text) => (formula.test(text) ? `'${text}` : text)));
  const left = manifest().stages.map((_, stage) => native.filter((answer) => answer.stage === stage).length);
  assert.deepEqual(await histogram(page), left);
  const rows = page.locator("#rows-body tr");
  assert.equal(await rows.count(), 20);
  assert.equal(await rows.first().locator("[data-label]").getAttribute("data-label"), native[0].label);
  assert.match(await page.locator("#batch-said").textContent(), new RegExp(`^Done: ${texts.length} texts, [\\d,]+ a second\\.$`));
  assert.deepEqual(complaints, []);
  await page.close();
});

test("pasted lines, with the policy of the slider", async () => {
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  const texts = sentences().slice(0, 12);
  await page.locator("#lines").fill(`${texts.join("\n")}\n\n`);
  await setSlider(page, 0);
  checkAgainstNative(readCsv(await runBatch(page)), texts, ["--policy", "entropy", "--threshold", "1"]);
  await setSlider(page, await page.locator("#careful").getAttribute("max"));
  checkAgainstNative(readCsv(await runBatch(page)), texts, ["--policy", "never"]);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("another column may be chosen, and the header denied", async () => {
  const { page, complaints } = await openDemo(browser, server.url);
  await chooseFile(page, "two.tsv", 'text\tother\nwonderful\tawful\na "delight"\ta bore\n');
  await page.locator("#column").selectOption("other");
  checkAgainstNative(readCsv(await runBatch(page)), ["awful", "a bore"]);
  await page.locator("#header").uncheck();
  assert.equal(await page.locator("#column option:checked").textContent(), "Column 2");
  await page.locator("#column").selectOption("Column 1");
  checkAgainstNative(readCsv(await runBatch(page)), ["text", "wonderful", 'a "delight"']);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("a file is dropped on the page", async () => {
  const { page, complaints } = await openDemo(browser, server.url);
  await page.locator("#batch").evaluate((target) => {
    const data = new DataTransfer();
    data.items.add(new File(["good\nbad\n"], "dropped.txt"));
    target.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  });
  await page.getByText("dropped.txt").waitFor();
  assert.equal(await page.locator("#columns").isVisible(), false, "lines have no columns");
  checkAgainstNative(readCsv(await runBatch(page)), ["good", "bad"]);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("what is wrong with a file is said", async () => {
  const { page, complaints } = await openDemo(browser, server.url);
  const problem = page.locator("#batch-problem");
  for (const [name, content, words] of [
    ["latin.csv", Buffer.from("text\ncaf\xe9\n", "latin1"), /not UTF-8/],
    ["wide.txt", Buffer.from("\ufeffgood\n", "utf16le"), /UTF-16/],
    ["empty.csv", "", /no rows/],
  ]) {
    await chooseFile(page, name, content);
    assert.match(await problem.textContent(), words, name);
  }
  for (const [name, content, words] of [
    ["ragged.csv", "text,label\ngood,1\nbad\n", /^Line 3 has 1 columns, the first row has 2/],
    ["open.csv", 'text\ngood\n"bad\n', /^The quote that opens in line 3 is never closed/],
  ]) {
    await chooseFile(page, name, content);
    if (!(await problem.isVisible())) await page.locator("#start").click();
    await problem.waitFor();
    assert.match(await problem.textContent(), words, name);
  }
  await page.locator("#lines").fill(" ");
  await page.locator("#start").click();
  assert.match(await problem.textContent(), /no text/);
  assert.deepEqual(complaints, []);
  await page.close();
});

const MANY = 20_000;
const LINES = sentences();
const many = Array.from({ length: MANY }, (_, i) => `${LINES[i % LINES.length]} ${i}`);

test("twenty thousand rows leave the page awake and small", async () => {
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await setSlider(page, 0);
  await page.evaluate(() => {
    globalThis.longest = 0;
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      globalThis.longest = Math.max(globalThis.longest, now - last);
      last = now;
    }, 5);
  });
  await chooseFile(page, "many.txt", `${many.join("\n")}\n`);
  await page.evaluate(() => (globalThis.longest = 0));
  await page.locator("#start").click();
  await page.locator("#download").waitFor({ timeout: 120_000 });
  const { longest, nodes } = await page.evaluate(() => {
    return { longest: globalThis.longest, nodes: document.querySelectorAll("*").length };
  });
  console.log(`the longest pause of the page: ${longest.toFixed(0)} ms; ${nodes} elements`);
  // Without turns in between it would stand still for seconds.
  assert.ok(longest < 500, `the page stood still for ${longest} ms`);
  assert.ok(nodes < 1000, `${nodes} elements`);
  const results = readCsv(await download(page));
  assert.equal(results.length, MANY);
  for (const i of [0, 1, 9_999, MANY - 1]) checkAgainstNative([results[i]], [many[i]], ["--policy", "entropy", "--threshold", "1"]);
  assert.equal((await histogram(page)).reduce((a, b) => a + b), MANY);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("a run can be stopped, and keeps what it has", async () => {
  const { page, complaints } = await openDemo(browser, server.url);
  await ready(page);
  await setSlider(page, await page.locator("#careful").getAttribute("max"));
  await chooseFile(page, "many.txt", `${many.join("\n")}\n`);
  await page.locator("#start").click();
  await page.waitForFunction(() => document.querySelectorAll("#rows-body tr").length > 5);
  assert.equal(await page.locator("#start").isDisabled(), true);
  await page.locator("#stop").click();
  const results = readCsv(await download(page));
  assert.ok(results.length > 5 && results.length < MANY, `${results.length} rows`);
  checkAgainstNative(results.slice(0, 20), many.slice(0, Math.min(20, results.length)), ["--policy", "never"]);
  assert.match(await page.locator("#batch-said").textContent(), /^Stopped: /);
  // And begins anew.
  await page.locator("#lines").fill("good");
  checkAgainstNative(readCsv(await runBatch(page)), ["good"], ["--policy", "never"]);
  assert.deepEqual(complaints, []);
  await page.close();
});
