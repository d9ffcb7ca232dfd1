// Models that an earlier visit fetched, in the browser's Cache Storage.
//
// A model lies there under the digest of its manifest, in segments, so that what a broken download
// left can be gone on with; a visit is remembered under the model's address:
//
//     https://edge-distil.invalid/model/DIGEST/FROM-TO   bytes FROM to TO of the model
//     https://edge-distil.invalid/visit/ADDRESS          which digest that address had
//
// Nothing is ever fetched from these addresses.

import { pieces } from "./pieces.js";

const NAME = "edge-distil";
const BASE = "https://edge-distil.invalid";

/** A model by its hash. */
export interface Identity {
  /** SHA-256 of the manifest, which holds those of all other entries. */
  readonly digest: string;
  readonly totalBytes: number;
}

/** What an address had at the last visit. */
interface Visit {
  /** Stored from the first byte to the last, and verified. */
  readonly whole?: Identity;
  /** Stored as far as it came. */
  readonly partial?: string;
}

/** What is stored of a model, from its first byte on. */
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
 * Whether an earlier visit may have stored something from an address; undefined where nothing is ever
 * stored from it.
 */
export async function visited(address: string): Promise<boolean | undefined> {
  // Only a server's files have an address that means something at the next visit.
  if (!address.startsWith("http")) return undefined;
  try {
    return await (await Store.open())?.visited(address);
  } catch {
    return undefined; // A store that cannot be read is none.
  }
}

export class Store {
  readonly #cache: Cache;

  private constructor(cache: Cache) {
    this.#cache = cache;
  }

  /** The store, or undefined where there is none or it is denied. */
  static async open(): Promise<Store | undefined> {
    try {
      return new Store(await globalThis.caches.open(NAME));
    } catch {
      return undefined; // No caches in Node, none outside a secure context, denied by a setting.
    }
  }

  /** Whether anything from this address may be here. */
  async visited(address: string): Promise<boolean> {
    const { whole, partial } = await this.#visit(address);
    return whole !== undefined || partial !== undefined;
  }

  /** The model that this address had at the last visit, with its bytes, if all of it is here. */
  async kept(address: string): Promise<(Stored & { readonly identity: Identity }) | undefined> {
    const { whole: identity } = await this.#visit(address);
    const stored = identity && (await this.stored(identity.digest));
    return stored && stored.bytes === identity.totalBytes ? { ...stored, identity } : undefined;
  }

  /**
   * What is here of a model, from its first byte. Another page may be storing more of it meanwhile: `pieces`
   * gives the `bytes` that were here at the call, and no others.
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

  /** Stores bytes of a model, which it copies at once; rejects where storage is full. */
  async write(digest: string, from: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const address = `${BASE}/model/${digest}/${from}-${from + bytes.length}`;
    // A body of bytes would be copied once more.
    await this.#cache.put(address, new Response(new Blob([bytes])));
  }

  /** Notes that a model from an address is being stored; an earlier one's broken download is dropped. */
  async begin(address: string, digest: string): Promise<void> {
    const visit = await this.#visit(address);
    if (visit.partial === digest) return;
    await this.#note(address, { ...visit, partial: digest });
    if (visit.partial) await this.#sweep(visit.partial);
  }

  /** Notes that a model is whole and verified; what the address had before is dropped. */
  async keep(address: string, identity: Identity): Promise<void> {
    const { whole, partial } = await this.#visit(address);
    await this.#note(address, { whole: identity });
    for (const old of [whole?.digest, partial]) if (old) await this.#sweep(old);
  }

  /** Deletes a model, which is damaged or has no room. */
  async remove(digest: string): Promise<void> {
    for (const request of await this.#under(`/model/${digest}/`)) await this.#cache.delete(request);
  }

  /** Deletes a model if no address has it any more. */
  async #sweep(digest: string): Promise<void> {
    for (const request of await this.#under("/visit/")) {
      const { whole, partial } = await this.#read(request);
      if (whole?.digest === digest || partial === digest) return;
    }
    await this.remove(digest);
  }

  /** The segments that follow on each other from the first byte. */
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
