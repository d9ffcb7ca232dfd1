// Conversion of logits and thresholds to confidence, the largest probability.

export function softmax(logits) {
  const most = Math.max(...logits);
  const exps = logits.map((logit) => Math.exp(logit - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((e) => e / sum);
}

/** The index of the largest logit, the first one of equal logits, and its probability. */
export function best(logits) {
  const probabilities = softmax(logits);
  const index = probabilities.indexOf(Math.max(...probabilities));
  return { index, confidence: probabilities[index] };
}

/**
 * The confidence at which a text leaves at an exit; `Infinity` if all texts stay. Undefined if a confidence
 * alone does not decide: patience counts exits, and with more than two labels entropy and margin depend on
 * the other probabilities too.
 */
export function leavesAt(policy, exit, exits, labels) {
  if (exit === exits - 1) return undefined;
  if (policy.kind === "never") return Infinity;
  const threshold = Array.isArray(policy.threshold) ? policy.threshold[exit] : policy.threshold;
  if (policy.kind === "confidence") return threshold < 1 ? threshold : Infinity;
  if (labels !== 2) return undefined;
  if (policy.kind === "margin") return threshold < 1 ? (1 + threshold) / 2 : Infinity;
  if (policy.kind === "entropy") return threshold > 0 ? confidenceAtEntropy(threshold) : Infinity;
  return undefined;
}

/** The larger one of two probabilities with a given entropy, in bits. */
function confidenceAtEntropy(entropy) {
  const bits = (p) => (p >= 1 ? 0 : -p * Math.log2(p) - (1 - p) * Math.log2(1 - p));
  let [low, high] = [0.5, 1];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    // The entropy falls from 1 to 0 between a half and one.
    if (bits(middle) > entropy) low = middle;
    else high = middle;
  }
  return high;
}

/** Number of encoder layers computed up to each exit. */
export function layersOfExits(manifest) {
  let layers = 0;
  const out = [];
  for (const stage of manifest.stages) {
    layers += stage.layers;
    if (stage.exit) out.push(layers);
  }
  return out;
}

/** The number of encoder layers computed up to a stage. */
export function layersAt(manifest, stage) {
  return manifest.stages.slice(0, stage + 1).reduce((sum, { layers }) => sum + layers, 0);
}

/** Colour of an answer, by its label if the model's labels are positive and negative. */
export function toneOf(label) {
  return { POSITIVE: "positive", NEGATIVE: "negative" }[label] ?? "other";
}
