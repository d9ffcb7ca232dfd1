// The bytes of a response, piece by piece, through one buffer where the browser can do that: pieces
// that each have memory of their own wait for the garbage collector, and together are a second model.

/** Bytes that are read at once. */
const SIZE = 512 << 10;

/** Gives the bytes of a stream; a piece is good only until the next one is asked for. */
export async function* pieces(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = reuse(body) ?? body.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      ended = done;
      if (done) return;
      yield value;
    }
  } catch (error) {
    ended = true;
    throw error;
  } finally {
    // Nobody is left to be told that a connection cannot be ended.
    if (!ended) reader.cancel().catch(() => {});
  }
}

function reuse(body: ReadableStream<Uint8Array>) {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    return undefined; // A browser, or a stream, that cannot.
  }
  let buffer = new ArrayBuffer(SIZE);
  return {
    async read() {
      const result = await reader.read(new Uint8Array(buffer));
      if (result.value) buffer = result.value.buffer;
      return result as ReadableStreamReadResult<Uint8Array>;
    },
    cancel: () => reader.cancel(),
  };
}
