// Serves the page, both runtimes and their models, with the headers that give a page a fine clock.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { ROOT } from "../../browser/lib/paths.mjs";
import { HERE, MODELS } from "./paths.mjs";

const PACKAGE = join(ROOT, "wasm", "pkg");
const FOLDERS = {
  bench: HERE,
  model: MODELS,
  ort: join(HERE, "node_modules", "onnxruntime-web", "dist"),
  pkg: PACKAGE,
  "pkg-plain": PACKAGE,
  "pkg-relaxed": PACKAGE,
};
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
const BLANK = '<!doctype html><title>benchmark</title><link rel="icon" href="data:,">';

/** A listening server: `{ url, close }`. */
export async function serve() {
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => response.destroy(error));
  });
  await new Promise((done, failed) => server.on("error", failed).listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close() {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

async function answer(request, response) {
  const path = new URL(request.url, "http://localhost").pathname.slice(1);
  if (path === "") {
    response.writeHead(200, { ...HEADERS, "Content-Type": "text/html" }).end(BLANK);
    return;
  }
  const [folder, ...rest] = path.split("/");
  const root = FOLDERS[folder];
  const file = root && resolve(root, rest.join("/"));
  const info = file?.startsWith(root + sep) && (await stat(file).catch(() => undefined));
  if (!info?.isFile()) {
    response.writeHead(404, HEADERS).end();
    return;
  }
  response.writeHead(200, {
    ...HEADERS,
    "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
    "Content-Length": info.size,
  });
  await pipeline(createReadStream(file), response);
}
