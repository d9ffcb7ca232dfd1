// What differs between a page, a worker and Node.

interface NodeProcess {
  getBuiltinModule?(name: "node:fs/promises"): {
    readFile(path: URL | string): Promise<Uint8Array<ArrayBuffer>>;
  };
}

/** The bytes of a file where there are files, which is in Node. Bundlers see no import. */
export async function readFile(path: URL | string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { process } = globalThis as { process?: NodeProcess };
  return process?.getBuiltinModule?.("node:fs/promises").readFile(path);
}

/** Whether this is a page's own thread, which is not to be kept busy. */
export function isPage(): boolean {
  return typeof document === "object" && typeof Worker === "function";
}

/** A source as an address that means the same in a worker; in Node a path stays one. */
export function absolute(address: string | URL): string {
  if (address instanceof URL) return address.href;
  const base = typeof document === "object" ? document.baseURI : globalThis.location?.href;
  return base === undefined ? address : new URL(address, base).href;
}

/** Lets whatever else waits have its turn: other calls, events, timers. */
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

/** What a promise gives, or the reason of a signal that stops the wait for it. */
export function unless<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  if (!signal) return promise;
  return new Promise((done, failed) => {
    const stop = () => failed(signal.reason);
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(done, failed).finally(() => signal.removeEventListener("abort", stop));
  });
}
