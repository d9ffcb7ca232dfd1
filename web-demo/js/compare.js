// The compare page: teacher, student, int8, exits, the small tier. The figures are those of `edge-distill
// report --demo`.

import { bars } from "./charts.js";
import { element, make, problem } from "./dom.js";
import { layerName } from "./exits.js";
import { megabytes, number, onLanguage, rounded, startLanguages, t } from "./i18n.js";

/** Models that the demo runs. */
const SHIPPED = ["exits", "small"];

startLanguages();
start().catch((error) => problem(t("problem", { reason: error.message })));

async function start() {
  const response = await fetch(new URL("../data/compare.json", import.meta.url));
  const data = await response.json();
  show(data);
  onLanguage(() => show(data));
}

const digits = (n) => ({ minimumFractionDigits: n, maximumFractionDigits: n });
const million = (n) => t("million", { value: number(n / 1e6, digits(1)) });
const megabyte = (n) => t("megabyte", { value: megabytes(n) });
const interval = ({ low, high }) => `${rounded(low)} – ${rounded(high)}`;

function show({ measured, models, layers, exits }) {
  const most = (key) => Math.max(...models.map((model) => model[key] ?? 0));
  const rows = (text, rest) => models.map((model) => ({ name: t(model.id), mark: SHIPPED.includes(model.id), text: text(model), ...rest(model) }));
  const plain = (key, text) => rows((m) => (m[key] === null ? t("compareNone") : text(m[key])), (m) => ({ value: m[key] }));
  const accuracies = models.map(({ accuracy }) => accuracy);
  const range = rangeOf(accuracies);
  element("charts").replaceChildren(
    chart("compareBytes", "compareLow", plain("bytes", megabyte), { to: most("bytes") }),
    chart("compareParameters", "compareLow", plain("parameters", million), { to: most("parameters") }),
    chart("compareSpeed", "compareHigh", plain("sentencesPerSecond", (n) => number(n)), { to: most("sentencesPerSecond") }),
    chart("compareAccuracy", "compareHigh", rows((m) => rounded(m.accuracy.value), (m) => m.accuracy), range, scale(range)),
    chart("compareShare", "compareLow", plain("share", (share) => rounded(share)), { to: 1 }),
  );
  const head = ["compareModel", "compareParameters", "compareBytes", "compareSpeed", "compareAccuracy", "compareInterval", "compareShare"];
  const cells = models.map((model) => [
    t(model.id),
    million(model.parameters),
    megabyte(model.bytes),
    model.sentencesPerSecond === null ? t("compareNone") : number(model.sentencesPerSecond),
    rounded(model.accuracy.value, 2),
    interval(model.accuracy),
    rounded(model.share),
  ]);
  fill(element("table"), head, cells);
  element("measured").textContent = t("compareMeasured", measured);
  showLayers(exits, measured.sentences);
}

function showLayers(exits, sentences) {
  const range = rangeOf(exits.map(({ accuracy }) => accuracy));
  const rows = exits.map(({ layer, accuracy, leave }) => {
    const text = `${rounded(accuracy.value)} · ${t("layersLeave")}: ${rounded(leave / sentences)}`;
    return { name: nameOf(layer), text, ...accuracy };
  });
  element("layers").replaceChildren(bars(rows, range, t("layersTitle")), scale(range));
  const cells = exits.map(({ layer, accuracy, leave }) => {
    return [nameOf(layer), rounded(accuracy.value, 2), interval(accuracy), rounded(leave / sentences)];
  });
  fill(element("layers-table"), ["layersExit", "layersAccuracy", "compareInterval", "layersLeave"], cells);
}

const nameOf = (layer) => {
  const name = layerName(layer);
  return name[0].toUpperCase() + name.slice(1);
};

/** Range around all intervals, in whole multiples of five points. */
function rangeOf(accuracies) {
  const step = 0.05;
  return {
    from: Math.floor(Math.min(...accuracies.map(({ low }) => low)) / step) * step,
    to: Math.ceil(Math.max(...accuracies.map(({ high }) => high)) / step) * step,
  };
}

/** Labels at the ends of an axis that does not begin at 0. */
function scale({ from, to }) {
  return make("p", { class: "ends", "aria-hidden": "true" }, make("span", {}, rounded(from, 0)), make("span", {}, rounded(to, 0)));
}

function chart(title, better, rows, range, ...more) {
  const said = rows.map(({ name, text }) => `${name}: ${text}`).join("; ");
  const caption = make("figcaption", {}, make("h2", {}, t(title)), make("p", { class: "quiet" }, t(better)));
  return make("figure", { class: "card" }, caption, bars(rows, range, `${t(title)}. ${said}`), ...more);
}

function fill(table, head, rows) {
  const header = head.map((key) => make("th", { scope: "col" }, t(key)));
  const body = rows.map(([name, ...cells]) => {
    return make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, cell)));
  });
  table.replaceChildren(make("thead", {}, make("tr", {}, ...header)), make("tbody", {}, ...body));
}
