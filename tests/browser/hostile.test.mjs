// Damaged and hostile bundles in the browser build: an error that names the entry, never a trap,
// and memory within bounds. The bundle is a tiny one, made of a fixture.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { edgeExport } from "./lib/native.mjs";
import { launch, manifest, openBlank, serve, sizeAt } from "./lib/page.mjs";
import { ROOT } from "./lib/paths.mjs";

const NAMED = /^EdgeError: bundle entry `(manifest\.json|tokenizer\.json|stage-\d+\.onnx|end of bundle)`: ./;
/** The bundle is a few hundred kB; the runtime itself takes a few MB. */
const MEMORY_LIMIT = 32 << 20;

let folder, browser, server, page, complaints, bundle;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "edge-hostile-"));
  const model = join(folder, "model.edge");
  edgeExport(join(ROOT, "models", "fixtures", "bert-exits"), model);
  bundle = readFileSync(model);
  browser = await launch();
  server = await serve({ model });
  ({ page, complaints } = await openBlank(browser, server.url));
  await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const good = await (await fetch("/model.edge")).arrayBuffer();
    /** What is said of a bundle: "complete", or the error. */
    const verdict = async (bytes) => {
      let classifier;
      try {
        classifier = await Classifier.load(bytes, { worker: false });
        await classifier.complete();
        return "complete";
      } catch (error) {
        return `${error.name}: ${error.message}`;
      } finally {
        classifier?.dispose();
      }
    };
    /** Bytes of the module's memory, which never shrinks. */
    const memorySize = async () => {
      const classifier = await Classifier.load(good, { worker: false });
      const size = await classifier.memory();
      classifier.dispose();
      return size;
    };
    Object.assign(globalThis, { good, verdict, memorySize });
  });
});
after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) rmSync(folder, { recursive: true });
});

async function checkMemory() {
  const size = await page.evaluate(() => globalThis.memorySize());
  assert.ok(size <= MEMORY_LIMIT, `${size} bytes of memory`);
}

/** What is said of a bundle that is made here. */
function verdictOn(bytes) {
  return page.evaluate(
    (base64) => globalThis.verdict(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer),
    bytes.toString("base64"),
  );
}

test("the bundle itself is good", async () => {
  assert.equal(await verdictOn(bundle), "complete");
});

test("truncated at every kB", async () => {
  const said = await page.evaluate(async () => {
    const { good, verdict } = globalThis;
    const said = [];
    for (let size = 0; size < good.byteLength; size += 1024) {
      said.push([size, await verdict(good.slice(0, size))]);
    }
    said.push([good.byteLength - 1, await verdict(good.slice(0, -1))]);
    return said;
  });
  assert.ok(said.length > 50);
  for (const [size, words] of said) assert.match(words, NAMED, `${size} bytes`);
  await checkMemory();
});

test("bits flipped", async () => {
  const said = await page.evaluate(async () => {
    const { good, verdict } = globalThis;
    const said = [];
    let seed = 1;
    for (let i = 0; i < 600; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      // Half of them in the headers and the manifest, where there is more to misread.
      const bit = seed % (8 * (i % 2 ? good.byteLength : 4096));
      const bytes = good.slice(0);
      new Uint8Array(bytes)[bit >> 3] ^= 1 << (bit & 7);
      said.push([bit, await verdict(bytes)]);
    }
    return said;
  });
  for (const [bit, words] of said) assert.match(words, NAMED, `bit ${bit}`);
  await checkMemory();
});

test("without the platform's SHA-256, which only secure contexts have, ours finds the same", async () => {
  const hide = () => Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
  await page.evaluate(hide);
  try {
    assert.equal(await verdictOn(bundle), "complete");
    const names = ["manifest.json", ...manifest(join(folder, "model.edge")).entries.map(({ name }) => name)];
    for (let at = 0; bundle[at] !== 0; at += 512 + Math.ceil(sizeAt(bundle, at) / 512) * 512) {
      const bytes = Buffer.from(bundle);
      bytes[at + 512 + (sizeAt(bundle, at) >> 1)] ^= 1;
      const said = await verdictOn(bytes);
      assert.ok(said.startsWith(`EdgeError: bundle entry \`${names.shift()}\`: `), said);
    }
    assert.deepEqual(names, []);
  } finally {
    await page.evaluate(() => delete crypto.subtle);
  }
});

test("another version", async () => {
  const said = await verdictOn(withManifest((json) => json.replace('"version": 2', '"version": 9')));
  assert.match(said, /^EdgeError: bundle entry `manifest\.json`: version is 9/);
});

test("a manifest that lists terabytes", async () => {
  const said = await verdictOn(
    withManifest((json) => json.replace(/"bytes": \d+(?![^]*"bytes")/, '"bytes": 4398046511104')),
  );
  assert.match(said, /^EdgeError: bundle entry `manifest\.json`: it lists \d+ bytes, more than/);
  await checkMemory();
});

test("an entry whose header claims gigabytes", async () => {
  const bytes = Buffer.from(bundle);
  setSize(bytes, secondEntry(bytes), 8 * 2 ** 30 - 1);
  assert.match(await verdictOn(bytes), /^EdgeError: bundle entry `tokenizer\.json`: found 8589934591 bytes; expected \d+/);
  await checkMemory();
});

test("no bundle at all", async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(1 << 16), Buffer.from("<!doctype html>".repeat(99))]) {
    assert.match(await verdictOn(bytes), NAMED);
  }
});

test("a stream that fails", async () => {
  const said = await page.evaluate(() => {
    const failing = new ReadableStream({
      start(controller) {
        controller.enqueue(new Uint8Array(globalThis.good, 0, 1000));
      },
      pull(controller) {
        controller.error(new Error("the line went dead"));
      },
    });
    return globalThis.verdict(failing);
  });
  assert.match(said, /^EdgeError: the stream failed .*the line went dead/);
});

test("after all that, the same module answers", async () => {
  const answer = await page.evaluate(async () => {
    const { Classifier } = await import("/pkg/index.js");
    const classifier = await Classifier.load(globalThis.good, { worker: false });
    return classifier.classify("a good film");
  });
  assert.ok(answer.label);
  assert.deepEqual(complaints, []);
  await checkMemory();
});

/** The bundle with another manifest, whose own digest is right. */
function withManifest(change) {
  const zeros = "0".repeat(64);
  const size = sizeAt(bundle, 0);
  const blank = bundle.toString("utf8", 512, 512 + size).replace(/("digest": ")[0-9a-f]{64}/, `$1${zeros}`);
  const changed = change(blank);
  assert.notEqual(changed, blank);
  const json = Buffer.from(changed.replace(zeros, createHash("sha256").update(changed).digest("hex")));
  const padding = Buffer.alloc((512 - (json.length % 512)) % 512);
  const bytes = Buffer.concat([bundle.subarray(0, 512), json, padding, bundle.subarray(secondEntry(bundle))]);
  setSize(bytes, 0, json.length);
  return bytes;
}

function secondEntry(bytes) {
  return 512 + Math.ceil(sizeAt(bytes, 0) / 512) * 512;
}

/** Writes a size into a tar header, and the checksum that goes with it. */
function setSize(bytes, header, size) {
  bytes.write(size.toString(8).padStart(11, "0"), header + 124, "latin1");
  bytes.fill(" ", header + 148, header + 156);
  const sum = bytes.subarray(header, header + 512).reduce((a, b) => a + b, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, header + 148, "latin1");
}
