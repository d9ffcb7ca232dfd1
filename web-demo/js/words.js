// Influence of each word: the word is left out, and the probability of the answer is compared.

import { toneOf } from "./confidence.js";
import { make } from "./dom.js";
import { labelName, number, t } from "./i18n.js";

/** Largest number of words of a text; each word is one more text to classify. */
export const MOST_WORDS = 100;
/** Smallest difference that is shown (less is noise), and the difference of the strongest tint. */
const LEAST = 0.005;
const STRONGEST = 0.5;
const NAMED = 3;

const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/** Pieces of a text, `{ text, at, word }`; `word` is false for the text between words. */
export function pieces(text) {
  return [...segmenter.segment(text)].map(({ segment, index, isWordLike }) => {
    return { text: segment, at: index, word: isWordLike };
  });
}

/**
 * Decrease of the probability of `label` at full depth when a word is left out: one number for each word,
 * in their order, −1 to 1.
 */
export async function influences(classifier, text, label, signal) {
  const words = pieces(text).filter(({ word }) => word);
  const without = words.map((word) => text.slice(0, word.at) + text.slice(word.at + word.text.length));
  const policy = { kind: "never" };
  const [whole, ...others] = await classifier.classify([text, ...without], { policy, signal });
  signal.throwIfAborted();
  return others.map(({ probabilities }) => whole.probabilities[label] - probabilities[label]);
}

/** Shows the text with tinted words, and names the strongest words in the summary. */
export function showWords(place, summary, { text, label, labels, values }) {
  let next = 0;
  const against = labels.length === 2 ? labels.find((other) => other !== label) : undefined;
  const tinted = pieces(text).map((piece) => {
    if (!piece.word) return piece.text;
    const value = values[next++];
    const word = make("span", {}, piece.text);
    if (Math.abs(value) >= LEAST) {
      word.dataset.tone = value > 0 ? toneOf(label) : against ? toneOf(against) : "against";
      word.style.setProperty("--strength", Math.min(1, Math.abs(value) / STRONGEST).toFixed(3));
    }
    word.dataset.points = (100 * value).toFixed(1);
    return word;
  });
  place.replaceChildren(...tinted);
  summary.textContent = inWords(pieces(text).filter(({ word }) => word), values, label);
}

function inWords(words, values, label) {
  const named = (sign) =>
    words
      .map(({ text }, i) => ({ text, value: sign * values[i] }))
      .filter(({ value }) => value >= LEAST)
      .sort((a, b) => b.value - a.value)
      .slice(0, NAMED)
      .map(({ text, value }) => `“${text}” ${t("points", { points: signed(sign * 100 * value) })}`)
      .join(", ");
  const [pro, contra] = [named(1), named(-1)];
  const sentences = [];
  if (pro) sentences.push(t("wordsFor", { label: labelName(label), words: pro }));
  if (contra) sentences.push(t("wordsAgainst", { words: contra }));
  return sentences.join(" ") || t("wordsNone");
}

function signed(points) {
  return number(points, { maximumFractionDigits: 1, signDisplay: "exceptZero" });
}
