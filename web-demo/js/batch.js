// Many texts at once: pasted lines or a file, streamed through the model, with the results to download.

import { lockChoices } from "./choice.js";
import { layersAt, layersOfExits, toneOf } from "./confidence.js";
import { csvRow, harmless } from "./csv.js";
import { element, make, pause, problem } from "./dom.js";
import { layerName } from "./exits.js";
import { labelName, number, onLanguage, percent, t } from "./i18n.js";
import { settled } from "./model.js";
import { inspect, rowsOf } from "./rows.js";
import { policyFor } from "./slider.js";

/** Number of rows of the table, and largest number of characters of each. */
const SHOWN = 20;
const CHARACTERS = 300;
/** Milliseconds between two updates of the figures. */
const REDRAW = 100;
/** Rows of the results that are joined to one string. */
const PIECE = 1000;

/** The chosen file, with the result of `inspect`; without a file the pasted lines are used. */
let file;
let kind;
/** The run that is shown, and the controller that stops it while it runs. */
let run;
let stop;

export function startBatch() {
  const drop = element("batch");
  element("file").addEventListener("change", ({ target }) => choose(target.files[0]));
  element("lines").addEventListener("input", () => choose(undefined));
  for (const event of ["dragenter", "dragover"]) {
    drop.addEventListener(event, (e) => {
      e.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", (e) => drop.contains(e.relatedTarget) || drop.classList.remove("over"));
  drop.addEventListener("drop", (e) => {
    e.preventDefault();
    drop.classList.remove("over");
    if (e.dataTransfer.files.length > 0) choose(e.dataTransfer.files[0]);
  });
  element("header").addEventListener("change", nameColumns);
  element("batch-form").addEventListener("submit", (e) => {
    e.preventDefault();
    if (!stop) start();
  });
  element("stop").addEventListener("click", () => stop?.abort());
  onLanguage(() => {
    showChosen();
    if (run) {
      fillTable();
      show();
    }
  });
}

async function choose(chosen) {
  const mine = (file = chosen);
  kind = undefined;
  problem(undefined, element("batch-problem"));
  if (!chosen) element("file").value = "";
  else {
    try {
      const found = await inspect(chosen, chosen.name);
      if (file !== mine) return;
      kind = found;
      element("header").checked = kind.header;
    } catch (error) {
      if (file !== mine) return;
      file = undefined;
      showProblem(error);
    }
  }
  showChosen();
}

function showChosen() {
  element("chosen").textContent = file ? t("chosen", { name: file.name, size: Math.ceil(file.size / 1000) }) : "";
  element("columns").hidden = !(kind?.columns.length > 1 || kind?.header);
  if (kind) nameColumns();
}

/** Fills in the names of the columns; the choice stays. */
function nameColumns() {
  const select = element("column");
  const chosen = kind.named ? select.selectedIndex : kind.column;
  kind.named = true;
  const names = kind.columns.map((cell, i) => {
    return element("header").checked && cell.trim() ? cell.trim() : t("columnNumber", { number: i + 1 });
  });
  select.replaceChildren(...names.map((name, i) => make("option", { value: i }, name)));
  select.selectedIndex = chosen;
}

async function start() {
  const blob = file ?? new Blob([element("lines").value]);
  const header = file ? element("header").checked : false;
  const column = file ? Math.max(0, element("column").selectedIndex) : 0;
  problem(undefined, element("batch-problem"));
  if (file && !kind) return;
  if (!file && !element("lines").value.trim()) {
    problem(t("batchEmpty"), element("batch-problem"));
    return;
  }
  stop = new AbortController();
  setRunning(true);
  let model;
  try {
    model = await settled();
    const style = kind?.style ?? (await inspect(blob)).style;
    run = new Run(model.manifest);
    fillTable();
    await run.go(model, textsOf(rowsOf(blob, style), header, column), stop.signal);
    run.ended = "batchDone";
  } catch (error) {
    if (run) run.ended = stop.signal.aborted ? "batchStopped" : "batchFailed";
    if (!stop.signal.aborted) showProblem(error);
  }
  stop = undefined;
  setRunning(false);
  if (run) {
    show();
    offerDownload();
    element("batch-said").textContent = t(run.ended, { figures: run.figures() });
  }
}

function setRunning(running) {
  element("start").disabled = running;
  element("stop").disabled = !running;
  lockChoices(running);
  if (!running) return;
  element("results").hidden = false;
  element("download").hidden = true;
  element("download-note").hidden = true;
}

function showProblem(error) {
  const reason = error.key ? t(error.key, error.values) : t("problem", { reason: error.message });
  problem(reason, element("batch-problem"));
}

async function* textsOf(rows, header, column) {
  let first = header;
  for await (const { cells, share } of rows) {
    if (first) first = false;
    else yield { text: cells[column], share };
  }
}

/** Results of a run so far; texts and answers are stored as rows of the CSV file. */
class Run {
  count = 0;
  share = 0;
  rows = [];
  pieces = [];
  #piece = [];
  #begun = performance.now();
  #took = 0;
  #drawn = 0;

  constructor(manifest) {
    this.manifest = manifest;
    this.exits = layersOfExits(manifest);
    this.left = this.exits.map(() => 0);
    const probabilities = manifest.task.labels.map((label) => `probability_${label}`);
    this.pieces.push(csvRow(["text", "label", "confidence", "left_after_layer", "tokens", "truncated", ...probabilities]));
  }

  async go(model, texts, signal) {
    const waiting = [];
    const given = async function* () {
      for await (const one of texts) {
        waiting.push(one);
        yield one.text;
      }
    };
    const policy = policyFor(this.manifest);
    for await (const prediction of model.stream(given(), { policy, signal })) {
      this.#add(waiting.shift(), prediction);
      if (performance.now() - this.#drawn < REDRAW) continue;
      show();
      // The page gets a turn, even if answers arrive fast.
      await pause(0, signal);
      this.#drawn = performance.now();
    }
    this.share = 1;
    this.#took = performance.now() - this.#begun;
  }

  #add({ text, share }, prediction) {
    const { label, probabilities, tokens, truncated, exits, stage } = prediction;
    const layer = layersAt(this.manifest, stage);
    const of = this.manifest.task.labels.map((name) => probabilities[name].toFixed(6));
    const confidence = probabilities[label];
    this.#piece.push(csvRow([harmless(text), label, confidence.toFixed(6), layer, tokens, truncated, ...of]));
    if (this.#piece.length >= PIECE) this.#cut();
    this.count++;
    this.share = share;
    this.left[exits.length - 1]++;
    if (this.rows.length < SHOWN) {
      this.rows.push({ text: text.slice(0, CHARACTERS), label, confidence, layer });
      addRow(this.rows.length, this.rows.at(-1));
    }
    this.#took = performance.now() - this.#begun;
  }

  #cut() {
    this.pieces.push(this.#piece.join(""));
    this.#piece = [];
  }

  figures() {
    const speed = this.#took > 0 ? Math.round((1000 * this.count) / this.#took) : 0;
    return t("batchFigures", { count: this.count, speed });
  }

  /** All results as a file. */
  file() {
    this.#cut();
    return new Blob(this.pieces, { type: "text/csv" });
  }
}

function show() {
  element("batch-progress").value = run.share;
  element("batch-figures").textContent = run.figures();
  element("rows-caption").textContent = t("rowsCaption", { count: run.rows.length });
  const most = Math.max(1, ...run.left);
  const list = element("histogram");
  while (list.children.length > run.exits.length) list.lastChild.remove();
  run.exits.forEach((layer, exit) => {
    const share = run.count > 0 ? run.left[exit] / run.count : 0;
    const item = list.children[exit] ?? list.appendChild(histogramBar());
    item.style.setProperty("--part", (run.left[exit] / most).toFixed(4));
    item.dataset.count = run.left[exit];
    const [value, , name, said] = item.children;
    value.textContent = run.left[exit] > 0 ? percent(share, 0) : "";
    name.textContent = layer === 0 ? t("embeddingsShort") : layer;
    said.textContent = t("histogramBar", { layer: layerName(layer), count: run.left[exit], share: percent(share) });
  });
}

function histogramBar() {
  const hidden = { "aria-hidden": "true" };
  return make(
    "li",
    {},
    make("span", { class: "value", ...hidden }),
    make("span", { class: "column", ...hidden }, make("span", { class: "fill" })),
    make("span", { class: "name", ...hidden }),
    make("span", { class: "unseen" }),
  );
}

function fillTable() {
  element("rows-body").replaceChildren();
  element("rows").hidden = run.rows.length === 0;
  run.rows.forEach((row, i) => addRow(i + 1, row));
}

function addRow(index, { text, label, confidence, layer }) {
  element("rows").hidden = false;
  element("rows-body").append(
    make(
      "tr",
      {},
      make("td", { class: "ms" }, number(index)),
      make("td", { class: "text", lang: "en" }, text),
      make("td", { "data-tone": toneOf(label), "data-label": label }, labelName(label)),
      make("td", { class: "ms" }, percent(confidence)),
      make("td", {}, layerName(layer)),
    ),
  );
}

function offerDownload() {
  const link = element("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(run.file());
  link.hidden = false;
  element("download-note").hidden = false;
}
