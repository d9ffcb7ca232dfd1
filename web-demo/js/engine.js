// Display and choice of the engine.

import { refuseChoice, showChoice, startChoice } from "./choice.js";
import { element, make } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { load, onModel } from "./model.js";

const ENGINES = { auto: "engineAuto", cpu: "engineCpu", gpu: "engineGpu" };

/** The classifier in use. */
let now;
/** Engine that is not available, with the reason. */
let refused;

export function startEngines() {
  const labels = Object.entries(ENGINES).map(([engine, key]) => [engine, make("span", { "data-t": key }, t(key))]);
  startChoice("engines", Object.fromEntries(labels), (engine) => load({ engine }));
  onModel("begin", ({ engine }) => {
    showChoice("engines", engine);
    if (now) element("engine-now").textContent = t("engineLoading");
  });
  onModel("first", (loaded) => {
    now = loaded;
    show();
  });
  onModel("refused", ({ engine, asked, error }) => {
    if (asked !== "engine") return;
    refused = { engine, reason: error.message };
    // A network error does not depend on the engine.
    if (error.code !== "network") refuseChoice("engines", engine);
  });
  onModel("kept", ({ engine }) => {
    showChoice("engines", engine);
    show();
  });
  onLanguage(show);
}

function show() {
  if (!now) return;
  const { name, arithmetic, reason } = now.engine;
  const { layers } = now.manifest.encoder;
  const { precision } = now.manifest.weights;
  const engine = t(name === "gpu" ? "engineGpuName" : "engineCpuName");
  element("engine-now").textContent = t("engineNow", { engine, arithmetic, count: layers, precision });
  const line = element("engine-reason");
  if (refused) line.textContent = t("engineRefused", { engine: t(ENGINES[refused.engine]), reason: refused.reason });
  else line.textContent = reason ? t("engineFell", { reason }) : "";
  line.hidden = line.textContent === "";
}
