// After the first visit the site needs no network; another version is taken at the next visit.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serviceWorker, siteFiles } from "../../web-demo/server/site.mjs";
import { ask, openDemo, ready, shown } from "./lib/demo.mjs";
import { edgeRun } from "./lib/native.mjs";
import { launch, serve } from "./lib/page.mjs";
import { ROOT } from "./lib/paths.mjs";

const HARD = "The acting is fine but the script never finds its footing.";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

test("the worker keeps the site's files and its version is a hash of them", async () => {
  const files = await siteFiles();
  const names = [...files.keys()];
  for (const name of ["index.html", "compare.html", "demo.css", "js/demo.js", "js/strings/zh.js", "data/curve.json", "pkg/index.js"]) {
    assert.ok(names.includes(name), name);
  }
  assert.ok(!names.some((name) => /\.mjs$|\.ts$|model\.edge|package\.json/.test(name)), names.join(" "));
  const text = await serviceWorker(files);
  assert.equal(await serviceWorker(files), text);
  assert.ok(text.endsWith(readFileSync(join(ROOT, "web-demo", "service-worker.js"), "utf8")));
  const other = new Map(files).set("demo.css", files.get("index.html"));
  assert.notEqual(await serviceWorker(other), text);
});

test("the page is there without a network, with its model", async () => {
  const server = await serve();
  const { page } = await openDemo(browser, server.url);
  await ready(page);
  await page.getByText("Works offline").waitFor();
  const kept = await page.evaluate(async () => {
    const names = (await caches.keys()).filter((name) => name.startsWith("edge-demo-"));
    const requests = await (await caches.open(names[0])).keys();
    return { names, urls: requests.map(({ url }) => new URL(url).pathname) };
  });
  assert.equal(kept.names.length, 1);
  assert.ok(!kept.urls.includes("/model.edge"), "the package keeps the model itself");
  await server.close();
  await page.reload();
  await ready(page);
  assert.match(await page.locator("#arriving").textContent(), /from the browser's store$/);
  await ask(page, HARD);
  const [native] = edgeRun([HARD]);
  assert.equal((await shown(page)).stage, native.stage);
  assert.equal((await shown(page)).label, native.label);
  await page.getByRole("link", { name: "Compare" }).click();
  await page.locator("#table tbody tr").first().waitFor();
  await page.goto(server.url);
  await page.locator("h1:not(:empty)").waitFor();
  await page.context().close();
});

test("another version waits for the next visit, and the old one is dropped", async () => {
  const server = await serve();
  const context = await browser.newContext({ locale: "en-US" });
  const visit = async () => {
    const page = await context.newPage();
    await page.goto(`${server.url}compare.html`);
    await page.locator("#table tbody tr").first().waitFor();
    return page;
  };
  /** Stands for a change of the site: the worker under another version. */
  const update = (version) =>
    context.route("**/service-worker.js", async (route) => {
      const response = await route.fetch();
      const body = (await response.text()).replace(/^const VERSION = "[^"]+"/, `const VERSION = "${version}"`);
      await route.fulfill({ response, body });
    });
  const cacheNames = (page) => page.evaluate(() => caches.keys());
  const register = (page) =>
    page.evaluate(async () => {
      const registration = await navigator.serviceWorker.register("/service-worker.js");
      await registration.update();
      await navigator.serviceWorker.ready;
      // A worker that is on its way has done all that it can do while this page is open.
      while (registration.installing) await new Promise((resolve) => setTimeout(resolve, 20));
      return { waits: registration.waiting !== null };
    });
  await update("one");
  const first = await visit();
  assert.deepEqual(await register(first), { waits: false });
  assert.deepEqual(await cacheNames(first), ["edge-demo-one"]);
  await context.unroute("**/service-worker.js");
  await update("two");
  assert.deepEqual(await register(first), { waits: true });
  assert.deepEqual(await cacheNames(first), ["edge-demo-one", "edge-demo-two"]);
  await first.close();
  const second = await visit();
  await second.waitForFunction(async () => {
    const names = await caches.keys();
    return names.length === 1 && names[0] === "edge-demo-two";
  });
  await context.close();
  await server.close();
});
