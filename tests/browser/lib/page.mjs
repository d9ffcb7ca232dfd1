// A browser, a server and a page for a test file.

import { readFileSync, statSync } from "node:fs";
import { chromium } from "playwright-core";
import { MODEL } from "./paths.mjs";
import { demoServer } from "../../../web-demo/serve.mjs";
import { ensureChromium } from "./chromium.mjs";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A browser, with further flags. */
export async function launch(flags = []) {
  return chromium.launch({ executablePath: ensureChromium(), args: [...FLAGS, ...flags] });
}

/**
 * A listening server; `close()` ends it together with its connections. `onRequest(request,
 * response)` hears of each request before it is answered.
 */
export async function serve({ onRequest, ...options } = {}) {
  const server = demoServer(options);
  if (onRequest) server.prependListener("request", onRequest);
  await new Promise((resolve, reject) => {
    server.on("error", reject).listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Options for a server that holds back the end of the model at `model.edge` until `release()`. */
export function heldBack({ hold, throttle }) {
  const total = statSync(MODEL).size;
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const state = { total, sent: 0, release };
  const onModelBytes = (sent, name) => {
    if (name !== "model.edge") return undefined;
    state.sent = sent;
    return sent >= total - hold && sent < total ? released : undefined;
  };
  return { state, options: { throttle, onModelBytes } };
}

/** The last stage of the model and what follows it, in bytes. */
export function lastEntrySize() {
  const bytes = readFileSync(MODEL);
  let last = 0;
  for (let at = 0; bytes[at] !== 0; at += 512 + Math.ceil(sizeAt(bytes, at) / 512) * 512) last = at;
  return bytes.length - last;
}

/** The manifest of a model. */
export function manifest(model = MODEL) {
  const bytes = readFileSync(model);
  return JSON.parse(bytes.toString("utf8", 512, 512 + sizeAt(bytes, 0)));
}

/** The size of the entry whose tar header stands at an offset. */
export function sizeAt(bytes, header) {
  return parseInt(bytes.toString("latin1", header + 124, header + 135), 8);
}

/** What Chromium itself says when it is asked for a GPU and has none. */
const NO_GPU = "No available adapters.";

/** A page whose every complaint is kept in `complaints`. */
export async function openPage(browser, url, prepare) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (m) => {
    if (m.text() === NO_GPU) return;
    if (m.type() === "error" || m.type() === "warning") complaints.push(`${m.type()}: ${m.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("requestfailed", (r) => complaints.push(`failed: ${r.url()} ${r.failure()?.errorText}`));
  await prepare?.(page);
  await page.goto(url);
  return { page, complaints };
}

/** A page of the same origin on which nothing happens by itself. */
export async function openBlank(browser, url) {
  const body = '<!doctype html><title>blank</title><link rel="icon" href="data:,">';
  return openPage(browser, `${url}blank`, (page) =>
    page.route(`${url}blank`, (route) => route.fulfill({ contentType: "text/html", body })),
  );
}
