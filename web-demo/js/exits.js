// The confidence after each layer: a column for each exit, with the mark at which a text leaves.

import { best, layersOfExits, leavesAt, toneOf } from "./confidence.js";
import { make } from "./dom.js";
import { labelName, percent, t } from "./i18n.js";

/** Draws a prediction; without a prediction, draws the exits only. */
export function showExits(list, manifest, policy, prediction) {
  const layers = layersOfExits(manifest);
  while (list.children.length > layers.length) list.lastChild.remove();
  while (list.children.length < layers.length) list.append(column());
  const labels = manifest.task.labels.length;
  for (const [exit, item] of [...list.children].entries()) {
    const logits = prediction?.exits[exit];
    const mark = leavesAt(policy, exit, layers.length, labels);
    const parts = item.querySelectorAll(":scope > span");
    const [value, , name, said] = parts;
    name.textContent = layers[exit] === 0 ? t("embeddingsShort") : layers[exit];
    setPart(item, "--mark", mark === undefined ? undefined : part(mark, labels));
    item.classList.toggle("passes", mark === Infinity);
    item.classList.toggle("marked", mark !== undefined && mark !== Infinity);
    item.style.setProperty("--turn", exit);
    if (!logits) {
      item.dataset.state = "unused";
      delete item.dataset.tone;
      setPart(item, "--part", 0);
      value.textContent = "";
      said.textContent = prediction ? t("exitUnused", { layer: layerName(layers[exit]) }) : "";
      continue;
    }
    const { index, confidence } = best(logits);
    const left = exit === prediction.exits.length - 1;
    item.dataset.state = left ? "left" : "stayed";
    item.dataset.tone = toneOf(manifest.task.labels[index]);
    setPart(item, "--part", part(confidence, labels));
    value.textContent = percent(confidence, 0);
    said.textContent = t("exitSaid", {
      layer: layerName(layers[exit]),
      label: labelName(manifest.task.labels[index]),
      confidence: percent(confidence),
      outcome: left ? t("exitLeft") : outcome(mark),
    });
  }
}

function outcome(mark) {
  if (mark === undefined) return t("exitAgree");
  return mark === Infinity ? t("exitPass") : t("exitStay", { threshold: percent(mark) });
}

/** The name of a layer: 0 is the embeddings. */
export function layerName(layer) {
  return layer === 0 ? t("embeddings") : t("layer", { layer });
}

/** Height of a confidence in the chart, 0 to 1; chance is 0. */
function part(confidence, labels) {
  const chance = 1 / labels;
  return Math.min(1, Math.max(0, (confidence - chance) / (1 - chance)));
}

function setPart(item, name, value) {
  if (value === undefined) item.style.removeProperty(name);
  else item.style.setProperty(name, value.toFixed(4));
}

function column() {
  const hidden = { "aria-hidden": "true" };
  return make(
    "li",
    { "data-state": "unused" },
    make("span", { class: "value", ...hidden }),
    make("span", { class: "column", ...hidden }, make("span", { class: "fill" }), make("span", { class: "tick" })),
    make("span", { class: "name", ...hidden }),
    make("span", { class: "unseen" }),
  );
}
