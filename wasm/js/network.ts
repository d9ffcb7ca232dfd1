// Download of bytes, which continues after a broken connection.

import { EdgeError, messageOf } from "./errors.js";
import { unless } from "./host.js";
import { pieces } from "./pieces.js";

/** Largest number of failures of a connection in a row, without a single byte in between. */
const RETRIES = 4;
/** Milliseconds before the first new attempt; the pause doubles with each further attempt. */
const PAUSE = 250;

interface Part {
  readonly from: number;
  /** End of the part, exclusive; the end of the file by default. */
  readonly to?: number;
  /** Required version of the file. */
  readonly tag?: string | undefined;
  /** True if the browser's own cache is not used, because the bytes are stored elsewhere. */
  readonly bypass: boolean;
}

/** Requests a part of a file. Throws an error if the server cannot send the file. */
export async function request(address: string, { from, to, tag, bypass }: Part, signal: AbortSignal) {
  const headers: Record<string, string> = {};
  if (from > 0 || to !== undefined) headers["Range"] = `bytes=${from}-${to === undefined ? "" : to - 1}`;
  if (from > 0 && tag) headers["If-Range"] = tag;
  let response: Response;
  try {
    response = await fetch(address, { headers, signal, cache: bypass ? "no-store" : "default" });
  } catch (error) {
    signal.throwIfAborted();
    throw new Unreachable(`cannot load ${address}: ${messageOf(error)}`, error);
  }
  if (response.ok) return response;
  const words = `cannot load ${address}: the server returned ${response.status}`;
  throw response.status >= 500 ? new Unreachable(words) : new EdgeError("network", words);
}

/** A temporary failure: no connection, or an error of the server. */
export class Unreachable extends EdgeError {
  constructor(message: string, cause?: unknown) {
    super("network", message, { cause });
  }
}

interface Start {
  /** The first byte. */
  readonly at: number;
  /** The response to a request from byte `at` on, if one was sent. */
  readonly response?: Response;
  /** The end of the part that was requested; undefined for the whole file. */
  readonly part?: number | undefined;
  /** True if the browser's own cache is not used, as in a request. */
  readonly bypass: boolean;
}

/** Download of a file from a given byte on. */
export class Connection {
  /** Size of the file; undefined until it is known. */
  totalBytes: number | undefined;
  readonly #address: string;
  readonly #signal: AbortSignal;
  #at: number;
  #response: Response | undefined;
  /** The version of the file, if the server sends one that a request may contain. */
  #tag: string | undefined;

  /** The end of the part in the first response; undefined for the whole file. */
  readonly #part: number | undefined;
  readonly #bypass: boolean;

  constructor(address: string, signal: AbortSignal, start: Start) {
    this.#address = address;
    this.#signal = signal;
    this.#at = start.at;
    this.#response = start.response;
    this.#part = start.part;
    this.#bypass = start.bypass;
    this.#remember(start.response);
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    for (let failures = 0; ; failures++) {
      const before = this.#at;
      try {
        this.#response ??= await this.#again();
        const { body, status } = this.#response;
        if (!body) throw new EdgeError("network", `${this.#address} has no body`);
        // A server without ranges sends the file from its beginning.
        yield* this.#counted(body, status === 206 ? 0 : this.#at);
        this.#response = undefined;
        if (this.#at === this.totalBytes) return;
        if (this.#at === this.#part) continue;
        // A file of unknown size is no bundle; it ends with its response.
        if (this.#at > (this.totalBytes ?? 0)) return;
        throw new Unreachable(`the connection to ${this.#address} ended early`);
      } catch (error) {
        this.#signal.throwIfAborted();
        if (this.#at > before) failures = 0;
        this.#response = undefined;
        if (!(error instanceof Unreachable) || failures >= RETRIES) throw error;
        const pause = new Promise((done) => setTimeout(done, PAUSE * 2 ** failures));
        await unless(this.#signal, pause);
      }
    }
  }

  async *#counted(body: ReadableStream<Uint8Array>, skip: number): AsyncGenerator<Uint8Array> {
    const arriving = pieces(body);
    try {
      for (;;) {
        const { done, value } = await this.#next(arriving);
        if (done) return;
        const piece = value.subarray(Math.min(skip, value.length));
        skip -= value.length - piece.length;
        this.#at += piece.length;
        if (piece.length > 0) yield piece;
      }
    } finally {
      // A part is short, so the connection stays open until its end.
      if (this.#part === undefined) await arriving.return(undefined);
    }
  }

  async #next(arriving: AsyncGenerator<Uint8Array>) {
    try {
      return await arriving.next();
    } catch (error) {
      const words = `the connection to ${this.#address} broke after ${this.#at} bytes`;
      throw new Unreachable(`${words}: ${messageOf(error)}`, error);
    }
  }

  async #again(): Promise<Response> {
    const part = { from: this.#at, tag: this.#tag, bypass: this.#bypass };
    const response = await request(this.#address, part, this.#signal);
    const start = /^bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "")?.[1];
    if (response.status === 206 && start !== undefined && Number(start) !== this.#at) {
      throw new EdgeError(
        "network",
        `${this.#address}: expected bytes from ${this.#at}, the server sent them from ${start}`,
      );
    }
    return response;
  }

  #remember(response: Response | undefined) {
    const tag = response?.headers.get("ETag");
    // A weak tag does not identify the bytes. A request to another origin may contain a tag only with its
    // permission.
    if (tag && !tag.startsWith("W/") && response?.type === "basic") this.#tag = tag;
  }
}
