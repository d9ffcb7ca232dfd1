// The demo page in a browser: opened, asked, waited for.

import { openPage } from "./page.mjs";

/** A demo page; `options` are those of a browser context, such as `colorScheme` and `viewport`. */
export function openDemo(browser, url, options = {}, prepare = undefined) {
  return openPage({ newPage: () => browser.newPage({ locale: "en-US", ...options }) }, url, prepare);
}

/** The whole model is here. */
export async function ready(page) {
  await page.locator("#loaded[data-from]").waitFor({ state: "attached" });
}

/** Chooses the model `full` or `small`. */
export async function chooseTier(page, tier) {
  await page.locator(`#tiers input[value="${tier}"]`).check();
}

/** A model of so many layers answers, and all of it is here. */
export async function inUse(page, layers) {
  await page.waitForFunction((count) => {
    return new RegExp(`, ${count} layers?,`).test(document.getElementById("engine-now").textContent);
  }, layers);
  await ready(page);
}

/** Types a text and waits for its answer. */
export async function ask(page, text) {
  await page.locator("#text").fill(text);
  await answered(page, text);
}

export async function answered(page, text) {
  await page.waitForFunction((text) => {
    const { dataset, ariaBusy } = document.getElementById("answer");
    return dataset.text === text && ariaBusy === "false";
  }, text);
}

/** What the page shows of an answer. */
export function shown(page) {
  return page.evaluate(() => {
    const text = (id) => document.getElementById(id).textContent;
    const exits = [...document.querySelectorAll("#exits li")].map((item) => {
      const part = (name) => Number(item.style.getPropertyValue(name) || NaN);
      return { state: item.dataset.state, part: part("--part"), mark: part("--mark"), said: item.lastElementChild.textContent };
    });
    const { label } = document.getElementById("verdict").dataset;
    const stage = Number(document.getElementById("answer").dataset.stage);
    return { label, stage, exits, verdict: text("verdict"), exit: text("exit"), time: text("time"), tokens: text("tokens") };
  });
}

/** Moves the slider as a hand does. */
export async function setSlider(page, value) {
  await page.locator("#careful").evaluate((slider, value) => {
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }, value);
}

/** Gives the batch a file and waits until it is looked at. */
export async function chooseFile(page, name, content) {
  await page.locator("#file").setInputFiles({ name, mimeType: "text/csv", buffer: Buffer.from(content) });
  await page.waitForFunction((name) => {
    const problem = document.getElementById("batch-problem");
    return document.getElementById("chosen").textContent.startsWith(name) || !problem.hidden;
  }, name);
}

/** Runs the batch to its end; the file that it offers. */
export async function runBatch(page) {
  await page.locator("#start").click();
  return download(page);
}

export async function download(page) {
  const link = page.locator("#download");
  await link.waitFor();
  const [file] = await Promise.all([page.waitForEvent("download"), link.click()]);
  const pieces = [];
  for await (const piece of await file.createReadStream()) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}
