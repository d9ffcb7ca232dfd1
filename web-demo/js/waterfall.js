// Waterfall chart of loading: arrival of each part, from the start of navigation to the first answer.

import { element, make, problem } from "./dom.js";
import { megabytes, number, onLanguage, t } from "./i18n.js";
import { onModel } from "./model.js";

const BLOCK = 512;
/** Size of an entry of a tar: its header, and its bytes in whole blocks. */
const inTar = (bytes) => BLOCK + Math.ceil(bytes / BLOCK) * BLOCK;
/** Size of the end of a tar: two empty blocks. */
const TAR_END = 2 * BLOCK;

/** The load that is shown: its start, the arrivals, and the times of its events. */
let load;
/** Shown loads by load of the model, to return to an earlier one. */
const loads = new WeakMap();
/** Time at which the page's own files have arrived: when this module runs. */
const pageReady = performance.now();

export function startWaterfall() {
  onModel("begin", (one) => {
    load = { begun: one.time, isFirst: load === undefined, samples: [] };
    loads.set(one, load);
    element("arriving").textContent = t("loadingFirst");
    delete element("loaded").dataset.from;
  });
  onModel("progress", (progress) => {
    load.samples.push({ time: performance.now(), ...progress });
    if (!load.complete) showArriving();
  });
  onModel("first", ({ manifest }) => {
    load.manifest = manifest;
    load.possible = performance.now();
    element("status").textContent = t("firstReady");
    draw();
  });
  onModel("complete", () => {
    load.complete = performance.now();
    show();
  });
  onModel("kept", (one) => {
    load = loads.get(one);
    show();
  });
  onModel("failed", (error) => {
    problem(t("problem", { reason: error.message }));
    element("arriving").textContent = "";
  });
  onLanguage(show);
}

/** Called when an answer of the model with this manifest is on the page. */
export function answerGiven(manifest) {
  if (load.given || load.manifest !== manifest) return;
  load.given = performance.now();
  draw();
}

function show() {
  if (!load) return;
  if (!load.complete) return showArriving();
  const { samples, begun, complete, manifest } = load;
  const { totalBytes, from } = samples.at(-1);
  element("arriving").textContent = t("loaded", {
    megabytes: megabytes(totalBytes),
    seconds: number((complete - begun) / 1000, { minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    from: t(from === "cache" ? "fromCache" : "fromNetwork"),
  });
  element("loaded").dataset.from = from;
  element("status").textContent = t("modelReady", { count: manifest.stages.length });
  draw();
}

/** Shows the progress. The element is not a live region: a screen reader would read every piece. */
function showArriving() {
  const last = load.samples.at(-1);
  if (!last) return;
  const { bytes, totalBytes, stagesReady, stagesTotal } = last;
  element("arriving").textContent = t("loading", {
    bytes: megabytes(bytes),
    totalBytes: megabytes(totalBytes),
    stagesReady,
    stagesTotal,
  });
  if (load.manifest && performance.now() - (load.drawn ?? 0) > 100) draw();
}

/**
 * Rows of the chart, in milliseconds: `{ name, from, arrived, to, bytes }`, ready at `to`, or
 * `{ name, moment }`.
 */
function parts() {
  const { begun, isFirst, manifest, samples, possible, given } = load;
  const rows = [];
  if (isFirst) {
    rows.push({ name: t("partPage"), from: 0, to: pageReady, bytes: bytesOf(pageFiles()) });
    // The package's worker fetches most of the code, invisibly for the page. The code runs once the page
    // gets the first progress.
    const from = Math.min(begun, ...codeFiles().map(({ startTime }) => startTime));
    rows.push({ name: t("partCode"), from, to: samples[0].time });
  }
  const { totalBytes } = samples.at(-1);
  const sizes = manifest.entries.map(({ bytes }) => inTar(bytes));
  let at = totalBytes - TAR_END - sizes.reduce((a, b) => a + b, 0);
  rows.push({ name: t("partManifest"), from: begun, to: arrival(at), bytes: at - BLOCK });
  let stage = 0;
  for (const [i, { name, bytes }] of manifest.entries.entries()) {
    const from = departure(at);
    at += sizes[i];
    const arrived = arrival(at);
    if (!name.startsWith("stage-")) {
      rows.push({ name: t("partTokenizer"), from, to: arrived, bytes });
      continue;
    }
    const number = stage++;
    const ready = samples.find(({ stagesReady }) => stagesReady > number)?.time;
    rows.push({ name: t("partStage", { stage: number }), from, arrived, to: ready, bytes });
  }
  rows.push({ name: t("partPossible"), moment: possible }, { name: t("partGiven"), moment: given });
  return rows;

  /** Time at which a number of bytes had arrived; undefined before. */
  function arrival(bytes) {
    return samples.find((sample) => sample.bytes >= bytes)?.time;
  }
  /** Last time at which at most a number of bytes had arrived. */
  function departure(bytes) {
    return samples.findLast((sample) => sample.bytes <= bytes)?.time ?? begun;
  }
}

const folder = new URL("..", import.meta.url).href;
const resources = () => performance.getEntriesByType("resource").filter(({ name }) => name.startsWith(folder));
const codeFiles = () => resources().filter(({ name }) => name.startsWith(`${folder}pkg/`));
const pageFiles = () => [
  ...performance.getEntriesByType("navigation"),
  ...resources().filter(({ name, startTime }) => startTime < pageReady && !/\/pkg\/|\.edge$/.test(name.slice(folder.length - 1))),
];
const bytesOf = (files) => files.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);

function draw() {
  if (!load?.manifest) return;
  load.drawn = performance.now();
  const start = load.isFirst ? 0 : load.begun;
  const rows = parts();
  const end = Math.max(...rows.map(({ from, to, moment }) => moment ?? to ?? from ?? 0), load.possible);
  const span = Math.max(1, end - start);
  const head = ["waterfallWhat", "waterfallWhen", "waterfallEnd", "waterfallSize"].map((key) => {
    return make("th", { scope: "col", class: "unseen" }, t(key));
  });
  const body = rows.map(({ name, from, arrived, to, moment, bytes }) => {
    const share = (time) => (time - start) / span;
    const track = make("span", { class: "track", "aria-hidden": "true" });
    if (moment !== undefined) track.append(bar("moment", share(moment), share(moment)));
    if (from !== undefined) {
      const until = arrived ?? to;
      if (until !== undefined) track.append(bar("arrives", share(from), share(until)));
      if (arrived !== undefined && to !== undefined) track.append(bar("readies", share(arrived), share(to)));
    }
    const time = moment ?? to;
    return make(
      "tr",
      { class: from === undefined ? "moments" : undefined },
      make("th", { scope: "row" }, name),
      make("td", { class: "when" }, track),
      make("td", { class: "ms" }, time === undefined ? "" : number(time - start, { maximumFractionDigits: 0 })),
      make("td", { class: "size" }, bytes === undefined ? "" : size(bytes)),
    );
  });
  element("waterfall").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
}

function bar(name, from, to) {
  const piece = make("span", { class: name });
  piece.style.setProperty("left", `${(100 * from).toFixed(2)}%`);
  piece.style.setProperty("width", `${(100 * Math.max(0, to - from)).toFixed(2)}%`);
  return piece;
}

function size(bytes) {
  if (bytes < 1e6) return t("kilobytes", { size: number(bytes / 1000, { maximumFractionDigits: 0 }) });
  return t("megabyte", { value: megabytes(bytes) });
}
