// Rows for machines and lines for people, as tests/peers/common.py makes them.

/** A percentile, between its neighbours by distance, as NumPy computes it. */
function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (p / 100) * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.ceil(at);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

function spread(values) {
  return [50, 10, 90].map((p) => percentile(values, p));
}

const round = (value, digits) => Number(value.toFixed(digits));

export class Report {
  #rows = [];
  #lines = [];

  constructor(title, versions) {
    this.#lines.push(`## ${title}`, versions);
    this.#lines.push("time: median [p10 - p90] in ms; ratio: our time / theirs [p10 - p90 of the ratio round by round]");
  }

  note(line) {
    this.#lines.push(line);
  }

  /** One measurement: milliseconds by contender. Every peer is compared with each of `ours`, whose targets are given. */
  add(ours, targets, times, model, tokens, more = {}) {
    for (const [name, spent] of Object.entries(times)) {
      const [middle, low, high] = spread(spent);
      const shown = `${middle.toFixed(3)} [${low.toFixed(3)} - ${high.toFixed(3)}]`;
      let line = `${model.padEnd(30)} ${String(tokens).padStart(5)}  ${name.padEnd(42)} ${shown.padEnd(28)}`;
      for (const [i, our] of ours.includes(name) ? [] : ours.entries()) {
        const ratio = percentile(times[our], 50) / middle;
        const [, best, worst] = spread(spent.map((theirs, j) => times[our][j] / theirs));
        line += ` ${targets[i]} ${ratio.toFixed(2)} [${best.toFixed(2)} - ${worst.toFixed(2)}]`;
        this.#rows.push({
          target: targets[i], peer: name, model, tokens, ratio: round(ratio, 3), p10: round(best, 3),
          p90: round(worst, 3), ours_ms: round(percentile(times[our], 50), 4), peer_ms: round(middle, 4), ...more,
        });
      }
      this.#lines.push(line.trimEnd());
    }
  }

  show(asJson) {
    console.log(asJson ? JSON.stringify(this.#rows, undefined, 1) : this.#lines.join("\n"));
  }
}
