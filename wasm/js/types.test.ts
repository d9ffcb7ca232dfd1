// Code that the types must accept or refuse. It is compiled and never run.

import {
  Classifier,
  EdgeError,
  type Engine,
  type ErrorCode,
  type Manifest,
  type Policy,
  type Prediction,
  type Progress,
} from "./index.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const sure = <T extends true>(): T | void => {};

export async function accepts(stream: ReadableStream<Uint8Array>, buffer: ArrayBuffer) {
  const classifier = await Classifier.load("model.edge", {
    onProgress: (progress) => sure<Equal<typeof progress, Progress>>(),
    policy: { kind: "confidence", threshold: [0.9, 0.8] },
    signal: new AbortController().signal,
    engine: "auto",
    worker: true,
    cache: false,
  });
  await Classifier.load(new URL("https://example.org/model.edge"));
  await Classifier.load(stream);
  await Classifier.load(buffer);
  await Classifier.load(await fetch("model.edge"));

  const one = await classifier.classify("a text");
  sure<Equal<typeof one, Prediction>>();
  const many = await classifier.classify(["a text"] as const, { policy: { kind: "never" } });
  sure<Equal<typeof many, Prediction[]>>();
  const ids = await classifier.tokenize("a text");
  sure<typeof ids extends Uint32Array ? true : false>();
  sure<Equal<typeof classifier.manifest, Manifest>>();
  sure<Equal<typeof classifier.engine, Engine>>();
  sure<Equal<ReturnType<typeof classifier.dispose>, void>>();
  using disposed = classifier;

  for await (const prediction of classifier.stream(["a text"])) sure<Equal<typeof prediction, Prediction>>();
  async function* texts() {
    yield "a text";
  }
  classifier.stream(texts(), { signal: AbortSignal.timeout(1000) });
  const error: unknown = undefined;
  if (error instanceof EdgeError) sure<Equal<typeof error.code, ErrorCode>>();
  return disposed;
}

export async function refuses(classifier: Classifier, prediction: Prediction) {
  // @ts-expect-error a number is no source
  await Classifier.load(1);
  // @ts-expect-error patience takes one number
  const policy: Policy = { kind: "patience", threshold: [1, 2] };
  // @ts-expect-error a threshold is needed
  const without: Policy = { kind: "entropy" };
  // @ts-expect-error a policy that does not exist
  await classifier.classify("a text", { policy: { kind: "always" } });
  // @ts-expect-error an engine that does not exist
  await Classifier.load("model.edge", { engine: "tpu" });
  // @ts-expect-error a stream is of texts
  classifier.stream([1]);
  // @ts-expect-error answers are not to be changed
  prediction.label = "other";
  return [policy, without];
}
