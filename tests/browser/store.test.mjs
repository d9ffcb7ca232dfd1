// What is kept of a model between visits, and what happens when that is not possible.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { edgeExport } from "./lib/native.mjs";
import { launch, openBlank, serve } from "./lib/page.mjs";
import { MODEL, ROOT } from "./lib/paths.mjs";

/** What a returning page asks for at first. */
const GLANCE = 16384;
const TEXT = "What a wonderful film.";

let folder, browser, context, server, model;
/** Each answered request for the model: the bytes it asked for and those that were sent. */
let requests;
/** Breaks the connection of the next request for the model after so many bytes. */
let cutAfter;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "edge-store-"));
  model = join(folder, "model.edge");
  for (const name of ["bert-exits", "distilbert-exits"]) {
    edgeExport(join(ROOT, "models", "fixtures", name), join(folder, `${name}.edge`));
  }
  browser = await launch();
});
after(async () => {
  await browser?.close();
  if (folder) rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  requests = [];
  cutAfter = undefined;
  copyFileSync(MODEL, model);
  context = await browser.newContext();
  server = await serve({ model, onRequest });
});
afterEach(async () => {
  await context.close();
  await server.close();
});

function onRequest(request, response) {
  if (request.url !== "/model.edge") return;
  const entry = { range: request.headers.range, ifRange: request.headers["if-range"], sent: 0 };
  requests.push(entry);
  const cut = cutAfter;
  cutAfter = undefined;
  const { write } = response;
  response.write = function (chunk, ...rest) {
    entry.sent += chunk.length;
    if (cut !== undefined && entry.sent >= cut) response.destroy();
    else return write.call(this, chunk, ...rest);
  };
}

/** What a page of the profile says of the model: an answer, where the bytes came from, what is stored. */
async function visit({ options = {}, prepare, close = true } = {}) {
  const { page } = await openBlank(context, server.url);
  await prepare?.(page);
  const result = await page.evaluate(
    async ([text, options]) => {
      const { Classifier } = await import("/pkg/index.js");
      const seen = new Set();
      try {
        const classifier = await Classifier.load("/model.edge", {
          ...options,
          onProgress: ({ from }) => seen.add(from),
        });
        const answer = await classifier.classify(text, { policy: { kind: "never" } });
        await classifier.complete();
        const layers = classifier.manifest.encoder.layers;
        classifier.dispose();
        return { answer, from: [...seen], layers };
      } catch (error) {
        return { error: `${error.name} ${error.code}: ${error.message}` };
      }
    },
    [TEXT, options],
  );
  const stored = await page.evaluate(async () => {
    const cache = await caches.open("edge-distil").catch(() => undefined);
    const urls = cache ? (await cache.keys()).map(({ url }) => new URL(url).pathname) : [];
    const models = {};
    for (const url of urls.filter((url) => url.startsWith("/model/"))) {
      const [, , digest, range] = url.split("/");
      const [from, to] = range.split("-").map(Number);
      models[digest] = (models[digest] ?? 0) + to - from;
    }
    return Object.values(models);
  });
  if (close) await page.close();
  return { ...result, stored, page };
}

test("the second visit takes the model from the store, and answers the same", async () => {
  const first = await visit();
  assert.deepEqual(first.from, ["network"]);
  assert.deepEqual(first.stored, [statSync(MODEL).size]);
  assert.equal(requests.length, 1);
  const second = await visit();
  assert.deepEqual(second.from, ["cache"]);
  assert.deepEqual(second.answer, first.answer);
  assert.deepEqual(requests[1], { range: `bytes=0-${GLANCE - 1}`, ifRange: undefined, sent: GLANCE });
  assert.equal(requests.length, 2);
  // The page's own thread has the same store.
  const third = await visit({ options: { worker: false } });
  assert.deepEqual(third.from, ["cache"]);
  assert.deepEqual(third.answer, first.answer);
});

test("without a network, or with a server in trouble, the stored model answers", async () => {
  const first = await visit();
  const offline = await visit({ prepare: (page) => page.context().route("**/model.edge", (r) => r.abort()) });
  assert.deepEqual(offline.answer, first.answer);
  assert.deepEqual(offline.from, ["cache"]);
  await context.unroute("**/model.edge");
  await context.route("**/model.edge", (route) => route.fulfill({ status: 503 }));
  const troubled = await visit();
  assert.deepEqual(troubled.answer, first.answer);
  await context.unroute("**/model.edge");
  await context.route("**/model.edge", (route) => route.fulfill({ status: 404 }));
  const gone = await visit();
  assert.match(gone.error, /^EdgeError network: .*the server returned 404/);
});

test("without a network and without a store there is an error in words", async () => {
  const { error } = await visit({ prepare: (page) => page.context().route("**/model.edge", (r) => r.abort()) });
  assert.match(error, /^EdgeError network: cannot load http:.*model\.edge: ./);
});

test("a model that changed is fetched, and the old one deleted", async () => {
  copyFileSync(join(folder, "bert-exits.edge"), model);
  const old = await visit();
  copyFileSync(join(folder, "distilbert-exits.edge"), model);
  const changed = await visit();
  assert.deepEqual(changed.from, ["network"]);
  assert.notDeepEqual(changed.answer, old.answer);
  assert.deepEqual(changed.stored, [statSync(model).size]);
  assert.deepEqual((await visit()).answer, changed.answer);
});

test("a broken connection is gone on with by a range request", async () => {
  cutAfter = 9_000_000;
  const { answer, stored, from } = await visit();
  assert.equal(answer.label, "POSITIVE");
  assert.deepEqual(from, ["network"]);
  assert.deepEqual(stored, [statSync(MODEL).size]);
  assert.equal(requests.length, 2);
  const [, again] = requests;
  const start = Number(/^bytes=(\d+)-$/.exec(again.range)[1]);
  assert.ok(start > 0 && start <= 9_000_000, again.range);
  assert.match(again.ifRange, /^"/);
  assert.equal(start + again.sent, statSync(MODEL).size);
});

test("what a broken visit left is gone on with at the next one", async () => {
  cutAfter = 9_000_000;
  const { page } = await openBlank(context, server.url);
  await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const stop = new AbortController();
    const onProgress = ({ bytes }) => bytes > 6_000_000 && stop.abort();
    await Classifier.load("/model.edge", { onProgress, signal: stop.signal, worker: false })
      .then((c) => c.complete())
      .catch(() => {});
    await new Promise((done) => setTimeout(done, 200));
  });
  await page.close();
  const before = requests.length;
  const { answer, from } = await visit();
  assert.equal(answer.label, "POSITIVE");
  assert.deepEqual(from, ["cache", "network"]);
  const [glance, rest] = requests.slice(before);
  assert.equal(glance.sent, GLANCE);
  assert.ok(rest.sent < statSync(MODEL).size - 4_000_000, `${rest.sent} bytes were sent again`);
});

test("what another page stores while the store is read is not taken twice", async () => {
  await visit();
  const grow = async (page) =>
    page.evaluate(async () => {
      const cache = await caches.open("edge-distil");
      const from = ({ url }) => Number(/^\/model\/\w+\/(\d+)-/.exec(new URL(url).pathname)?.[1] ?? 0);
      const later = (await cache.keys()).filter((request) => from(request) > 0);
      const bodies = await Promise.all(later.map(async (request) => (await cache.match(request)).blob()));
      for (const request of later) await cache.delete(request);
      // They are back as soon as the store has been looked through.
      const { keys } = Cache.prototype;
      Cache.prototype.keys = async function () {
        const found = await keys.call(this);
        Cache.prototype.keys = keys;
        await Promise.all(later.map((request, i) => this.put(request, new Response(bodies[i]))));
        return found;
      };
    });
  const { answer, error, from } = await visit({ prepare: grow, options: { worker: false } });
  assert.equal(error, undefined);
  assert.equal(answer.label, "POSITIVE");
  assert.deepEqual(from, ["cache", "network"]);
});

test("a stored model that was damaged is an error once, and fetched at the next visit", async () => {
  copyFileSync(join(folder, "bert-exits.edge"), model);
  const good = await visit();
  const damage = async (page) =>
    page.evaluate(async () => {
      const cache = await caches.open("edge-distil");
      const segment = (await cache.keys()).find(({ url }) => new URL(url).pathname.startsWith("/model/"));
      const bytes = new Uint8Array(await (await cache.match(segment)).arrayBuffer());
      bytes[bytes.length >> 1] ^= 1;
      await cache.put(segment, new Response(bytes));
    });
  const bad = await visit({ prepare: damage });
  assert.match(bad.error, /^EdgeError bundle: bundle entry/);
  const next = await visit();
  assert.deepEqual(next.from, ["network"]);
  assert.deepEqual(next.answer, good.answer);
});

test("where storage is denied the model is fetched each time", async () => {
  const denied = (page) =>
    page.evaluate(() => {
      caches.open = () => Promise.reject(new DOMException("denied", "SecurityError"));
    });
  for (let i = 0; i < 2; i++) {
    const { answer, from, stored } = await visit({ prepare: denied, options: { worker: false } });
    assert.equal(answer.label, "POSITIVE");
    assert.deepEqual(from, ["network"]);
    assert.deepEqual(stored, []);
  }
});

test("where the store cannot be read the model is fetched", async () => {
  const broken = (page) =>
    page.evaluate(() => {
      Cache.prototype.match = () => Promise.reject(new DOMException("broken", "InvalidStateError"));
    });
  const { answer, from } = await visit({ prepare: broken, options: { worker: false } });
  assert.equal(answer.label, "POSITIVE");
  assert.deepEqual(from, ["network"]);
});

test("where storage is full the model answers and leaves nothing behind", async () => {
  const full = async (page) => {
    const devtools = await context.newCDPSession(page);
    const origin = new URL(server.url).origin;
    await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 5_000_000 });
  };
  const { answer, from, stored } = await visit({ prepare: full });
  assert.equal(answer.label, "POSITIVE");
  assert.deepEqual(from, ["network"]);
  assert.deepEqual(stored, []);
});

test("nothing is stored where that was not wanted", async () => {
  const { stored } = await visit({ options: { cache: false } });
  assert.deepEqual(stored, []);
});
