// Answers to the text as you type. An outdated question is stopped.

import { layersAt, toneOf } from "./confidence.js";
import { element, make, pause, problem } from "./dom.js";
import { layerName, showExits } from "./exits.js";
import { labelName, number, onLanguage, percent, t } from "./i18n.js";
import { classifier, onModel } from "./model.js";
import { onPolicy, policyFor } from "./slider.js";
import { MOST_WORDS, influences, pieces, showWords } from "./words.js";

const EXAMPLES = [
  "Somehow, this silly little film won me over.",
  "One long string of cliches.",
  "The acting is fine but the script never finds its footing.",
  "A gorgeous, witty, seductive movie.",
];
/** Delays after the last key, in milliseconds: for the answer, the screen reader's text, and the words. */
const DEBOUNCE = 120;
const SPEAK = 700;
const WORDS = 500;

/** Answer on the page, kept to show it again in another language. */
let shown;
let words;
let stop = new AbortController();
let given;

/** Classifies after each change of text, policy or model; calls `onGiven(manifest)` after each answer. */
export function startAnswers(onGiven) {
  given = onGiven;
  const text = element("text");
  text.value = EXAMPLES[0];
  text.addEventListener("input", () => ask(DEBOUNCE));
  for (const example of EXAMPLES) {
    const button = make("button", { type: "button", lang: "en" }, example);
    button.addEventListener("click", () => {
      text.value = example;
      ask(0);
    });
    element("examples").append(button);
  }
  onPolicy(() => ask(30));
  // A question to the old model may never be answered.
  onModel("begin", () => ask(0));
  onModel("first", (loaded) => {
    showExits(element("exits"), loaded.manifest, policyFor(loaded.manifest));
    ask(0);
  });
  onLanguage(() => {
    show();
    showInfluences();
  });
  element("verdict").textContent = t("thinking");
  showInfluences();
}

/** Answers one question at a time, then measures its words; the next question stops both. */
async function ask(delay) {
  stop.abort();
  const { signal } = (stop = new AbortController());
  const text = element("text").value;
  element("answer").setAttribute("aria-busy", "true");
  try {
    await pause(delay, signal);
    if (!text.trim()) return clear();
    const model = await classifier();
    signal.throwIfAborted();
    const policy = policyFor(model.manifest);
    const start = performance.now();
    const prediction = await model.classify(text, { policy, signal });
    signal.throwIfAborted();
    const milliseconds = performance.now() - start;
    shown = { text, manifest: model.manifest, policy, prediction, milliseconds };
    problem();
    show();
    given(model.manifest);
    await explain(model, text, prediction.label, signal);
  } catch (error) {
    if (!signal.aborted) problem(t("problem", { reason: error.message }));
  }
}

function clear() {
  shown = undefined;
  words = undefined;
  for (const id of ["verdict", "exit", "time", "tokens"]) element(id).textContent = t("noText");
  element("verdict").dataset.tone = "none";
  element("answer").setAttribute("aria-busy", "false");
  for (const item of element("exits").children) item.dataset.state = "unused";
  showInfluences();
}

function show() {
  if (!shown) return;
  const { manifest, policy, prediction, milliseconds } = shown;
  const { label, probabilities, tokens, truncated, stage } = prediction;
  const layer = layersAt(manifest, stage);
  const verdict = element("verdict");
  verdict.dataset.tone = toneOf(label);
  verdict.dataset.label = label;
  const confidence = percent(probabilities[label]);
  verdict.replaceChildren(make("strong", {}, labelName(label)), " ", make("span", {}, confidence));
  const { layers } = manifest.encoder;
  element("exit").textContent = layer === 0 ? layerName(0) : t("layerOf", { layer, layers });
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  element("time").textContent = t("milliseconds", { ms: number(milliseconds, digits) });
  element("tokens").textContent = truncated ? t("truncated", { tokens }) : number(tokens);
  showExits(element("exits"), manifest, policy, prediction);
  const answer = element("answer");
  answer.dataset.stage = stage;
  answer.dataset.text = shown.text;
  answer.setAttribute("aria-busy", "false");
}

/** Measures the words, and shows the answer to screen readers, once typing pauses. */
async function explain(model, text, label, signal) {
  words = undefined;
  const all = pieces(text).filter(({ word }) => word);
  showInfluences("wordsWait");
  await pause(WORDS, signal);
  if (all.length < 2) showInfluences("wordsOne");
  else if (all.length > MOST_WORDS) showInfluences("wordsLong", { most: MOST_WORDS, count: all.length });
  else {
    showInfluences("wordsWorking");
    const values = await influences(model, text, label, signal);
    words = { text, label, labels: model.manifest.task.labels, values };
    showInfluences();
  }
  await pause(SPEAK - WORDS, signal);
  speak();
}

function speak() {
  const { manifest, prediction } = shown;
  element("spoken").textContent = t("spoken", {
    label: labelName(prediction.label),
    confidence: percent(prediction.probabilities[prediction.label]),
    layer: layerName(layersAt(manifest, prediction.stage)),
  });
}

/** Reason why no words are shown, as arguments of `t`. */
let reason = ["wordsWait"];
function showInfluences(...why) {
  if (why.length > 0) reason = why;
  const place = element("words");
  place.dataset.text = words?.text ?? "";
  if (words) return showWords(place, element("words-summary"), words);
  place.textContent = shown?.text ?? "";
  element("words-summary").textContent = t(...reason);
}
