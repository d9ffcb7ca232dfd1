// Choice of one value: radio buttons side by side, as segments.

import { element, make } from "./dom.js";

/**
 * Fills the group of an id with a radio button for each value. `labels` are the contents of the buttons, by
 * value. `choose` is called with a new choice.
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

/** Marks a value as not available: the button is disabled and struck out. */
export function refuseChoice(id, value) {
  for (const input of document.getElementsByName(id)) {
    if (input.value !== value) continue;
    input.disabled = true;
    input.dataset.refused = "";
  }
}

/** Locks or unlocks all choices. */
export function lockChoices(locked) {
  for (const input of document.querySelectorAll(".segments input")) {
    input.disabled = locked || "refused" in input.dataset;
  }
}
