// The page for everybody: contrast in both schemes, keyboard, names, languages, a phone.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ask, chooseFile, openDemo, ready, runBatch, shown } from "./lib/demo.mjs";
import { launch, openPage, serve } from "./lib/page.mjs";
import { ROOT } from "./lib/paths.mjs";
import en from "../../web-demo/js/strings/en.js";
import zh from "../../web-demo/js/strings/zh.js";

const TURNS = "Somehow, this silly little film won me over.";
const HARD = "The acting is fine but the script never finds its footing.";

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** The page with everything on it that it can show. */
async function everything(options, text = TURNS) {
  const { page, complaints } = await openDemo(browser, server.url, options);
  await ready(page);
  await ask(page, text);
  await page.locator(`#words[data-text="${text}"]`).waitFor();
  await chooseFile(page, "a.csv", "text,label\na good film,1\na bad film,0\n");
  await runBatch(page);
  await page.locator("#offline").waitFor();
  return { page, complaints };
}

/** Runs in the page: texts whose contrast is below WCAG's AA, and how many there are. */
function weakTexts() {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
  const ground = (element) => {
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(e);
    return chain.reduce((below, e) => over(rgba(getComputedStyle(e).backgroundColor), below), [255, 255, 255]);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const weak = [];
  let count = 0;
  const check = (element, color, style, words) => {
    const below = ground(element instanceof SVGElement ? element.closest("svg").parentElement : element);
    const size = Number.parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const found = contrast(over(rgba(color), below), below);
    count++;
    if (found < (isLarge ? 3 : 4.5)) weak.push(`${found.toFixed(2)} ${words}`);
  };
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data.trim()).join("");
    // Controls that cannot be used are exempt.
    if (!element.checkVisibility() || element.closest(".unseen, :disabled")) continue;
    const style = getComputedStyle(element);
    if (words) check(element, element instanceof SVGElement ? style.fill : style.color, style, words);
    if (element.placeholder) check(element, getComputedStyle(element, "::placeholder").color, style, element.placeholder);
    if (element.value && element.tagName === "TEXTAREA") check(element, style.color, style, element.value);
  }
  // What is drawn: the column of the exit that answered, and the mark of a policy that has one.
  for (const [selector, property] of [['#exits [data-state="left"] .fill', "backgroundColor"], ["#curve .now", "fill"], ["#curve .line", "stroke"]]) {
    const element = document.querySelector(selector);
    const place = element instanceof SVGElement ? element.closest("svg").parentElement : element.parentElement;
    const found = contrast(rgba(getComputedStyle(element)[property]).slice(0, 3), ground(place));
    count++;
    if (found < 3) weak.push(`${found.toFixed(2)} ${selector}`);
  }
  return { weak, count };
}

for (const colorScheme of ["light", "dark"]) {
  test(`contrast is AA in the ${colorScheme} scheme`, async () => {
    for (const text of [TURNS, HARD]) {
      const { page, complaints } = await everything({ colorScheme }, text);
      const ink = await page.evaluate(() => getComputedStyle(document.body).color);
      assert.match(ink, colorScheme === "dark" ? /rgb\(2\d\d/ : /rgb\(\d\d,/);
      const { weak, count } = await page.evaluate(weakTexts);
      assert.ok(count > 100, `${count} texts were found`);
      assert.deepEqual(weak, []);
      assert.deepEqual(complaints, []);
      await page.close();
    }
  });
}

test("all controls are reached with the keyboard, in their order, and are seen there", async () => {
  const { page, complaints } = await everything({});
  const expected = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, input, select, textarea, [tabindex]")];
    const usable = all.filter((e) => e.checkVisibility() && !e.disabled && (e.type !== "radio" || e.checked));
    usable.forEach((e, i) => (e.dataset.order = i));
    // Where Tab begins: at the top, and not where the last click was.
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
    return usable.length;
  });
  assert.ok(expected >= 19, `${expected} controls`);
  for (let i = 0; i < expected; i++) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const e = document.activeElement;
      const shownAt = e.matches(".segments input") ? e.nextElementSibling : e.matches("[type=file]") ? e.closest("label") : e;
      const { outlineStyle, outlineWidth } = getComputedStyle(shownAt);
      return { order: Number(e.dataset.order), outline: `${outlineStyle} ${outlineWidth}`, html: e.outerHTML.slice(0, 80) };
    });
    assert.equal(focus.order, i, focus.html);
    assert.equal(focus.outline, "solid 3px", focus.html);
  }
  // The slider and the examples work with keys.
  const own = (await shown(page)).stage;
  await page.locator("#careful").focus();
  await page.keyboard.press("Home");
  await page.waitForFunction(() => document.getElementById("answer").dataset.stage === "0");
  await page.locator("#careful-own").focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction((stage) => document.getElementById("answer").dataset.stage === String(stage), own);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("every control and region has a name, every list its items", async () => {
  const { page } = await everything({});
  const tree = await page.locator("body").ariaSnapshot();
  const nameless = tree.split("\n").filter((line) => /^\s*- (button|link|textbox|slider|radio|checkbox|combobox|progressbar|table|region|group|radiogroup|img|navigation)(:?$| \[)/.test(line));
  assert.deepEqual(nameless, [], tree);
  for (const line of ["textbox \"A sentence from a film review\"", "slider \"Fast or careful?\"", "radio \"Automatic\"", "radiogroup \"Model\"", "radio \"Full 22.6 MB\" [checked]", "radio \"Small 6.4 MB\"", "progressbar \"Progress\""]) {
    assert.ok(tree.includes(line), `${line} in\n${tree}`);
  }
  assert.match(tree, /listitem: "?After embeddings: Negative 87\.\d%\. It leaves at 9\d\.\d%, so it went on\./);
  assert.match(tree, /listitem: "?After layer 3: Positive 94\.\d%\. It left here\./);
  assert.match(tree, /listitem: "?After layer 6: not computed\./);
  for (const id of ["spoken", "status", "engine-now", "batch-said"]) {
    assert.equal(await page.locator(`#${id}`).getAttribute("role"), "status", id);
  }
  await page.close();
});

test("the languages have the same strings, and the pages use no other", () => {
  assert.deepEqual(Object.keys(zh), Object.keys(en));
  const names = (string) => [...new Set(JSON.stringify(string).match(/\{\w+\}/g))].sort();
  for (const key of Object.keys(en)) assert.deepEqual(names(zh[key]), names(en[key]), key);
  const folder = join(ROOT, "web-demo");
  const files = ["index.html", "compare.html", ...readdirSync(join(folder, "js")).filter((n) => n.endsWith(".js")).map((n) => `js/${n}`)];
  const text = files.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
  const used = [...text.matchAll(/data-t(?:-\w+)?="(\w+)"|\bt\("(\w+)"/g)].map(([, a, b]) => a ?? b);
  assert.ok(used.length > 80);
  for (const key of used) assert.ok(key in en, key);
  for (const key of Object.keys(en)) assert.match(text, new RegExp(`\\b${key}\\b`), `${key} is used nowhere`);
});

test("the language is the browser's, then the one that was chosen", async () => {
  const { page, complaints } = await openDemo(browser, server.url, { locale: "zh-CN" });
  await ready(page);
  await ask(page, TURNS);
  const lang = () => page.locator("html").getAttribute("lang");
  assert.equal(await lang(), "zh-Hans");
  assert.equal(await page.locator("h1").textContent(), zh.title);
  assert.match((await shown(page)).verdict, /^正面 94\.\d%$/);
  await page.getByRole("button", { name: "English" }).click();
  assert.equal(await lang(), "en");
  assert.match((await shown(page)).verdict, /^Positive 94\.\d%$/);
  assert.match(await page.title(), /^Praise or blame\? – /);
  assert.equal(await page.getByRole("button", { name: "English" }).getAttribute("aria-pressed"), "true");
  await page.goto(`${server.url}compare.html`);
  assert.equal(await lang(), "en", "it is remembered");
  await page.getByRole("button", { name: "中文" }).click();
  assert.equal(await page.locator("h1").textContent(), zh.compareTitle);
  await page.goto(server.url);
  assert.equal(await lang(), "zh-Hans");
  // Nothing English is left over but the examples and names of things.
  await ready(page);
  await ask(page, HARD);
  const leftover = await page.evaluate((strings) => {
    const text = document.body.innerText;
    return strings.filter((string) => text.includes(string));
  }, Object.entries(en).filter(([key, value]) => typeof value === "string" && value !== zh[key] && value.length > 6 && !value.includes("{")).map(([, value]) => value));
  assert.deepEqual(leftover, []);
  assert.deepEqual(complaints, []);
  await page.close();
});

test("a phone shows everything without scrolling sideways", async () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  for (const locale of ["en-US", "zh-CN"]) {
    const { page } = await everything({ ...phone, locale });
    const width = () => page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.deepEqual(await width(), [390, 390]);
    await page.goto(`${server.url}compare.html`);
    await page.locator("#table tbody").waitFor();
    assert.deepEqual(await width(), [390, 390]);
    await page.close();
  }
});

test("without motion where none is wanted", async () => {
  const { page } = await openDemo(browser, server.url, { reducedMotion: "reduce" });
  await ready(page);
  await ask(page, TURNS);
  const durations = await page.locator("#exits .fill").evaluateAll((all) => all.map((e) => getComputedStyle(e).transitionDuration));
  assert.deepEqual([...new Set(durations)], ["0s"]);
  await page.close();
});

test("the server's policy is as strict as it was, and the pages keep to it", async () => {
  const response = await fetch(server.url);
  assert.equal(response.headers.get("content-security-policy"), "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'");
  for (const path of ["", "compare.html"]) {
    const requests = [];
    const { page, complaints } = await openPage(browser, `${server.url}${path}`, (page) => page.on("request", (r) => requests.push(r.url())));
    await page.locator("h1:not(:empty)").waitFor();
    await page.waitForLoadState("networkidle");
    assert.deepEqual(complaints, []);
    for (const url of requests) assert.ok(url.startsWith(server.url) || url.startsWith("blob:"), url);
    await page.close();
  }
});
