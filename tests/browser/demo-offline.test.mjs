// After the first visit the site needs no network; another version is taken at the next visit.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { demoServer } from "../../web-demo/serve.mjs";
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
  for (const name of ["index.html", "compare.html", "demo.css", "js/demo.js", "js/strings/zh.js", "data/tiers.json", "pkg/index.js"]) {
    assert.ok(names.includes(name), name);
  }
  assert.ok(!names.some((name) => /\.mjs$|\.ts$|model\.edge|package\.json/.test(name)), names.join(" "));
  const text = await serviceWorker(files);
  assert.equal(await serviceWorker(files), text);
  assert.ok(text.endsWith(readFileSync(join(ROOT, "web-demo", "service-worker.js"), "utf8")));
  const other = new Map(files).set("demo.css", files.get("index.html"));
  assert.notEqual(await serviceWorker(other), text);
});

test("the page is there without a network, with its model", async (t) => {
  const server = await serve();
  t.after(() => server.close());
  const { page } = await openDemo(browser, server.url);
  await ready(page);
  await page.getByText("Works offline").waitFor();
  const kept = await page.evaluate(async () => {
    const names = (await caches.keys()).filter((name) => name.startsWith("edge-demo-"));
    const requests = await (await caches.open(names[0])).keys();
    return { names, urls: requests.map(({ url }) => new URL(url).pathname) };
  });
  assert.equal(kept.names.length, 1);
  assert.ok(!kept.urls.some((path) => path.endsWith(".edge")), "the package keeps the model itself");
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

test("another version waits for the next visit, and the old one is dropped", async (t) => {
  // The site under a version that the test says: all but the worker's first line is the demo's server.
  const inner = demoServer();
  let version = "one";
  const outer = createServer(async (request, response) => {
    if (request.url !== "/service-worker.js") return inner.emit("request", request, response);
    const text = (await serviceWorker(await siteFiles())).replace(/^const VERSION = "[^"]+"/, `const VERSION = "${version}"`);
    response.writeHead(200, { "Content-Type": "text/javascript" }).end(text);
  });
  await new Promise((resolve) => outer.listen(0, "127.0.0.1", resolve));
  const context = await browser.newContext({ locale: "en-US" });
  t.after(async () => {
    await context.close();
    outer.closeAllConnections();
    outer.close();
  });
  const visit = async () => {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${outer.address().port}/compare.html`);
    await page.locator("#table tbody tr").first().waitFor();
    return page;
  };
  /** Registers the worker, and waits for all that it can do while this page is open. */
  const register = (page) =>
    page.evaluate(async () => {
      const registration = await navigator.serviceWorker.register("/service-worker.js");
      await registration.update();
      await navigator.serviceWorker.ready;
      while (registration.installing) await new Promise((resolve) => setTimeout(resolve, 20));
      return { waits: registration.waiting !== null, caches: await caches.keys() };
    });
  const first = await visit();
  assert.deepEqual(await register(first), { waits: false, caches: ["edge-demo-one"] });
  version = "two";
  assert.deepEqual(await register(first), { waits: true, caches: ["edge-demo-one", "edge-demo-two"] });
  await first.close();
  const second = await visit();
  await second.waitForFunction(async () => (await caches.keys()).join() === "edge-demo-two");
});
