// Stores the site's own files, so that the site works without a network after the first visit. The server
// writes VERSION, a hash over the files, and FILES, their addresses, before this line.
//
// The model is not stored here: the package stores it itself, under its hash.
/* global VERSION, FILES */

const PREFIX = "edge-demo-";
const CACHE = PREFIX + VERSION;
const BASE = new URL("./", self.location);

self.addEventListener("install", (event) => {
  event.waitUntil(keep());
});

async function keep() {
  const cache = await caches.open(CACHE);
  // Revalidates the browser's copies with the server, so that all files have the same version.
  await cache.addAll(FILES.map((name) => new Request(new URL(name, BASE), { cache: "no-cache" })));
}

// A new version waits until all pages of the old version are closed.
self.addEventListener("activate", (event) => {
  event.waitUntil(dropOthers());
});

async function dropOthers() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== BASE.origin || !url.pathname.startsWith(BASE.pathname)) return;
  const name = url.pathname.slice(BASE.pathname.length) || "index.html";
  if (FILES.includes(name)) event.respondWith(answer(name, request));
});

async function answer(name, request) {
  const kept = await caches.match(new URL(name, BASE), { cacheName: CACHE });
  return kept ?? fetch(request);
}
