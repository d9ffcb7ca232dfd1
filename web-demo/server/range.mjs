// Which bytes of a file a request asks for (RFC 9110, sections 13.1.5 and 14.2).

/**
 * What a `Range` header asks of a file of so many bytes: `{ start, end }`, end exclusive;
 * `"unsatisfiable"` where none of it is there; undefined for the whole file, which is also what
 * follows from other units, several ranges at once, and headers that are not well formed.
 */
export function rangeOf(header, size) {
  const [, first, last] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? "") ?? [];
  if (first === undefined || (first === "" && last === "")) return undefined;
  if (first === "") {
    // The last so many bytes.
    const count = Math.min(Number(last), size);
    return count > 0 ? { start: size - count, end: size } : "unsatisfiable";
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return undefined;
  if (start >= size) return "unsatisfiable";
  return { start, end: last === "" ? size : Math.min(Number(last) + 1, size) };
}

/**
 * Whether `Range` counts: what the asker has a part of is this file. Only a strong ETag says so; a
 * date does not, and no file here is given one.
 */
export function rangeCounts(ifRange, etag) {
  return ifRange === undefined || ifRange.trim() === etag;
}

/** Whether `If-None-Match` names this file, so that the asker has it already. */
export function hasAlready(ifNoneMatch, etag) {
  if (ifNoneMatch === undefined) return false;
  const names = ifNoneMatch.split(",").map((name) => name.trim().replace(/^W\//, ""));
  return names.includes("*") || names.includes(etag);
}
