// Download of a model from an address. The part that an earlier visit stored comes from the store, the
// rest from the network. The first bytes identify the model; the server's headers are not used for that.

import { WasmIdentity } from "./edge_runtime.js";
import { Connection, Unreachable, request } from "./network.js";
import { runtime } from "./runtime.js";
import { Store, type Identity, type Stored } from "./store.js";

/** Size of the longest manifest of a bundle, with its header. */
const HEAD = (1 << 20) + 1024;
/** Bytes of the first request, if an earlier visit may have stored the rest. */
const GLANCE = 1 << 14;
/** Smallest and largest size of a stored segment. A segment grows while the store is busy. */
const LEAST = 1 << 20;
const MOST = 2 << 20;

export class Download {
  /** Current source of the bytes. */
  from: "network" | "cache" = "network";
  readonly #address: string;
  readonly #signal: AbortSignal;
  readonly #visited: Promise<boolean | undefined>;
  #store: Store | undefined;
  #identity: Identity | undefined;

  /** `visited` is the result of the store's `visited`. */
  constructor(address: string, visited: Promise<boolean | undefined>, signal: AbortSignal) {
    this.#address = address;
    this.#visited = visited;
    this.#signal = signal;
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    const visited = await this.#visited;
    const bypass = visited !== undefined;
    const opening = bypass ? Store.open() : undefined;
    const part = visited ? GLANCE : undefined;
    let response: Response;
    try {
      response = await request(this.#address, { from: 0, ...(part && { to: part }), bypass }, this.#signal);
    } catch (error) {
      // Without a network, the model of the last visit is used.
      this.#store = await opening;
      const kept = error instanceof Unreachable ? await this.#store?.kept(this.#address) : undefined;
      if (!kept) throw error;
      this.#identity = kept.identity;
      yield* this.#reading(kept);
      return;
    }
    const connection = new Connection(this.#address, this.#signal, { at: 0, response, part, bypass });
    const arriving = connection.pieces();
    const head = await this.#identify(arriving);
    connection.totalBytes = this.#identity?.totalBytes;
    this.#store = await opening;
    const stored = visited && this.#identity ? await this.#store?.stored(this.#identity.digest) : undefined;
    if (!stored || stored.bytes <= head.length) {
      yield head;
      yield* this.#storing(0, head, arriving);
      return;
    }
    await arriving.return(undefined);
    yield* this.#reading(stored);
    if (stored.bytes === this.#identity!.totalBytes) return;
    this.from = "network";
    const rest = new Connection(this.#address, this.#signal, { at: stored.bytes, bypass });
    rest.totalBytes = this.#identity!.totalBytes;
    yield* this.#storing(stored.bytes, new Uint8Array(), rest.pieces());
  }

  /** Records that the model is complete and verified, so the next visit can read it from the store. */
  async verified(): Promise<void> {
    await this.#orWithout((store) => store.keep(this.#address, this.#identity!));
  }

  /** Deletes a damaged model from the store, so the next visit downloads it again. */
  async damaged(): Promise<void> {
    await this.#orWithout((store, digest) => store.remove(digest));
  }

  /** Reads until the model is identified. Returns the bytes that were read. */
  async #identify(arriving: AsyncGenerator<Uint8Array>): Promise<Uint8Array> {
    await runtime();
    let head: Uint8Array = new Uint8Array();
    while (!this.#identity && head.length < HEAD) {
      const { done, value } = await arriving.next();
      if (done) break;
      head = joined(head, value);
      const identity = WasmIdentity.of(head);
      if (!identity) continue;
      this.#identity = { digest: identity.digest, totalBytes: identity.totalBytes };
      identity.free();
    }
    return head;
  }

  async *#reading(stored: Stored): AsyncGenerator<Uint8Array> {
    this.from = "cache";
    yield* stored.pieces();
  }

  /** Yields the bytes that arrive, and stores them. They follow `head`, which begins at byte `from`. */
  async *#storing(from: number, head: Uint8Array, arriving: AsyncGenerator<Uint8Array>) {
    if (!this.#store || !this.#identity) return yield* arriving;
    const segment = new Uint8Array(MOST);
    let filled = 0;
    let busy = false;
    const use = async (act: (store: Store, digest: string) => Promise<void>) => {
      busy = true;
      await this.#orWithout(act);
      busy = false;
    };
    let written = use((store, digest) => store.begin(this.#address, digest));
    const flush = async () => {
      await written;
      const bytes = segment.subarray(0, filled);
      const at = from;
      written = use((store, digest) => store.write(digest, at, bytes));
      from += filled;
      filled = 0;
    };
    const take = async (piece: Uint8Array) => {
      while (this.#store && piece.length > 0) {
        const part = piece.subarray(0, MOST - filled);
        segment.set(part, filled);
        filled += part.length;
        piece = piece.subarray(part.length);
        if (filled === MOST || (filled >= LEAST && !busy)) await flush();
      }
    };
    try {
      await take(head);
      for await (const piece of arriving) {
        // The reader of the stream comes first; the piece is valid until the next one is read.
        yield piece;
        await take(piece);
      }
    } finally {
      // The bytes of a broken download are stored too.
      if (this.#store && filled > 0) await flush();
      await written;
    }
  }

  /** Calls `use` with the store. After a failure the store is not used any more. */
  async #orWithout(use: (store: Store, digest: string) => Promise<void>): Promise<void> {
    if (!this.#store || !this.#identity) return;
    const store = this.#store;
    const { digest } = this.#identity;
    try {
      await use(store, digest);
    } catch {
      // Storage is full or was denied. The stored part of this model has no use then.
      this.#store = undefined;
      await store.remove(digest).catch(() => {});
    }
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
