#!/usr/bin/env node
// Serves the page, the browser package and the model from this machine.
//
//     node web-demo/serve.mjs [--port 8080] [--model FILE] [--throttle BYTES_PER_SECOND]

import { open, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { etagOf } from "./server/etag.mjs";
import { hasAlready, rangeCounts, rangeOf } from "./server/range.mjs";

const PAGE = fileURLToPath(new URL(".", import.meta.url));
const PACKAGE = join(PAGE, "..", "wasm", "pkg");
export const MODEL = join(PAGE, "..", "models", "sst2-minilm", "model.edge");

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".edge": "application/octet-stream",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};
/** The files of the page that are served; whatever else lies beside them is not. */
const PAGE_FILES = new Set(["index.html", "demo.css", "demo.js", "icon.svg"]);
const HEADERS = {
  "Cache-Control": "no-cache",
  "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
  "X-Content-Type-Options": "nosniff",
};

/**
 * A server that is not listening yet. `throttle` holds the model to so many bytes a second;
 * `onModelBytes(sent)` hears how far into the model a response has come, in bytes, and may return a
 * promise to hold the rest back.
 */
export function demoServer({ model = MODEL, throttle, onModelBytes } = {}) {
  return createServer((request, response) => {
    answer(request, response, { model, throttle, onModelBytes }).catch((error) => {
      if (response.headersSent) response.destroy();
      else refuse(response, 500, error.message);
    });
  });
}

async function answer(request, response, options) {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return refuse(response, 405, "only GET and HEAD are answered", { Allow: "GET, HEAD" });
  }
  const file = fileFor(request.url, options.model);
  const handle = file && (await open(file).catch(() => undefined));
  if (!handle) return refuse(response, 404, "there is no such file");
  try {
    const info = await handle.stat({ bigint: true });
    if (!info.isFile()) return refuse(response, 404, "there is no such file");
    await give(file, handle, info, request, response, options);
  } finally {
    await handle.close();
  }
}

/** Gives out an open file, or the part of it that is asked for. */
async function give(file, handle, info, request, response, options) {
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
  const isModel = file === options.model;
  const steps = isModel ? [paced(start, options.throttle, options.onModelBytes)] : [];
  await pipeline(bytes, ...steps, response).catch((error) => {
    // The browser may go away at any time.
    if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  });
}

/** The file behind an address, or undefined. */
function fileFor(url, model) {
  let path;
  try {
    path = decodeURIComponent(new URL(url, "http://localhost").pathname).slice(1);
  } catch {
    return undefined;
  }
  if (path === "model.edge") return model;
  if (path === "") path = "index.html";
  if (PAGE_FILES.has(path)) return join(PAGE, path);
  if (!path.startsWith("pkg/") || path.includes("\0")) return undefined;
  const file = resolve(PACKAGE, path.slice("pkg/".length));
  return file.startsWith(PACKAGE + sep) ? file : undefined;
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
  throw new Error(`--${name} ${value}: it takes a whole number from 0 to ${max}`);
}

async function main() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8080" },
      model: { type: "string", default: MODEL },
      throttle: { type: "string" },
    },
  });
  const model = resolve(values.model);
  const throttle = values.throttle && number("throttle", values.throttle, 1e12);
  for (const [what, file, remedy] of [
    ["model", model, "make it with edge-export"],
    ["browser package", join(PACKAGE, "index.js"), "make it with `node wasm/build.mjs`"],
  ]) {
    const found = await stat(file).catch(() => undefined);
    if (!found?.isFile()) throw new Error(`the ${what} is not at ${file}; ${remedy}`);
  }
  const server = demoServer({ model, throttle });
  server.on("error", (error) => fail(error));
  server.listen(number("port", values.port, 65535), "127.0.0.1", () => {
    console.log(`The page is at http://localhost:${server.address().port}/ (stop with Ctrl+C)`);
  });
}

function fail(error) {
  const busy = error.code === "EADDRINUSE" ? "; choose another with --port" : "";
  console.error(`serve.mjs: ${error.message}${busy}`);
  process.exitCode = 1;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) main().catch(fail);
