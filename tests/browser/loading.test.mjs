// How a bundle arrives: sources, progress, early answers, stopping.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { heldBack, lastEntrySize, launch, openBlank, serve } from "./lib/page.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

test("the first exit answers while the last stage is on its way", async () => {
  const { state, options } = heldBack({ hold: lastEntrySize() >> 1, throttle: 20e6 });
  const server = await serve(options);
  const { page, complaints } = await openBlank(browser, server.url);
  await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    globalThis.events = [];
    const note = (name) => globalThis.events.push(name);
    globalThis.classifier = await Classifier.load("/model.edge", {
      onProgress: ({ stagesReady, stagesTotal }) => note(`${stagesReady} of ${stagesTotal}`),
    });
    note("loaded");
    globalThis.full = globalThis.classifier
      .classify("full depth", { policy: { kind: "never" } })
      .then((prediction) => (note("full answer"), prediction));
    globalThis.all = globalThis.classifier.complete().then(() => note("complete"));
    await globalThis.classifier.classify("early", { policy: { kind: "confidence", threshold: 0 } });
    note("early answer");
  });
  const sent = state.sent;
  assert.ok(sent < state.total, `${sent} of ${state.total} bytes had been sent`);
  state.release();
  const { events, prediction, manifest } = await page.evaluate(async () => {
    const { classifier } = globalThis;
    const prediction = await globalThis.full;
    await globalThis.all;
    return { events: globalThis.events, prediction, manifest: classifier.manifest };
  });
  const total = manifest.stages.length;
  assert.equal(prediction.stage, total - 1);
  const early = events.indexOf("early answer");
  const last = events.indexOf(`${total} of ${total}`);
  assert.ok(events.indexOf("loaded") < early, events.join(", "));
  assert.ok(early < last && last < events.indexOf("full answer"), events.join(", "));
  assert.ok(events.includes("complete"));
  assert.deepEqual(complaints, []);
  await page.close();
  await server.close();
});

test("every source gives the same answer", async () => {
  const server = await serve();
  const { page, complaints } = await openBlank(browser, server.url);
  const answers = await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const bytes = await (await fetch("/model.edge")).arrayBuffer();
    const inPieces = new ReadableStream({
      start(controller) {
        const all = new Uint8Array(bytes);
        for (let at = 0; at < all.length; at += 99_991) controller.enqueue(all.slice(at, at + 99_991));
        controller.close();
      },
    });
    const url = new URL("/model.edge", location.href);
    const answers = [];
    for (const source of ["/model.edge", url, await fetch("/model.edge"), inPieces, bytes]) {
      const classifier = await Classifier.load(source);
      answers.push(await classifier.classify("The same for everyone."));
      await classifier.complete();
      classifier.dispose();
    }
    return answers;
  });
  assert.equal(answers.length, 5);
  for (const answer of answers) assert.deepEqual(answer, answers[0]);
  assert.deepEqual(complaints, []);
  await page.close();
  await server.close();
});

test("loading can be stopped, and a classifier disposed of", async () => {
  const { state, options } = heldBack({ hold: lastEntrySize() >> 1 });
  const server = await serve(options);
  const { page } = await openBlank(browser, server.url);
  const said = await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const words = (promise) => promise.then(() => "resolved", (e) => `${e.name}: ${e.message}`);
    const said = {};
    const stop = new AbortController();
    const endless = new ReadableStream({});
    const loading = Classifier.load(endless, { signal: stop.signal });
    stop.abort();
    said.aborted = await words(loading);
    said.beforehand = await words(Classifier.load("/model.edge", { signal: AbortSignal.abort() }));
    const classifier = await Classifier.load("/model.edge");
    const pending = words(classifier.classify("never there", { policy: { kind: "never" } }));
    classifier.dispose();
    classifier.dispose();
    said.pending = await pending;
    said.later = await words(classifier.classify("too late"));
    return said;
  });
  state.release();
  assert.match(said.aborted, /^AbortError/);
  assert.match(said.beforehand, /^AbortError/);
  assert.match(said.pending, /disposed/);
  assert.match(said.later, /disposed/);
  await page.close();
  await server.close();
});

test("a policy that does not fit is an error in words", async () => {
  const server = await serve();
  const { page } = await openBlank(browser, server.url);
  const said = await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const classifier = await Classifier.load("/model.edge");
    const policies = [
      { kind: "always" },
      { kind: "confidence", threshold: 2 },
      { kind: "margin", threshold: [0.5, 0.5] },
      { kind: "patience", threshold: 0 },
      "never",
    ];
    const words = (policy) =>
      classifier.classify("a text", { policy }).then(() => "resolved", (e) => `${e.name}: ${e.message}`);
    return Promise.all(policies.map(words));
  });
  for (const words of said) assert.match(words, /^EdgeError: exit policy: /);
  await page.close();
  await server.close();
});
