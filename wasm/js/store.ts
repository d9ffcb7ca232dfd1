// Models that an earlier visit fetched, in the browser's Cache Storage.
//
// A model is stored under the digest of its manifest, in segments, so that a broken download can be
// continued. A visit is stored under the model's address:
//
//     https://edge-distil.invalid/model/DIGEST/FROM-TO   bytes FROM to TO of the model
//     https://edge-distil.invalid/visit/ADDRESS          digest of the model at that address
//
// These addresses are keys only; they are never fetched.

import { pieces } from "./pieces.js";

const NAME = "edge-distil";
const BASE = "https://edge-distil.invalid";

/** Identity of a model: its digest and size. */
export interface Identity {
  /** SHA-256 of the manifest, which contains the SHA-256 of all other entries. */
  readonly digest: string;
  readonly totalBytes: number;
}

/** Models of an address at the last visit. */
interface Visit {
  /** Model that is stored completely, and verified. */
  readonly whole?: Identity;
  /** Digest of a model that is stored in part. */
  readonly partial?: string;
}

/** Stored part of a model, from its first byte on. */
export interface Stored {
  readonly bytes: number;
  pieces(): AsyncGenerator<Uint8Array>;
}

interface Segment {
  readonly from: number;
  readonly to: number;
  readonly request: Request;
}

/**
 * True if an earlier visit may have stored bytes from an address; undefined if bytes from it are never
 * stored.
 */
export async function visited(address: string): Promise<boolean | undefined> {
  // Only the addresses of a server's files are valid at the next visit.
  if (!address.startsWith("http")) return undefined;
  try {
    return await (await Store.open())?.visited(address);
  } catch {
    return undefined; // A store that cannot be read is not used.
  }
}

export class Store {
  readonly #cache: Cache;

  private constructor(cache: Cache) {
    this.#cache = cache;
  }

  /** Opens the store; undefined if it does not exist or is denied. */
  static async open(): Promise<Store | undefined> {
    try {
      return new Store(await globalThis.caches.open(NAME));
    } catch {
      return undefined; // In Node, outside a secure context, or denied by a setting.
    }
  }

  /** True if bytes from an address may be in the store. */
  async visited(address: string): Promise<boolean> {
    const { whole, partial } = await this.#visit(address);
    return whole !== undefined || partial !== undefined;
  }

  /** The model of an address at the last visit, with its bytes, if it is stored completely. */
  async kept(address: string): Promise<(Stored & { readonly identity: Identity }) | undefined> {
    const { whole: identity } = await this.#visit(address);
    const stored = identity && (await this.stored(identity.digest));
    return stored && stored.bytes === identity.totalBytes ? { ...stored, identity } : undefined;
  }

  /**
   * The stored part of a model, from its first byte. Another page may store more of the model meanwhile:
   * `pieces` gives exactly the `bytes` that were stored at the call.
   */
  async stored(digest: string): Promise<Stored> {
    const segments = await this.#segments(digest);
    return { bytes: segments.at(-1)?.to ?? 0, pieces: () => this.#pieces(segments) };
  }

  async *#pieces(segments: readonly Segment[]): AsyncGenerator<Uint8Array> {
    for (const { request } of segments) {
      const body = (await this.#cache.match(request))?.body;
      if (!body) throw new Error("a stored model was deleted while it was read");
      yield* pieces(body);
    }
  }

  /** Stores bytes of a model, which are copied at once; rejects if storage is full. */
  async write(digest: string, from: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const address = `${BASE}/model/${digest}/${from}-${from + bytes.length}`;
    // A `Blob` saves one copy of the bytes.
    await this.#cache.put(address, new Response(new Blob([bytes])));
  }

  /** Records that a model from an address is being stored, and deletes an earlier broken download. */
  async begin(address: string, digest: string): Promise<void> {
    const visit = await this.#visit(address);
    if (visit.partial === digest) return;
    await this.#note(address, { ...visit, partial: digest });
    if (visit.partial) await this.#sweep(visit.partial);
  }

  /** Records that a model is complete and verified, and deletes the earlier models of the address. */
  async keep(address: string, identity: Identity): Promise<void> {
    const { whole, partial } = await this.#visit(address);
    await this.#note(address, { whole: identity });
    for (const old of [whole?.digest, partial]) if (old) await this.#sweep(old);
  }

  /** Deletes a model that is damaged or does not fit. */
  async remove(digest: string): Promise<void> {
    for (const request of await this.#under(`/model/${digest}/`)) await this.#cache.delete(request);
  }

  /** Deletes a model that no address has any more. */
  async #sweep(digest: string): Promise<void> {
    for (const request of await this.#under("/visit/")) {
      const { whole, partial } = await this.#read(request);
      if (whole?.digest === digest || partial === digest) return;
    }
    await this.remove(digest);
  }

  /** The contiguous segments from the first byte on. */
  async #segments(digest: string): Promise<Segment[]> {
    const found = (await this.#under(`/model/${digest}/`)).map((request): Segment => {
      const [from, to] = request.url.slice(request.url.lastIndexOf("/") + 1).split("-").map(Number);
      return { from: from!, to: to!, request };
    });
    const segments: Segment[] = [];
    let end = 0;
    for (let next; (next = found.find(({ from }) => from === end)); end = next.to) segments.push(next);
    return segments;
  }

  async #under(path: string): Promise<Request[]> {
    return (await this.#cache.keys()).filter(({ url }) => url.startsWith(BASE + path));
  }

  async #visit(address: string): Promise<Visit> {
    return this.#read(visitAddress(address));
  }

  async #read(request: Request | string): Promise<Visit> {
    return ((await (await this.#cache.match(request))?.json()) as Visit | undefined) ?? {};
  }

  async #note(address: string, visit: Visit): Promise<void> {
    await this.#cache.put(visitAddress(address), new Response(JSON.stringify(visit)));
  }
}

function visitAddress(address: string): string {
  return `${BASE}/visit/${encodeURIComponent(address)}`;
}
