// The engine in use, and the choice of another.

import { element, make } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { load, onModel } from "./model.js";

const ENGINES = { auto: "engineAuto", cpu: "engineCpu", gpu: "engineGpu" };

let chosen = "auto";
let now;
/** Why an engine could not be had. */
let refused;

export function startEngines() {
  for (const [engine, key] of Object.entries(ENGINES)) {
    const input = make("input", { type: "radio", name: "engine", value: engine, checked: engine === chosen });
    input.addEventListener("change", () => choose(engine));
    element("engines").append(make("label", {}, input, make("span", { "data-t": key }, t(key))));
  }
  onModel("first", (loaded) => {
    now = loaded;
    show();
  });
  onLanguage(show);
}

/** While it is locked the model in use stays. */
export function lockEngines(locked) {
  for (const input of document.getElementsByName("engine")) {
    input.disabled = locked || "refused" in input.dataset;
  }
}

async function choose(engine) {
  const before = chosen;
  chosen = engine;
  element("engine-now").textContent = t("engineLoading", { engine: t(ENGINES[engine]) });
  try {
    await load(engine);
  } catch (error) {
    // Another choice was made meanwhile.
    if (error.name === "AbortError") return;
    refused = { engine, reason: error.message };
    chosen = before;
    for (const input of document.getElementsByName("engine")) {
      input.checked = input.value === before;
      if (input.value !== engine) continue;
      input.disabled = true;
      input.dataset.refused = "";
    }
  }
  show();
}

function show() {
  if (!now) return;
  const { name, arithmetic, reason } = now.engine;
  const { precision } = now.manifest.architecture;
  const engine = t(name === "gpu" ? "engineGpuName" : "engineCpuName");
  element("engine-now").textContent = t("engineNow", { engine, arithmetic, precision });
  const line = element("engine-reason");
  if (refused) line.textContent = t("engineRefused", { engine: t(ENGINES[refused.engine]), reason: refused.reason });
  else line.textContent = reason ? t("engineFell", { reason }) : "";
  line.hidden = line.textContent === "";
}
