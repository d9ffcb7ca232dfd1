// The rows of a file: its style, the column that contains the texts, and its rows as a stream.

import { FileProblem, LINES, Rows, TSV, csvWith } from "./csv.js";

/** Bytes of a file that are enough to recognize its style. */
const HEAD = 1 << 18;
/** Names of columns that `edge-distill` recognizes. */
const TEXTS = ["text", "sentence", "review", "content", "premise", "utterance"];
const OTHERS = ["label", "labels", "class", "category", "sentiment", "target", "intent", "id", "idx", "index"];

/**
 * Recognizes a file: `{ style, columns, header, column }`. `columns` are the cells of the first row, `header`
 * is true if that row looks like a header, and `column` is the column that looks like the texts.
 */
export async function inspect(blob, name) {
  const decoder = decoderFor(new Uint8Array(await blob.slice(0, HEAD).arrayBuffer()));
  const text = decoder.text;
  const style = styleOf(name, text);
  const reader = new Rows(style);
  const rows = reader.push(text);
  // The last row may be cut off here; it is used only if it is the only one.
  if (blob.size <= HEAD || rows.length === 0) rows.push(...reader.end());
  if (rows.length === 0) throw new FileProblem("noRows");
  const [{ cells: columns }, ...others] = rows;
  const header = style.delimiter === undefined ? false : isHeader(columns, others[0]?.cells);
  return { style, columns, header, column: textColumn(columns, header, others) };
}

function styleOf(name, text) {
  const ending = /\.(\w+)$/.exec(name ?? "")?.[1]?.toLowerCase();
  if (ending === "tsv" || ending === "tab") return TSV;
  if (ending !== "csv") return LINES;
  const first = text.split(/[\r\n]/, 1)[0].replace(/"[^"]*"/g, "");
  const count = (delimiter) => first.split(delimiter).length;
  const [most] = [",", ";", "\t"].sort((a, b) => count(b) - count(a));
  return csvWith(most);
}

function isHeader(first, second) {
  const known = first.some((cell) => [...TEXTS, ...OTHERS].includes(cell.trim().toLowerCase()));
  if (known || !second) return known;
  // Names are short and not numbers; the second row has a number or a long text under one of them.
  const isName = (cell) => cell.trim() !== "" && cell.length <= 30 && Number.isNaN(Number(cell));
  const isValue = (cell = "") => cell.length > 30 || (cell.trim() !== "" && !Number.isNaN(Number(cell)));
  return first.length > 1 && first.every(isName) && second.some(isValue);
}

function textColumn(columns, header, rows) {
  if (header) {
    const names = columns.map((cell) => cell.trim().toLowerCase());
    const known = TEXTS.map((name) => names.indexOf(name)).find((index) => index >= 0);
    if (known !== undefined) return known;
  }
  const lengths = columns.map((cell, i) => rows.reduce((sum, { cells }) => sum + (cells[i] ?? "").length, cell.length));
  return lengths.indexOf(Math.max(...lengths));
}

/**
 * Yields the rows of a file, `{ cells, line, share }`; `share` is the part of the file up to the row. The
 * file is read only as far as rows are requested.
 */
export async function* rowsOf(blob, style) {
  const rows = new Rows(style);
  const reader = blob.stream().getReader();
  let decoder;
  let done = 0;
  let expected;
  const checked = function* (complete, bytes) {
    for (const [i, row] of complete.entries()) {
      expected ??= row.cells.length;
      if (row.cells.length !== expected) {
        throw new FileProblem("fewColumns", { line: row.line, found: row.cells.length, expected });
      }
      yield { ...row, share: (done + (bytes * (i + 1)) / complete.length) / blob.size };
    }
    done += bytes;
  };
  try {
    for (;;) {
      const { value, done: isEnd } = await reader.read();
      if (isEnd) break;
      const first = decoder === undefined;
      if (first) decoder = decoderFor(value);
      yield* checked(rows.push(first ? decoder.text : decoder.more(value)), value.length);
    }
    yield* checked([...rows.push(decoder?.end() ?? ""), ...rows.end()], 0);
  } finally {
    await reader.cancel();
  }
}

/** Makes a decoder of UTF-8 from a file's first piece; refuses other encodings. */
function decoderFor(first) {
  const [a, b] = first;
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff) || first.includes(0)) throw new FileProblem("utf16");
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  const decode = (bytes, options) => {
    try {
      return utf8.decode(bytes, options);
    } catch {
      throw new FileProblem("notUtf8");
    }
  };
  return {
    text: decode(first, { stream: true }),
    more: (bytes) => decode(bytes, { stream: true }),
    end: () => decode(),
  };
}
