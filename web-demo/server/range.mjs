// Byte ranges of requests (RFC 9110, sections 13.1.5 and 14.2).

/**
 * Reads a `Range` header for a file of `size` bytes: `{ start, end }`, end exclusive; `"unsatisfiable"` if
 * the file has none of the bytes; undefined for the whole file. Other units, several ranges at once, and
 * malformed headers give the whole file too.
 */
export function rangeOf(header, size) {
  const [, first, last] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? "") ?? [];
  if (first === undefined || (first === "" && last === "")) return undefined;
  if (first === "") {
    // The last `last` bytes.
    const count = Math.min(Number(last), size);
    return count > 0 ? { start: size - count, end: size } : "unsatisfiable";
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return undefined;
  if (start >= size) return "unsatisfiable";
  return { start, end: last === "" ? size : Math.min(Number(last) + 1, size) };
}

/**
 * True if `Range` is valid: the client's part belongs to this file. Only a strong ETag proves that; dates
 * are not used here.
 */
export function rangeCounts(ifRange, etag) {
  return ifRange === undefined || ifRange.trim() === etag;
}

/** True if `If-None-Match` names this file, so that the client has it already. */
export function hasAlready(ifNoneMatch, etag) {
  if (ifNoneMatch === undefined) return false;
  const names = ifNoneMatch.split(",").map((name) => name.trim().replace(/^W\//, ""));
  return names.includes("*") || names.includes(etag);
}
