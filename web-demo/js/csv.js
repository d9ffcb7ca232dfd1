// Rows of delimited text, read piece by piece and written (RFC 4180).

/** Problem of a file, as the key of a string and its values. */
export class FileProblem extends Error {
  constructor(key, values = {}) {
    super(`${key} ${JSON.stringify(values)}`);
    this.name = "FileProblem";
    this.key = key;
    this.values = values;
  }
}

/** Style in which every line is one cell. */
export const LINES = { delimiter: undefined, quotes: false };
/** Style of GLUE: quotation marks are plain characters. */
export const TSV = { delimiter: "\t", quotes: false };
export const csvWith = (delimiter) => ({ delimiter, quotes: true });

/** States of the reader: before a cell, in a plain or quoted cell, or after a quote that may be its last. */
const [START, PLAIN, QUOTED, CLOSED] = [0, 1, 2, 3];

/**
 * Reader of text in pieces of any size. `push` and `end` return the complete rows, `{ cells, line }`, with
 * the number of the line in which each begins. Lines end with CR LF, LF or CR; blank lines are skipped.
 * Quotes in a cell that begins without a quote are plain characters, and so is text after the last quote.
 */
export class Rows {
  #style;
  #state = START;
  #cells = [];
  #cell = "";
  #line = 1;
  #begun = 1;
  #opened = 0;
  #afterReturn = false;

  constructor(style) {
    this.#style = style;
  }

  push(text) {
    const { delimiter, quotes } = this.#style;
    const rows = [];
    // Start of the text that was read but is not yet in a cell.
    let from = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      const isSecondOfEnd = this.#afterReturn && c === "\n";
      this.#afterReturn = c === "\r";
      if (isSecondOfEnd && this.#state !== QUOTED) {
        from = i + 1;
      } else if (this.#state === QUOTED) {
        if ((c === "\n" && !isSecondOfEnd) || c === "\r") this.#line++;
        if (c !== '"') continue;
        this.#cell += text.slice(from, i);
        from = i + 1;
        this.#state = CLOSED;
      } else if (c === '"' && this.#state === CLOSED) {
        // Two quotes mean one; the second is added with the text after it.
        from = i;
        this.#state = QUOTED;
      } else if (c === '"' && quotes && this.#state === START) {
        from = i + 1;
        this.#opened = this.#line;
        this.#state = QUOTED;
      } else if (c === delimiter) {
        this.#endCell(text.slice(from, i));
        from = i + 1;
      } else if (c === "\n" || c === "\r") {
        this.#endCell(text.slice(from, i));
        from = i + 1;
        this.#endRow(rows);
      } else if (this.#state !== PLAIN) {
        this.#state = PLAIN;
      }
    }
    this.#cell += text.slice(from);
    return rows;
  }

  /** Returns the last row, which may lack its line end. */
  end() {
    if (this.#state === QUOTED) throw new FileProblem("openQuote", { line: this.#opened });
    const rows = [];
    this.#endCell("");
    this.#endRow(rows);
    return rows;
  }

  #endCell(rest) {
    this.#cells.push(this.#cell + rest);
    this.#cell = "";
    this.#state = START;
  }

  #endRow(rows) {
    const cells = this.#cells;
    if (cells.length > 1 || cells[0].trim() !== "") rows.push({ cells, line: this.#begun });
    this.#cells = [];
    this.#line++;
    this.#begun = this.#line;
  }
}

/** Formats a row of a CSV file, with its line end. */
export function csvRow(cells) {
  return `${cells.map(csvCell).join(",")}\r\n`;
}

function csvCell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Puts an apostrophe before a text that a spreadsheet would read as a formula. */
export function harmless(text) {
  return /^\s*[=+\-@]/.test(text) ? `'${text}` : text;
}
