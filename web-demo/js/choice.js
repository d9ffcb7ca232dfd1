// One of several: radio buttons that stand side by side as segments.

import { element, make } from "./dom.js";

/**
 * Fills the group of this id with a radio button for each value; `labels` are what stands in them, by
 * value. `choose` hears of another choice.
 */
export function startChoice(id, labels, choose) {
  for (const [value, label] of Object.entries(labels)) {
    const input = make("input", { type: "radio", name: id, value });
    input.addEventListener("change", () => choose(value));
    element(id).append(make("label", {}, input, label));
  }
}

export function showChoice(id, value) {
  for (const input of document.getElementsByName(id)) input.checked = input.value === value;
}

/** A value that cannot be had: it is struck out. */
export function refuseChoice(id, value) {
  for (const input of document.getElementsByName(id)) {
    if (input.value !== value) continue;
    input.disabled = true;
    input.dataset.refused = "";
  }
}

/** While they are locked, all choices stay as they are. */
export function lockChoices(locked) {
  for (const input of document.querySelectorAll(".segments input")) {
    input.disabled = locked || "refused" in input.dataset;
  }
}
