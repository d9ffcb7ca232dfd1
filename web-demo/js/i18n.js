// Languages: strings and numbers. The choice is remembered; the default is the browser's language.

import { remember, remembered } from "./memory.js";
import en from "./strings/en.js";
import zh from "./strings/zh.js";

const LANGUAGES = {
  en: { strings: en, name: "English", tag: "en" },
  zh: { strings: zh, name: "中文", tag: "zh-Hans" },
};
const KEPT_AS = "language";
const listeners = [];

let code = remembered(KEPT_AS, Object.keys(LANGUAGES)) ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
let rules = new Intl.PluralRules(code);

/** The string of a key, with `{name}` replaced by the value of that name. */
export function t(key, values = {}) {
  let string = LANGUAGES[code].strings[key] ?? key;
  if (typeof string === "object") string = string[rules.select(values.count)] ?? string.other;
  return string.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? whole);
  });
}

/** The name of a label of the model, translated if a translation exists. */
export function labelName(label) {
  return LANGUAGES[code].strings[label] ?? label;
}

export function number(value, options = {}) {
  return new Intl.NumberFormat(LANGUAGES[code].tag, options).format(value);
}

/** Bytes in megabytes, without the unit. */
export function megabytes(bytes) {
  return number(bytes / 1e6, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
}

/** A probability as a percentage, rounded down: no answer is certain. */
export function percent(share, digits = 1) {
  const options = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return number(share, { ...options, roundingMode: "trunc" });
}

/** A measured share as a percentage. */
export function rounded(share, digits = 1) {
  return number(share, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Calls `show` whenever the language changes. */
export function onLanguage(show) {
  listeners.push(show);
}

/** Fills in the strings of the document, and offers the languages in `#languages`. */
export function startLanguages() {
  const group = document.getElementById("languages");
  for (const [other, { name, tag }] of Object.entries(LANGUAGES)) {
    const button = document.createElement("button");
    button.type = "button";
    button.lang = tag;
    button.textContent = name;
    button.dataset.language = other;
    button.addEventListener("click", () => choose(other));
    group.append(button);
  }
  translate();
}

function choose(other) {
  code = other;
  rules = new Intl.PluralRules(code);
  remember(KEPT_AS, code);
  translate();
  for (const show of listeners) show();
}

const ATTRIBUTES = { tLabel: "aria-label", tPlaceholder: "placeholder" };

function translate() {
  document.documentElement.lang = LANGUAGES[code].tag;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const [key, attribute] of Object.entries(ATTRIBUTES)) {
    const name = `data-${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    for (const element of document.querySelectorAll(`[${name}]`)) {
      element.setAttribute(attribute, t(element.dataset[key]));
    }
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === code));
  }
  const heading = document.querySelector("h1").textContent;
  document.title = `${heading} – Edge Distil`;
}
