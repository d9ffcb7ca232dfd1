// The demo's server: what it gives out, and what it keeps.

import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { serve } from "./lib/page.mjs";

let server;
before(async () => (server = await serve()));
after(() => server?.close());

/** A request whose path is sent as it stands, without a client that tidies it. */
function get(path, method = "GET") {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url);
    const sent = request({ hostname, port, path, method, agent: false }, (response) => {
      let size = 0;
      response.on("data", (chunk) => (size += chunk.length));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, size }));
    });
    sent.on("error", reject).end();
  });
}

test("each kind of file has its type", async () => {
  for (const [path, type] of [
    ["/", "text/html; charset=utf-8"],
    ["/demo.js?a=b", "text/javascript; charset=utf-8"],
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
