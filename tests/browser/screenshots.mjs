#!/usr/bin/env node
// Takes the pictures of the demo in docs/images: `node tests/browser/screenshots.mjs`, after `./demo --no-serve`
// and `node tests/browser/run.mjs`, which install what it needs. The page has a word in Chinese: it takes a font such
// as that of Debian's fonts-wqy-microhei.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask, openDemo, ready } from "./lib/demo.mjs";
import { launch, serve } from "./lib/page.mjs";
import { ROOT } from "./lib/paths.mjs";
import { withPalette } from "./lib/png.mjs";

const FOLDER = join(ROOT, "docs", "images");
const TEXT = "Somehow, this silly little film won me over.";

mkdirSync(FOLDER, { recursive: true });
const browser = await launch();
const server = await serve();
for (const [name, width, height] of [["demo-desktop", 1280, 940], ["demo-phone", 390, 844]]) {
  const { page } = await openDemo(browser, server.url, { viewport: { width, height }, colorScheme: "light" });
  await ready(page);
  // Asked again, so that the time is that of the answer and not of the model's arrival.
  await ask(page, `${TEXT} `);
  await ask(page, TEXT);
  await page.locator(`#words[data-text="${TEXT}"]`).waitFor();
  await page.locator("#offline").waitFor();
  // The columns have grown.
  await page.waitForFunction(() => document.getAnimations().length === 0);
  await page.evaluate(() => document.activeElement.blur());
  const image = withPalette(await page.screenshot());
  writeFileSync(join(FOLDER, `${name}.png`), image);
  console.log(`${name}.png: ${Math.ceil(image.length / 1000)} kB`);
  await page.close();
}
await browser.close();
await server.close();
