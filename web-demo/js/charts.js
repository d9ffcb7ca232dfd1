// Small charts. All positions are percentages of the width, so that text keeps its size on any screen.

import { svg } from "./dom.js";

const at = (share) => `${(100 * share).toFixed(2)}%`;

/**
 * A chart with a bar for each row, its name and value above it: `{ name, text, value, low, high, mark }`,
 * values within `from` to `to`. A row without a value has no bar; a row with `low` and `high` is a point
 * with its interval.
 */
export function bars(rows, { from = 0, to }, label) {
  const height = 44;
  const chart = svg("svg", { class: "bars", role: "img", "aria-label": label, width: "100%", height: height * rows.length });
  const x = (value) => Math.min(1, Math.max(0, (value - from) / (to - from)));
  rows.forEach(({ name, text, value, low, high, mark }, row) => {
    const top = row * height;
    const group = svg("g", { class: mark ? "marked" : undefined });
    group.append(
      svg("text", { x: 0, y: top + 15, class: "name" }, name),
      svg("text", { x: "100%", y: top + 15, "text-anchor": "end", class: "value" }, text),
      svg("rect", { x: 0, y: top + 23, width: "100%", height: 8, rx: 4, class: "track" }),
    );
    if (low !== undefined) {
      group.append(
        svg("rect", { x: at(x(low)), y: top + 23, width: at(x(high) - x(low)), height: 8, rx: 4, class: "interval" }),
        svg("circle", { cx: at(x(value)), cy: top + 27, r: 5.5, class: "point" }),
      );
    } else if (value !== null && value !== undefined) {
      group.append(svg("rect", { x: 0, y: top + 23, width: at(x(value)), height: 8, rx: 4, class: "bar" }));
    }
    chart.append(group);
  });
  return chart;
}

/**
 * A line through points `{ x, y }`, 0 to 1 each, with emphasized dots `{ x, y, class }`. Texts are beside
 * its first point and the last dot but one, and at the ends of the axis.
 */
export function curve(points, dots, { start, end, left, right }, label) {
  const line = points.map(({ x, y }) => `${(100 * x).toFixed(2)},${(100 - 100 * y).toFixed(2)}`).join(" ");
  const whole = { width: "100%", height: "100%" };
  const chart = svg("svg", { role: "img", "aria-label": label, ...whole });
  const inner = svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", overflow: "visible", "aria-hidden": "true", ...whole });
  inner.append(svg("polyline", { points: line, class: "line", "vector-effect": "non-scaling-stroke" }));
  chart.append(svg("line", { x1: 0, x2: "100%", y1: "100%", y2: "100%", class: "axis" }), inner);
  for (const dot of dots) {
    const place = { cx: at(dot.x), cy: at(1 - dot.y), r: dot.class === "now" ? 6 : 4, class: dot.class };
    if (dot.class === "now") {
      chart.append(svg("line", { x1: place.cx, x2: place.cx, y1: place.cy, y2: "100%", class: "drop" }));
    }
    chart.append(svg("circle", place));
  }
  const last = dots.at(-2);
  chart.append(
    svg("text", { x: at(points[0].x), y: at(1 - points[0].y), dx: 10, dy: -2 }, start),
    svg("text", { x: at(last.x), y: at(1 - last.y), dx: -12, dy: 4, "text-anchor": "end" }, end),
    svg("text", { x: 0, y: "100%", dy: 15 }, left),
    svg("text", { x: "100%", y: "100%", dy: 15, "text-anchor": "end" }, right),
  );
  return chart;
}
