// The demo's server: what it gives out, and what it keeps.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "./lib/page.mjs";

/** Stands for a model: bytes that tell where they are. */
const MODEL = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 31) % 251));

/** Stands for the small one. */
const SMALL = Buffer.from(MODEL.subarray(0, 600)).reverse();

let folder, model, small, server;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "edge-serve-"));
  model = join(folder, "model.edge");
  writeFileSync(model, MODEL);
  small = join(folder, "small.edge");
  writeFileSync(small, SMALL);
  server = await serve({ model, small });
});
after(async () => {
  await server?.close();
  if (folder) rmSync(folder, { recursive: true });
});

/** A request whose path is sent as it stands, without a client that tidies it. */
function get(path, method = "GET", headers = {}, url = server.url) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const sent = request({ hostname, port, path, method, headers, agent: false }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const body = Buffer.concat(pieces);
        resolve({ status: response.statusCode, headers: response.headers, body, size: body.length });
      });
    });
    sent.on("error", reject).end();
  });
}

test("each kind of file has its type", async () => {
  for (const [path, type] of [
    ["/", "text/html; charset=utf-8"],
    ["/compare.html", "text/html; charset=utf-8"],
    ["/js/demo.js?a=b", "text/javascript; charset=utf-8"],
    ["/js/strings/zh.js", "text/javascript; charset=utf-8"],
    ["/service-worker.js", "text/javascript; charset=utf-8"],
    ["/data/tiers.json", "application/json"],
    ["/demo.css", "text/css; charset=utf-8"],
    ["/icon.svg", "image/svg+xml"],
    ["/pkg/index.js", "text/javascript; charset=utf-8"],
    ["/pkg/edge_runtime_bg.wasm", "application/wasm"],
  ]) {
    const { status, headers, size } = await get(path);
    assert.equal(status, 200, path);
    assert.equal(headers["content-type"], type);
    assert.equal(size, Number(headers["content-length"]));
  }
});

test("nothing outside of its folders is given out", async () => {
  for (const path of [
    "/serve.mjs",
    "/server/range.mjs",
    "/scripts/tiers.mjs",
    "/package.json",
    "/js",
    "/js/",
    "/js/../serve.mjs",
    "/js/%2e%2e/serve.mjs",
    "/js/../../Cargo.toml",
    "/data/",
    "/pkg/index.d.ts",
    "/../Cargo.toml",
    "/pkg/../package.json",
    "/pkg/%2e%2e/package.json",
    "/pkg/..%2fpackage.json",
    "/pkg/..%5cpackage.json",
    "/pkg//etc/passwd",
    "/pkg/%00",
    "/%",
    "/pkg",
    "/pkg/",
    "//etc/passwd",
  ]) {
    assert.equal((await get(path)).status, 404, path);
  }
});

test("it only reads", async () => {
  assert.equal((await get("/", "POST")).status, 405);
  const head = await get("/model.edge", "HEAD");
  assert.equal(head.status, 200);
  assert.equal(head.size, 0);
  assert.ok(Number(head.headers["content-length"]) > 0);
});

test("a part of a file is given out", async () => {
  for (const [range, start, end] of [
    ["bytes=0-0", 0, 1],
    ["bytes=0-499", 0, 500],
    ["bytes=500-999", 500, 1000],
    ["bytes=999-", 999, 1000],
    ["bytes=10-", 10, 1000],
    ["bytes=10-123456789", 10, 1000],
    ["bytes=-1", 999, 1000],
    ["bytes=-5000", 0, 1000],
    ["BYTES=0-9", 0, 10],
  ]) {
    const { status, headers, body } = await get("/model.edge", "GET", { Range: range });
    assert.equal(status, 206, range);
    assert.deepEqual(body, MODEL.subarray(start, end), range);
    assert.equal(headers["content-range"], `bytes ${start}-${end - 1}/1000`);
    assert.equal(headers["content-length"], String(end - start));
    assert.equal(headers["accept-ranges"], "bytes");
  }
});

test("the whole file answers what is no single range of bytes", async () => {
  for (const range of ["bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes=1e2-"]) {
    const { status, headers, body } = await get("/model.edge", "GET", { Range: range });
    assert.equal(status, 200, range);
    assert.deepEqual(body, MODEL, range);
    assert.equal(headers["content-range"], undefined);
  }
  const head = await get("/model.edge", "HEAD", { Range: "bytes=0-1" });
  assert.deepEqual([head.status, head.headers["content-length"]], [200, "1000"]);
});

test("a part that is not there is refused with the size of the file", async () => {
  for (const range of ["bytes=1000-", "bytes=1000-1001", "bytes=-0"]) {
    const { status, headers } = await get("/model.edge", "GET", { Range: range });
    assert.equal(status, 416, range);
    assert.equal(headers["content-range"], "bytes */1000");
  }
});

test("a download goes on only with the same bytes", async () => {
  const first = await get("/model.edge", "GET", { Range: "bytes=0-399" });
  const { etag } = first.headers;
  assert.match(etag, /^"[\w-]+"$/, "a strong ETag");
  assert.equal((await get("/model.edge")).headers.etag, etag);
  const rest = { Range: "bytes=400-", "If-Range": etag };
  const second = await get("/model.edge", "GET", rest);
  assert.equal(second.status, 206);
  assert.deepEqual(Buffer.concat([first.body, second.body]), MODEL);
  for (const other of ['"another"', `W/${etag}`, "Wed, 21 Oct 2015 07:28:00 GMT"]) {
    const { status, body } = await get("/model.edge", "GET", { ...rest, "If-Range": other });
    assert.equal(status, 200, other);
    assert.deepEqual(body, MODEL);
  }
  const changed = Buffer.from(MODEL).fill(7, 0, 1);
  writeFileSync(model, changed);
  const after = await get("/model.edge", "GET", rest);
  assert.equal(after.status, 200);
  assert.deepEqual(after.body, changed);
  assert.notEqual(after.headers.etag, etag);
  writeFileSync(model, MODEL);
  assert.equal((await get("/model.edge")).headers.etag, etag, "the bytes make the ETag");
});

test("what the browser has already is not sent again", async () => {
  const { etag } = (await get("/index.html")).headers;
  for (const names of [etag, `W/${etag}`, `"another", ${etag}`, "*"]) {
    const { status, headers, size } = await get("/index.html", "GET", { "If-None-Match": names });
    assert.deepEqual([status, size, headers.etag], [304, 0, etag], names);
  }
  const other = await get("/index.html", "GET", { "If-None-Match": '"another"' });
  assert.equal(other.status, 200);
});

test("the small model has an address of its own, and everything that the other one has", async () => {
  const whole = await get("/model-small.edge");
  assert.deepEqual([whole.status, whole.headers["content-type"]], [200, "application/octet-stream"]);
  assert.deepEqual(whole.body, SMALL);
  const { etag } = whole.headers;
  assert.notEqual(etag, (await get("/model.edge")).headers.etag);
  const part = await get("/model-small.edge", "GET", { Range: "bytes=100-", "If-Range": etag });
  assert.deepEqual([part.status, part.headers["content-range"]], [206, "bytes 100-599/600"]);
  assert.deepEqual(part.body, SMALL.subarray(100));
  assert.equal((await get("/model-small.edge", "GET", { "If-None-Match": etag })).status, 304);
  const without = await serve({ model, small: join(folder, "none.edge") });
  assert.equal((await get("/model-small.edge", "GET", {}, without.url)).status, 404);
  assert.deepEqual((await get("/model.edge", "GET", {}, without.url)).body, MODEL);
  await without.close();
});

test("both models are held to a pace, and whoever listens hears which one is sent", async (t) => {
  const heard = [];
  const onModelBytes = (sent, name) => void heard.push([name, sent]);
  const paced = await serve({ model, small, throttle: 5000, onModelBytes });
  t.after(() => paced.close());
  for (const [name, bytes] of [["model.edge", MODEL], ["model-small.edge", SMALL]]) {
    heard.length = 0;
    assert.deepEqual((await get(`/${name}`, "GET", {}, paced.url)).body, bytes);
    // Of so many bytes a second, a twentieth at a time.
    const expected = Array.from({ length: bytes.length / 250 }, (_, i) => [name, 250 * (i + 1)]);
    if (bytes.length % 250) expected.push([name, bytes.length]);
    assert.deepEqual(heard, expected);
  }
  heard.length = 0;
  await get("/index.html", "GET", {}, paced.url);
  assert.deepEqual(heard, []);
});

test("an empty file is a file", async () => {
  const empty = join(folder, "empty.edge");
  writeFileSync(empty, "");
  const other = await serve({ model: empty });
  const whole = await get("/model.edge", "GET", {}, other.url);
  assert.deepEqual([whole.status, whole.size], [200, 0]);
  assert.equal((await get("/model.edge", "GET", { Range: "bytes=0-" }, other.url)).status, 416);
  await other.close();
});
