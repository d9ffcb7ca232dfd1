// Strong ETags: a hash of a file's bytes, so that a download may be continued with `If-Range`.

import { createHash } from "node:crypto";

/** Known ETags by path: the state of the file when it was hashed, and the ETag as a promise. */
const known = new Map();

/** The ETag of an open file; hashed again only after the file has changed. */
export function etagOf(path, handle, info) {
  const state = `${info.dev} ${info.ino} ${info.size} ${info.mtimeNs}`;
  const before = known.get(path);
  if (before?.state === state) return before.etag;
  const etag = hash(handle, Number(info.size));
  known.set(path, { state, etag });
  etag.catch(() => known.delete(path));
  return etag;
}

async function hash(handle, size) {
  const sum = createHash("sha256");
  const piece = Buffer.alloc(1 << 20);
  // Read by position: the handle's own position is the start of the response.
  for (let at = 0; at < size; ) {
    const { bytesRead } = await handle.read(piece, 0, piece.length, at);
    if (bytesRead === 0) break;
    sum.update(piece.subarray(0, bytesRead));
    at += bytesRead;
  }
  return `"${sum.digest("base64url")}"`;
}
