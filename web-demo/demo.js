// The page: loads the model while you read, answers as soon as the first exit is there.

import { Classifier } from "./pkg/index.js";

const EXAMPLES = [
  "One long string of cliches.",
  "It's a charming and often affecting journey.",
  "Not nearly as bad as I had feared.",
  "The acting is fine but the script never finds its footing.",
];

/** For a model that brings no exit policy of its own. */
const POLICY = { kind: "confidence", threshold: 0.9 };

const element = (id) => document.getElementById(id);
const form = element("form");
const text = element("text");
/** Rounded down, for no answer is certain. */
const percent = new Intl.NumberFormat("en", {
  style: "percent",
  maximumFractionDigits: 1,
  roundingMode: "trunc",
});
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

const loading = Classifier.load("model.edge", { onProgress: showProgress });
loading
  .then(async (classifier) => {
    await classifier.complete();
    element("progress").hidden = true;
    element("arriving").hidden = true;
    element("status").textContent = `Model ready: all ${classifier.manifest.stages.length} stages.`;
  })
  .catch(showProblem);

/** Only the answer to the latest question is shown. */
let latest = 0;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(text.value).catch(showProblem);
});
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
for (const example of EXAMPLES) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = example;
  button.addEventListener("click", () => {
    text.value = example;
    form.requestSubmit();
  });
  element("examples").append(button);
}

async function ask(question) {
  const mine = ++latest;
  element("answer").classList.add("waiting");
  const classifier = await loading;
  const start = performance.now();
  const prediction = await classifier.classify(question, {
    policy: classifier.manifest.policy ?? POLICY,
  });
  const milliseconds = performance.now() - start;
  if (mine === latest) showAnswer(classifier.manifest, prediction, milliseconds);
}

function showAnswer(manifest, prediction, milliseconds) {
  const layers = manifest.stages
    .slice(0, prediction.stage + 1)
    .reduce((sum, stage) => sum + stage.layers, 0);
  const answer = element("answer");
  element("label").textContent = prediction.label;
  element("confidence").textContent = percent.format(prediction.probabilities[prediction.label]);
  element("exit").textContent = `layer ${layers} of ${manifest.architecture.layers}`;
  element("time").textContent = `${milliseconds.toFixed(1)} ms`;
  element("tokens").textContent = prediction.truncated
    ? `${prediction.tokens}, the rest was cut off`
    : `${prediction.tokens}`;
  element("exits").replaceChildren(...exitsOf(manifest, prediction));
  answer.dataset.stage = prediction.stage;
  answer.classList.remove("waiting");
  answer.hidden = false;
}

/** A line for each exit that the text passed. */
function exitsOf(manifest, prediction) {
  let layer = 0;
  const layerOfExit = [];
  for (const stage of manifest.stages) {
    layer += stage.layers;
    if (stage.exit) layerOfExit.push(layer);
  }
  return prediction.exits.map((logits, exit) => {
    const best = Math.max(...logits);
    const confidence = 1 / logits.reduce((sum, logit) => sum + Math.exp(logit - best), 0);
    const name = document.createElement("span");
    name.textContent = `Layer ${layerOfExit[exit]}`;
    const meter = document.createElement("meter");
    meter.value = confidence;
    meter.setAttribute("aria-hidden", "true");
    const words = document.createElement("span");
    words.textContent = `${manifest.labels[logits.indexOf(best)]} ${percent.format(confidence)}`;
    const line = document.createElement("li");
    line.append(name, meter, words);
    return line;
  });
}

function showProgress({ bytes, totalBytes, stagesReady, stagesTotal }) {
  const progress = element("progress");
  if (totalBytes > 0) {
    progress.max = totalBytes;
    progress.value = bytes;
  }
  // Not a live region: a screen reader would read out every piece.
  element("arriving").textContent =
    `Loading the model: ${megabytes(bytes)} of ${megabytes(totalBytes)} MB, ` +
    `${stagesReady} of ${stagesTotal} stages.`;
}

function showProblem(error) {
  element("problem").textContent = `That did not work: ${error.message}`;
  element("problem").hidden = false;
  element("loading").hidden = true;
  element("answer").classList.remove("waiting");
}
