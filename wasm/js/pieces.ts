// The bytes of a response, piece by piece, through one buffer if the browser supports that. Pieces with
// separate buffers wait for the garbage collector, and together are as large as a second model.

/** Bytes of one read. */
const SIZE = 512 << 10;

/** Yields the bytes of a stream; a piece is valid until the next one is read. */
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
    // An error of cancelling has no receiver any more.
    if (!ended) reader.cancel().catch(() => {});
  }
}

function reuse(body: ReadableStream<Uint8Array>) {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    return undefined; // The browser or the stream does not support it.
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
