// Files of the site: the page's own files and the browser package. Other files in the folders are not served.

import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("..", import.meta.url));
export const PACKAGE = join(PAGE, "..", "wasm", "pkg");

export const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".edge": "application/octet-stream",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Folders of the site, with their addresses and the types of their files. */
const FOLDERS = [
  { under: "", folder: PAGE, types: [".html", ".css", ".svg"], deep: false },
  { under: "js/", folder: join(PAGE, "js"), types: [".js"], deep: true },
  { under: "data/", folder: join(PAGE, "data"), types: [".json"], deep: false },
  { under: "pkg/", folder: PACKAGE, types: [".js", ".wasm"], deep: true },
];
const SERVICE_WORKER = "service-worker.js";

/** Files of the site: addresses (without the first slash) to paths. */
export async function siteFiles() {
  const files = new Map([[SERVICE_WORKER, join(PAGE, SERVICE_WORKER)]]);
  for (const { under, folder, types, deep } of FOLDERS) {
    for (const [name, path] of await filesIn(folder, deep)) {
      if (types.includes(extname(name))) files.set(under + name, path);
    }
  }
  return files;
}

async function filesIn(folder, deep, under = "") {
  // A package that is not built has no files.
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const files = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isFile()) files.push([under + entry.name, path]);
    else if (deep && entry.isDirectory()) files.push(...(await filesIn(path, true, `${under}${entry.name}/`)));
  }
  return files;
}

/**
 * Text of the service worker: the addresses that it stores, a hash over their bytes, then the file. A change
 * of any file thus changes the worker, for which browsers check at every visit.
 */
export async function serviceWorker(files) {
  // The GPU engine is left out: without it the CPU answers.
  const kept = (name) => name !== SERVICE_WORKER && !/^pkg\/.*gpu\.(js|wasm)$/.test(name);
  const names = [...files.keys()].filter(kept).sort();
  const hash = createHash("sha256");
  for (const name of names) {
    hash.update(`${name}\0`).update(createHash("sha256").update(await readFile(files.get(name))).digest());
  }
  const text = await readFile(files.get(SERVICE_WORKER), "utf8");
  const version = hash.digest("base64url").slice(0, 16);
  return `const VERSION = ${JSON.stringify(version)};\nconst FILES = ${JSON.stringify(names)};\n${text}`;
}
