// Finds Chromium or Chrome, or installs it.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { aptInstall } from "../../../wasm/build/apt.mjs";
import { Failure } from "../../../wasm/build/run.mjs";

const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];

/** The path of the browser: $CHROMIUM, else one on PATH, else Debian's package. */
export function ensureChromium() {
  const named = process.env.CHROMIUM;
  if (named) {
    if (existsSync(named)) return named;
    throw new Failure(`CHROMIUM is ${named}, and there is no such file`);
  }
  const found = onPath() ?? (aptInstall(["chromium"]) ? onPath() : undefined);
  if (found) return found;
  throw new Failure("no Chromium is here; install it, or say where it is with CHROMIUM=/path/to/it");
}

function onPath() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.flatMap((dir) => NAMES.map((name) => join(dir, name))).find(existsSync);
}
