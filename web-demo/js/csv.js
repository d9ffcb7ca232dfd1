// Rows of delimited text, read piece by piece and written (RFC 4180).

/** What is wrong with a file, as the key of a string and its values. */
export class FileProblem extends Error {
  constructor(key, values = {}) {
    super(`${key} ${JSON.stringify(values)}`);
    this.name = "FileProblem";
    this.key = key;
    this.values = values;
  }
}

/** Every line is one cell. */
export const LINES = { delimiter: undefined, quotes: false };
/** As GLUE has it: a quotation mark is a character like any other. */
export const TSV = { delimiter: "\t", quotes: false };
export const csvWith = (delimiter) => ({ delimiter, quotes: true });

/** Where the reader is: before a cell, in a plain or quoted one, or after what may be its last quote. */
const [START, PLAIN, QUOTED, CLOSED] = [0, 1, 2, 3];

/**
 * Reads text in pieces of any size; `push` and `end` return the rows that are complete, `{ cells, line }`
 * with the number of the line in which they begin. Lines end with CR LF, LF or CR; blank ones are no
 * rows. In a cell that does not begin with a quote a quote is a character, as is what follows the last.
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
    // What has been looked at and not yet taken begins here.
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
        // Two quotes are one; the second is taken with what follows.
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

  /** The last row, which may lack its line end. */
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

/** A row of a CSV file, with its line end. */
export function csvRow(cells) {
  return `${cells.map(csvCell).join(",")}\r\n`;
}

function csvCell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A text that no spreadsheet takes for a formula: an apostrophe stands before what looks like one. */
export function harmless(text) {
  return /^\s*[=+\-@]/.test(text) ? `'${text}` : text;
}
