// Reading and writing delimited text, without a browser.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { FileProblem, LINES, Rows, TSV, csvRow, csvWith, harmless } from "../../web-demo/js/csv.js";
import { inspect, rowsOf } from "../../web-demo/js/rows.js";

const CSV = csvWith(",");

/** The cells of a text that arrives in pieces of a size. */
function read(text, style = CSV, size = text.length || 1) {
  const rows = new Rows(style);
  const out = [];
  for (let at = 0; at < text.length; at += size) out.push(...rows.push(text.slice(at, at + size)));
  return [...out, ...rows.end()];
}
const cells = (...args) => read(...args).map((row) => row.cells);

test("cells of RFC 4180", () => {
  for (const [text, expected] of [
    ["a,b\r\nc,d\r\n", [["a", "b"], ["c", "d"]]],
    ["a,b\nc,d", [["a", "b"], ["c", "d"]]],
    ["a\rb\r", [["a"], ["b"]]],
    ['"a,b",c', [["a,b", "c"]]],
    ['"a\r\nb",c\r\nd,e', [["a\r\nb", "c"], ["d", "e"]]],
    ['"say ""hi""",""', [['say "hi"', ""]]],
    ['""""', [['"']]],
    ["a,,b\n,,", [["a", "", "b"], ["", "", ""]]],
    ['it"s,5" screen', [['it"s', '5" screen']]],
    ['"a"b,c', [["ab", "c"]]],
    ["\n\n a \n \n", [[" a "]]],
    ["", []],
  ]) {
    assert.deepEqual(cells(text), expected, JSON.stringify(text));
  }
});

test("the size of the pieces makes no difference", () => {
  const text = 'x,"a ""b"" \r\n c"\r\n"",\r"",""\n\n"é🎬",",\n"';
  const whole = read(text);
  for (let size = 1; size < text.length; size++) assert.deepEqual(read(text, CSV, size), whole, `pieces of ${size}`);
});

test("rows know the line in which they begin", () => {
  assert.deepEqual(read('a\n"b\r\nc\rd"\r\n\ne').map(({ line }) => line), [1, 2, 6]);
  assert.throws(() => read('a\nb,"c\nd'), (error) => error instanceof FileProblem && error.values.line === 2);
});

test("a quote is a character in TSV and in lines", () => {
  assert.deepEqual(cells('"a\tb"\n"c', TSV), [['"a', 'b"'], ['"c']]);
  assert.deepEqual(cells('a, "b"\tc\r\n', LINES), [['a, "b"\tc']]);
});

test("what is written is read the same, here and by Python", () => {
  const alphabet = ['"', ",", "\n", "\r", "a", " ", "é", "'", ";", "\t"];
  let seed = 7;
  const next = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const cell = () => Array.from({ length: next(6) }, () => alphabet[next(alphabet.length)]).join("");
  // A first cell that is never blank, so that every row is one.
  const rows = Array.from({ length: 300 }, () => ["x", cell(), cell()]);
  const text = rows.map(csvRow).join("");
  assert.deepEqual(cells(text), rows);
  const python = "import csv,io,json,sys;print(json.dumps(list(csv.reader(io.StringIO(sys.stdin.buffer.read().decode(),newline='')))))";
  assert.deepEqual(JSON.parse(execFileSync("python3", ["-c", python], { input: text })), rows);
});

test("a cell that a spreadsheet would take for a formula is none", () => {
  for (const text of ["=1+1", "+1", "-1", "@a", "\t=1", " =1"]) assert.equal(harmless(text), `'${text}`);
  for (const text of ["a=1", "good", "'=1", ""]) assert.equal(harmless(text), text);
});

test("a file tells its style, its header and its texts", async () => {
  for (const [name, text, columns, header, column] of [
    ["a.csv", "id,text,label\n1,good film,1\n", 3, true, 1],
    ["a.csv", "nr;titel;kritik\n1;Film;ein sehr schöner, langer und ruhiger Film\n", 3, true, 2],
    ["a.csv", "a good film,1\na bad film,0\n", 2, false, 0],
    ["a.csv", "1,no\n2,a longer text\n", 2, false, 1],
    ["dev.tsv", "sentence\tlabel\nit 's good\t1\n", 2, true, 0],
    ["a.csv", "review\ngood\n", 1, true, 0],
    ["a.txt", "text\ngood, is it\n", 1, false, 0],
  ]) {
    const found = await inspect(new Blob([text]), name);
    assert.deepEqual([found.columns.length, found.header, found.column], [columns, header, column], text);
  }
});

test("rows come as a stream, with the share of the file", async () => {
  const text = Array.from({ length: 5000 }, (_, i) => csvRow([i, `text\n${i}`])).join("");
  const found = [];
  for await (const row of rowsOf(new Blob([text]), CSV)) found.push(row);
  assert.deepEqual(found.map((row) => row.cells), cells(text));
  const shares = found.map(({ share }) => share);
  assert.deepEqual(shares, shares.toSorted((a, b) => a - b));
  assert.ok(shares[0] < 0.01 && shares.at(-1) <= 1);
});

test("what is wrong with a file is said", async () => {
  const all = async (content, style = CSV) => {
    for await (const row of rowsOf(new Blob([content]), style)) void row;
  };
  const key = (expected, values) => (error) => {
    assert.equal(error.key, expected);
    if (values) assert.deepEqual(error.values, values);
    return true;
  };
  await assert.rejects(all(Uint8Array.of(0x61, 0xe9, 0x62)), key("notUtf8"));
  await assert.rejects(all(Uint8Array.of(0x61, 0xc3)), key("notUtf8"), "cut off in a character");
  await assert.rejects(all(Uint8Array.of(0xff, 0xfe, 0x61, 0)), key("utf16"));
  await assert.rejects(all(Uint8Array.of(0x61, 0, 0x62, 0)), key("utf16"));
  await assert.rejects(all("a,b\nc\n"), key("fewColumns", { line: 2, found: 1, expected: 2 }));
  await assert.rejects(all('a\n"b'), key("openQuote", { line: 2 }));
  await assert.rejects(inspect(new Blob(["\n\n"]), "a.csv"), key("noRows"));
  // A mark of UTF-8 is no part of the first cell.
  for await (const { cells } of rowsOf(new Blob(["\ufeffa,b"]), CSV)) assert.deepEqual(cells, ["a", "b"]);
});
