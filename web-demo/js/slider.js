// Slider from fast to careful: chooses the exit policy on the curve that calibration measured.

import { curve } from "./charts.js";
import { element } from "./dom.js";
import { number, onLanguage, rounded, t } from "./i18n.js";
import { measured } from "./measured.js";
import { chosen, onModel } from "./model.js";

/** Thresholds for a model without a known curve: one for all exits. */
const THRESHOLDS = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999];
const DEFAULT = { kind: "confidence", threshold: 0.9 };

/** Measured curves of the shipped models, and the curve of the model in use, if it is known. */
let curves;
let known;
/** Steps `{ name, policy, accuracy, share }`, from fast to careful; `own` is the model's own policy. */
let steps = [];
let manifest;
const listeners = [];

/** Calls `listener` when another policy is chosen. */
export function onPolicy(listener) {
  listeners.push(listener);
}

/** The chosen policy for a model. */
export function policyFor({ policy }) {
  const step = steps[element("careful").valueAsNumber];
  return !step || step.name === "own" ? (policy ?? DEFAULT) : step.policy;
}

export async function startSlider() {
  const slider = element("careful");
  const choose = () => {
    show();
    for (const listener of listeners) listener();
  };
  slider.addEventListener("input", choose);
  element("careful-own").addEventListener("click", () => {
    slider.value = steps.findIndex(({ name }) => name === "own");
    choose();
  });
  onModel("first", (loaded) => {
    const isOther = !samePolicy(loaded.manifest.policy, manifest?.policy);
    manifest = loaded.manifest;
    if (isOther && curves) arrange();
  });
  onLanguage(show);
  curves = await measured;
  manifest ??= { policy: curves[chosen().tier].own.policy };
  arrange();
}

/** Makes the steps for the model. Its own policy is chosen, or full depth if that was chosen before. */
function arrange() {
  const slider = element("careful");
  const name = steps[slider.valueAsNumber]?.name === "full" ? "full" : "own";
  const own = { name: "own", policy: manifest.policy ?? DEFAULT };
  known = Object.values(curves).find((one) => samePolicy(manifest.policy, one.own.policy));
  if (known) {
    const { kind } = known.own.policy;
    const points = known.points.map(({ threshold, accuracy, share }) => {
      return { name: "point", policy: { kind, threshold }, accuracy, share };
    });
    steps = [...points, { ...known.own, name: "own" }].sort((a, b) => a.share - b.share);
    steps.push({ name: "full", policy: { kind: "never" }, ...known.full });
  } else {
    const others = THRESHOLDS.map((threshold) => ({ name: "unknown", policy: { kind: "confidence", threshold } }));
    steps = [...others, own, { name: "full", policy: { kind: "never" } }];
  }
  slider.max = steps.length - 1;
  slider.value = steps.findIndex((step) => step.name === name);
  show();
}

function show() {
  if (steps.length === 0) return;
  const slider = element("careful");
  const step = steps[slider.valueAsNumber];
  const figures = figuresOf(step);
  element("careful-figures").textContent = figures;
  slider.setAttribute("aria-valuetext", figures);
  const notes = { own: "carefulNoteOwn", full: "carefulNoteFull", point: "carefulNotePoint", unknown: "carefulNoteUnknown" };
  element("careful-note").textContent = t(notes[step.name]);
  element("careful-own").disabled = step.name === "own";
  slider.dataset.step = step.name;
  drawCurve(step);
}

function figuresOf({ name, policy, accuracy, share }) {
  if (accuracy !== undefined) {
    return t("carefulFigures", { accuracy: rounded(accuracy), share: rounded(share, 0) });
  }
  if (name === "full") return t("carefulFiguresNever");
  if (policy.kind !== "confidence" || Array.isArray(policy.threshold)) return t("carefulNoteOwn");
  return t("carefulFiguresUnknown", { confidence: number(policy.threshold, { style: "percent", maximumFractionDigits: 1 }) });
}

function drawCurve(step) {
  element("curve").hidden = !known;
  if (!known) return;
  const all = steps.map(({ accuracy }) => accuracy);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  // A little room below and above.
  const place = ({ share, accuracy }) => ({ x: share, y: 0.04 + (0.9 * (accuracy - low)) / (high - low) });
  const line = steps.filter(({ name }) => name === "point").map(place);
  const dots = steps.filter(({ name }) => name !== "point").map((one) => ({ ...place(one), class: one.name }));
  dots.push({ ...place(step), class: "now" });
  const { sentences, full } = known;
  const texts = { start: rounded(low), end: t("axisFull", { accuracy: rounded(full.accuracy) }), left: rounded(0, 0), right: t("axisShare", { share: rounded(1, 0) }) };
  const label = t("carefulCurve", { sentences, low: texts.start, high: rounded(full.accuracy) });
  element("curve").replaceChildren(curve(line, dots, texts, label));
}

/** True if two policies are equal, up to the rounding of thresholds to f32. */
function samePolicy(a, b) {
  if (a?.kind !== b?.kind) return false;
  const [one, other] = [a, b].map((policy) => [policy?.threshold ?? []].flat());
  return one.length === other.length && one.every((value, i) => Math.abs(value - other[i]) < 1e-6);
}
