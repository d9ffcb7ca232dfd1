// Functions that differ between a page, a worker and Node.

interface NodeProcess {
  getBuiltinModule?(name: "node:fs/promises"): {
    readFile(path: URL | string): Promise<Uint8Array<ArrayBuffer>>;
  };
}

/** Reads a file in Node; undefined elsewhere. Bundlers see no import. */
export async function readFile(path: URL | string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { process } = globalThis as { process?: NodeProcess };
  return process?.getBuiltinModule?.("node:fs/promises").readFile(path);
}

/** True in a page's own thread, which must stay responsive. */
export function isPage(): boolean {
  return typeof document === "object" && typeof Worker === "function";
}

/** Converts a source to an absolute address, which is valid in a worker too; in Node a path stays a path. */
export function absolute(address: string | URL): string {
  if (address instanceof URL) return address.href;
  const base = typeof document === "object" ? document.baseURI : globalThis.location?.href;
  return base === undefined ? address : new URL(address, base).href;
}

/** Waits for one turn of the event loop, so that other calls, events and timers can run. */
export function turn(): Promise<void> {
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done();
    };
    port2.postMessage(undefined);
  });
}

/** Waits for a promise. Rejects with the signal's reason if the signal stops the wait. */
export function unless<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  if (!signal) return promise;
  return new Promise((done, failed) => {
    const stop = () => failed(signal.reason);
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(done, failed).finally(() => signal.removeEventListener("abort", stop));
  });
}
