#!/usr/bin/env node
// Serves the page, the browser package and the models from this machine.
//
//     node web-demo/serve.mjs [--port 8080] [--model FILE] [--small FILE] [--throttle BYTES_PER_SECOND]

import { open, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { etagOf } from "./server/etag.mjs";
import { hasAlready, rangeCounts, rangeOf } from "./server/range.mjs";
import { PACKAGE, TYPES, serviceWorker, siteFiles } from "./server/site.mjs";

export const MODEL = fileURLToPath(new URL("../models/sst2-minilm/model.edge", import.meta.url));
export const SMALL = fileURLToPath(new URL("../models/sst2-minilm-small/model.edge", import.meta.url));

const HEADERS = {
  "Cache-Control": "no-cache",
  "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
  "X-Content-Type-Options": "nosniff",
};

/**
 * Makes a server that is not listening yet. `model` and `small` are the files of the two models. `throttle`
 * limits each response with a model, in bytes a second. `onModelBytes(sent, name)` is called with the bytes
 * sent of the model at an address; the rest waits if it returns a promise.
 */
export function demoServer({ model = MODEL, small = SMALL, throttle, onModelBytes } = {}) {
  const models = new Map([["model.edge", model], ["model-small.edge", small]]);
  return createServer((request, response) => {
    answer(request, response, { models, throttle, onModelBytes }).catch((error) => {
      if (response.headersSent) response.destroy();
      else refuse(response, 500, error.message);
    });
  });
}

async function answer(request, response, options) {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return refuse(response, 405, "expected GET or HEAD", { Allow: "GET, HEAD" });
  }
  const name = nameOf(request.url);
  if (name === "service-worker.js") return giveText(await serviceWorker(await siteFiles()), request, response);
  const file = options.models.get(name) ?? (await siteFiles()).get(name);
  const handle = file && (await open(file).catch(() => undefined));
  if (!handle) return refuse(response, 404, "there is no such file");
  try {
    const info = await handle.stat({ bigint: true });
    if (!info.isFile()) return refuse(response, 404, "there is no such file");
    const onBytes = options.onModelBytes && ((sent) => options.onModelBytes(sent, name));
    const pace = options.models.has(name) ? [options.throttle, onBytes] : undefined;
    await give(file, handle, info, request, response, pace);
  } finally {
    await handle.close();
  }
}

/** Sends an open file, or the requested part of it; `pace` has the speed and listener of a model. */
async function give(file, handle, info, request, response, pace) {
  const size = Number(info.size);
  const etag = await etagOf(file, handle, info);
  const headers = { ...HEADERS, ETag: etag, "Accept-Ranges": "bytes" };
  if (hasAlready(request.headers["if-none-match"], etag)) {
    return response.writeHead(304, headers).end();
  }
  const counts = request.method === "GET" && rangeCounts(request.headers["if-range"], etag);
  const range = counts ? rangeOf(request.headers.range, size) : undefined;
  if (range === "unsatisfiable") {
    const words = `the file has ${size} bytes`;
    return refuse(response, 416, words, { ...headers, "Content-Range": `bytes */${size}` });
  }
  const { start, end } = range ?? { start: 0, end: size };
  headers["Content-Type"] = TYPES[extname(file)] ?? "application/octet-stream";
  headers["Content-Length"] = end - start;
  if (range) headers["Content-Range"] = `bytes ${start}-${end - 1}/${size}`;
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === "HEAD" || end === start) return response.end();
  const bytes = handle.createReadStream({ start, end: end - 1, autoClose: false });
  const steps = pace ? [paced(start, ...pace)] : [];
  await pipeline(bytes, ...steps, response).catch((error) => {
    // The browser may close the connection at any time.
    if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  });
}

/** Sends the service worker, which is generated for every request. */
function giveText(text, request, response) {
  const body = Buffer.from(text);
  response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[".js"], "Content-Length": body.length });
  response.end(request.method === "HEAD" ? undefined : body);
}

/** Name of the requested file; undefined if the address is invalid. */
function nameOf(url) {
  try {
    const name = decodeURIComponent(new URL(url, "http://localhost").pathname).slice(1);
    return name === "" ? "index.html" : name;
  } catch {
    return undefined;
  }
}

function paced(start, bytesPerSecond, onBytes) {
  let sent = start;
  return new Transform({
    async transform(chunk, _encoding, done) {
      const step = bytesPerSecond ? Math.max(1, Math.ceil(bytesPerSecond / 20)) : chunk.length;
      for (let at = 0; at < chunk.length; at += step) {
        const piece = chunk.subarray(at, at + step);
        if (bytesPerSecond) await pause((1000 * piece.length) / bytesPerSecond);
        if (this.destroyed) return;
        this.push(piece);
        sent += piece.length;
        await onBytes?.(sent);
      }
      done();
    },
  });
}

function refuse(response, status, words, headers = {}) {
  const type = { "Content-Type": "text/plain; charset=utf-8" };
  response.writeHead(status, { ...HEADERS, ...type, ...headers }).end(`${words}\n`);
}

function number(name, value, max) {
  const n = Number(value);
  if (Number.isInteger(n) && n >= 0 && n <= max) return n;
  throw new Error(`--${name} is ${value}; expected a whole number from 0 to ${max}`);
}

async function main() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8080" },
      model: { type: "string", default: MODEL },
      small: { type: "string", default: SMALL },
      throttle: { type: "string" },
    },
  });
  const [model, small] = [resolve(values.model), resolve(values.small)];
  const throttle = values.throttle && number("throttle", values.throttle, 1e12);
  for (const [what, file, remedy] of [
    ["model", model, "make it with edge-export"],
    ["browser package", join(PACKAGE, "index.js"), "make it with `node wasm/build.mjs`"],
  ]) {
    if (!(await isFile(file))) throw new Error(`the ${what} is not at ${file}; ${remedy}`);
  }
  if (!(await isFile(small))) {
    console.error(`serve.mjs: the small model is not at ${small}, the page runs without it; make it with edge-export`);
  }
  const server = demoServer({ model, small, throttle });
  server.on("error", (error) => fail(error));
  server.listen(number("port", values.port, 65535), "127.0.0.1", () => {
    console.log(`The page is at http://localhost:${server.address().port}/ (stop with Ctrl+C)`);
  });
}

async function isFile(path) {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ?? false;
}

function fail(error) {
  const busy = error.code === "EADDRINUSE" ? "; choose another with --port" : "";
  console.error(`serve.mjs: ${error.message}${busy}`);
  process.exitCode = 1;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) main().catch(fail);
