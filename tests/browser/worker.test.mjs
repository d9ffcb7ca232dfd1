// The classifier in its own worker: the page stays free, calls can be stopped, errors keep their kind.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { edgeRun, sentences } from "./lib/native.mjs";
import { heldBack, lastEntrySize, launch, openBlank, serve } from "./lib/page.mjs";

/** The longest that the page's own thread may be busy at a time, in milliseconds. */
const BUSY = 10;
const COUNT = 500;

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Runs `inPage` in a page of the server, with `load` to load the model, and checks for complaints. */
async function inPage(body, arg, { url = server.url, expected = [] } = {}) {
  const { page, complaints } = await openBlank(browser, url);
  await page.evaluate(async () => {
    const { Classifier, EdgeError } = await import("/pkg/index.js");
    const kinds = [EdgeError, TypeError, RangeError, DOMException, Error];
    globalThis.load = (options) => Classifier.load("/model.edge", options);
    globalThis.words = (promise) =>
      promise.then(
        () => "resolved",
        (e) => `${kinds.find((kind) => e instanceof kind)?.name} ${e?.code}: ${e?.message ?? e}`,
      );
  });
  const result = await page.evaluate(body, arg);
  const workers = page.workers().length;
  await page.close();
  assert.deepEqual(complaints.filter((c) => !expected.some((e) => e.test(c))), []);
  return { result, workers };
}

/** The project's sentences again and again, until there are so many. */
function texts(count) {
  const all = sentences();
  return Array.from({ length: count }, (_, i) => all[i % all.length]);
}

/**
 * The longest that a page's own thread computed at a time while 500 sentences were classified, in
 * milliseconds of that thread's processor time, and the long tasks that the page itself saw.
 */
async function busy(options) {
  const { page } = await openBlank(browser, server.url);
  await page.evaluate(async (options) => {
    const { Classifier } = await import("/pkg/index.js");
    globalThis.classifier = await Classifier.load("/model.edge", options);
    await globalThis.classifier.complete();
  }, options);
  await browser.startTracing(page, { categories: ["toplevel", "__metadata"] });
  const long = await page.evaluate(async (texts) => {
    const tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries())).observe({ type: "longtask" });
    const answers = await globalThis.classifier.classify(texts, { policy: { kind: "never" } });
    if (answers.length !== texts.length) throw new Error(`${answers.length} answers`);
    await new Promise((done) => setTimeout(done, 100));
    return tasks.length;
  }, texts(COUNT));
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  await page.close();
  const mains = traceEvents.filter((e) => e.name === "thread_name" && e.args.name === "CrRendererMain");
  const tasks = traceEvents.filter(
    (e) => e.name.endsWith("RunTask") && mains.some((m) => m.pid === e.pid && m.tid === e.tid),
  );
  assert.ok(tasks.length > 5, "the trace holds the page's tasks");
  return { longest: Math.max(...tasks.map((task) => (task.tdur ?? 0) / 1000)), long };
}

test(`the page is never busy for more than ${BUSY} ms while ${COUNT} sentences are classified`, async () => {
  const own = await busy({ worker: false });
  assert.ok(own.longest > BUSY, `the measure sees a busy page: ${own.longest} ms`);
  const { longest, long } = await busy({});
  assert.equal(long, 0, "no long task");
  assert.ok(longest <= BUSY, `${longest} ms`);
});

test("answers are those of the native build", async () => {
  const some = texts(60);
  const { result, workers } = await inPage(async (texts) => {
    const classifier = await globalThis.load({ policy: { kind: "confidence", threshold: 0.8 } });
    return { answers: await classifier.classify(texts), engine: classifier.engine };
  }, some);
  const native = edgeRun(some, ["--policy", "confidence", "--threshold", "0.8"]);
  for (const [i, answer] of result.answers.entries()) {
    assert.equal(answer.label, native[i].label);
    assert.equal(answer.stage, native[i].stage);
  }
  assert.deepEqual({ ...result.engine, reason: "" }, { name: "cpu", arithmetic: "relaxed-simd", reason: "" });
  assert.equal(workers, 1);
});

test("a stream is answered in order, and no further than it is read", async () => {
  const { result } = await inPage(async (texts) => {
    const classifier = await globalThis.load();
    const listed = await classifier.classify(texts);
    let asked = 0;
    let returned = false;
    async function* slowly() {
      try {
        for (const text of texts) {
          asked++;
          if (asked % 7 === 0) await new Promise((done) => setTimeout(done, 1));
          yield text;
        }
      } finally {
        returned = true;
      }
    }
    const streamed = [];
    for await (const answer of classifier.stream(slowly())) streamed.push(answer);
    const plain = [];
    for await (const answer of classifier.stream(texts)) plain.push(answer);
    asked = 0;
    returned = false;
    for await (const answer of classifier.stream(slowly())) if (answer) break;
    // The source returns once the text that it prepares is ready.
    for (let tries = 0; tries < 1000 && !returned; tries++) await new Promise((done) => setTimeout(done, 5));
    const broken = (async function* () {
      yield "a text";
      throw new RangeError("the source broke");
    })();
    let kept = 0;
    const failure = await globalThis.words((async () => {
      for await (const answer of classifier.stream(broken)) kept += answer ? 1 : 0;
    })());
    const none = [];
    for await (const answer of classifier.stream([])) none.push(answer);
    return { listed, streamed, plain, asked, returned, failure, kept, none: none.length };
  }, texts(300));
  assert.equal(result.listed.length, 300);
  for (const answers of [result.streamed, result.plain]) {
    assert.deepEqual(answers.map((a) => a.label), result.listed.map((a) => a.label));
  }
  assert.ok(result.asked <= 130, `${result.asked} texts were asked for`);
  assert.ok(result.returned, "the source was told");
  assert.match(result.failure, /RangeError.*the source broke/);
  assert.equal(result.kept, 1);
  assert.equal(result.none, 0);
});

test("classifying stops at a signal, and the classifier goes on", async () => {
  for (const worker of [true, false]) {
    const { result } = await inPage(
      async ([texts, worker]) => {
        const classifier = await globalThis.load({ worker });
        await classifier.complete();
        const stop = new AbortController();
        const start = performance.now();
        const all = classifier.classify(texts, { policy: { kind: "never" }, signal: stop.signal });
        setTimeout(() => stop.abort(new Error("enough")), 20);
        const stopped = await globalThis.words(all);
        const beforehand = await globalThis.words(
          classifier.classify("a text", { signal: AbortSignal.abort() }),
        );
        const after = await classifier.classify("What a film.");
        const prompt = performance.now() - start;
        return { stopped, beforehand, after, prompt };
      },
      [texts(5000), worker],
    );
    assert.match(result.stopped, /^Error undefined: enough/);
    assert.match(result.beforehand, /^DOMException 20: .*abort/);
    assert.equal(result.after.label, "POSITIVE");
    // Five thousand sentences at full depth take many times this; they have been let go of.
    assert.ok(result.prompt < 3000, `${result.prompt} ms`);
  }
});

test("loading stops at a signal, and leaves no worker", async () => {
  const { state, options } = heldBack({ hold: lastEntrySize() >> 1, throttle: 5e6 });
  const slow = await serve(options);
  const { result, workers } = await inPage(
    async () => {
      const stop = new AbortController();
      const loading = globalThis.load({ signal: stop.signal, onProgress: () => stop.abort() });
      const said = await globalThis.words(loading);
      await new Promise((done) => setTimeout(done, 100));
      return said;
    },
    undefined,
    { url: slow.url, expected: [/ERR_ABORTED/] },
  );
  state.release();
  await slow.close();
  assert.match(result, /^DOMException 20: .*abort/);
  assert.equal(workers, 0);
});

test("errors have the same type, code and message on both sides", async () => {
  const kinds = await Promise.all(
    [true, false].map((worker) =>
      inPage(
        async (worker) => {
          const { Classifier } = await import("/pkg/index.js");
          const classifier = await globalThis.load({ worker });
          const said = [
            classifier.classify("a text", { policy: { kind: "always" } }),
            classifier.classify("a text", { policy: { kind: "confidence", threshold: 2 } }),
            classifier.classify(7),
            classifier.classify([7]),
            Classifier.load(new ArrayBuffer(4096), { worker }),
            Classifier.load("/nothing.edge", { worker }),
            Classifier.load(7, { worker }),
            globalThis.load({ worker, engine: "gpu" }),
          ].map(globalThis.words);
          const words = await Promise.all(said);
          classifier.dispose();
          words.push(await globalThis.words(classifier.classify("too late")));
          words.push(await globalThis.words(classifier.complete()));
          return words;
        },
        worker,
        { expected: [/404/, /ERR_ABORTED/] },
      ),
    ),
  );
  const [there, here] = kinds.map(({ result }) => result);
  assert.deepEqual(there, here);
  const expected = [
    /^EdgeError policy: exit policy: ./,
    /^EdgeError policy: exit policy: ./,
    /^TypeError/,
    /^TypeError/,
    /^EdgeError bundle: bundle entry `manifest.json`: ./,
    /^EdgeError network: cannot load http.*the server returned 404/,
    /^TypeError/,
    /^EdgeError engine: ./,
    /^EdgeError disposed: ./,
    /^EdgeError disposed: ./,
  ];
  assert.equal(there.length, expected.length);
  for (const [i, pattern] of expected.entries()) assert.match(there[i], pattern);
});

test("a worker of the user's own can hold a classifier", async () => {
  const { result } = await inPage(async () => {
    const script = `
      const { Classifier } = await import("${location.origin}/pkg/index.js");
      const classifier = await Classifier.load("${location.origin}/model.edge");
      postMessage(await classifier.classify("What a film."));`;
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const worker = new Worker(address, { type: "module" });
    return new Promise((done, failed) => {
      worker.onmessage = ({ data }) => done(data);
      worker.onerror = failed;
    });
  });
  assert.equal(result.label, "POSITIVE");
});

test("a page that may have no worker computes in its own thread, and says so", async () => {
  const policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval'; worker-src 'none'";
  const page = await browser.newPage();
  const said = [];
  page.on("console", (message) => said.push(message.text()));
  await page.route("**/strict", (route) =>
    route.fulfill({
      contentType: "text/html",
      headers: { "Content-Security-Policy": policy },
      body: '<!doctype html><title>strict</title><link rel="icon" href="data:,">',
    }),
  );
  await page.goto(`${server.url}strict`);
  const answer = await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const classifier = await Classifier.load("/model.edge");
    return classifier.classify("What a film.");
  });
  assert.equal(answer.label, "POSITIVE");
  assert.ok(said.some((text) => /edge-distil computes in the page's own thread/.test(text)), said.join("\n"));
  await page.close();
});

test("disposing ends the worker, and so does dropping the classifier", async () => {
  const { page } = await openBlank(browser, server.url);
  await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    globalThis.kept = await Classifier.load("/model.edge");
    await (async () => {
      const dropped = await Classifier.load("/model.edge");
      await dropped.classify("What a film.");
    })();
  });
  assert.equal(page.workers().length, 2);
  const devtools = await page.context().newCDPSession(page);
  for (let i = 0; i < 50 && page.workers().length > 1; i++) {
    await devtools.send("HeapProfiler.collectGarbage");
    await page.waitForTimeout(50);
  }
  assert.equal(page.workers().length, 1);
  await page.evaluate(() => globalThis.kept.dispose());
  await page.waitForTimeout(200);
  assert.equal(page.workers().length, 0);
  await page.close();
});
