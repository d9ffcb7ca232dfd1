// The worker of a classifier, which contains the model and answers the page.

import type { Compiled } from "./compile.js";
import { fromWire, toWire } from "./errors.js";
import { Local } from "./local.js";
import type { Call, Reply, Request } from "./protocol.js";
import { give } from "./runtime.js";

/** Interface of the page for its worker. */
interface Page {
  onmessage: (event: MessageEvent<Request>) => void;
  postMessage(reply: Reply): void;
}
const page = globalThis as unknown as Page;
/** Controllers that stop the calls in progress, by number. */
const running = new Map<number, AbortController>();
let local: Local | undefined;
let compiled!: (module: Compiled) => void;
give(new Promise((done) => (compiled = done)));
/** Receiver of the next piece of the model from the page. */
let take: ((piece: Request & { kind: "piece" }) => void) | undefined;

page.onmessage = ({ data }) => {
  if (data.kind === "load") void load(data);
  else if (data.kind === "module") compiled(data.compiled);
  else if (data.kind === "piece") take?.(data);
  else if (data.kind === "call") void answer(data.id, data.call);
  else running.get(data.id)?.abort();
};

function say(reply: Reply): void {
  page.postMessage(reply);
}

async function load({ address, engine, cache, progress }: Request & { kind: "load" }): Promise<void> {
  try {
    local = await Local.open(address ?? fromPage(), {
      engine,
      cache,
      onEngine: (engine) => say({ kind: "engine", engine }),
      onProgress: progress ? (progress) => say({ kind: "progress", progress }) : undefined,
    });
    say({ kind: "loaded", manifest: local.manifest, engine: local.engine });
  } catch (error) {
    say({ kind: "failed", error: toWire(error) });
  }
}

/** Makes a stream of the page's pieces, each requested when the stream has room. */
function fromPage(): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) =>
        new Promise<void>((done) => {
          take = ({ bytes, error }) => {
            if (error) controller.error(fromWire(error));
            else if (bytes) controller.enqueue(bytes);
            else controller.close();
            done();
          };
          say({ kind: "pull" });
        }),
    },
    { highWaterMark: 0 },
  );
}

async function answer(id: number, call: Call): Promise<void> {
  const stop = new AbortController();
  running.set(id, stop);
  try {
    say({ kind: "answer", id, value: await perform(local!, call, stop.signal) });
  } catch (error) {
    say({ kind: "answer", id, error: toWire(error) });
  } finally {
    running.delete(id);
  }
}

function perform(local: Local, call: Call, signal: AbortSignal): Promise<unknown> {
  switch (call.method) {
    case "classify":
      return local.classify(call.texts, call.policy, signal);
    case "tokenize":
      return local.tokenize(call.text);
    default:
      return local[call.method]();
  }
}
