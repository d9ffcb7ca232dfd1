// Runs in the page: both runtimes side by side, each call on the page's one thread.

const MODEL = "/model/model.edge";
const FULL_DEPTH = { policy: { kind: "never" } };

/** The package's module as a browser sees it that has relaxed SIMD, or has it not. */
async function edge(relaxed) {
  const { validate } = WebAssembly;
  // The relaxed dot product is the instruction 0xfd 0x93 0x02.
  WebAssembly.validate = (bytes) => (relaxed || !bytes.includes(0x93)) && validate(bytes);
  try {
    // Each address makes modules of their own, which choose their build by themselves. Like the peer,
    // they compute in the page's own thread.
    const { Classifier } = await import(relaxed ? "/pkg-relaxed/index.js" : "/pkg-plain/index.js");
    const classifier = await Classifier.load(MODEL, { worker: false });
    await classifier.complete();
    return classifier;
  } finally {
    WebAssembly.validate = validate;
  }
}

async function peer(model) {
  const ort = await import("/ort/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/ort/";
  const session = await ort.InferenceSession.create(`/model/${model}.onnx`, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  return async (ids) => {
    const tensor = (value) =>
      new ort.Tensor("int64", BigInt64Array.from(ids, value), [1, ids.length]);
    const feeds = {
      input_ids: tensor((id) => BigInt(id)),
      attention_mask: tensor(() => 1n),
      token_type_ids: tensor(() => 0n),
    };
    const start = performance.now();
    const { logits } = await session.run(
      Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]])),
    );
    return { spent: performance.now() - start, logits: Array.from(logits.data) };
  };
}

let classifiers;
let peers;

/** Loads everybody; `models` are names of ONNX files. */
export async function open(models) {
  classifiers = [await edge(false), await edge(true)];
  peers = [];
  for (const model of models) peers.push(await peer(model));
  return { isolated: crossOriginIsolated, version: (await import("/ort/ort.wasm.min.mjs")).env.versions?.web };
}

/** The label of each text, as an index, by each contender: first our builds, then the peers. */
export async function labels(texts) {
  const best = (logits) => logits.indexOf(Math.max(...logits));
  const all = [];
  for (const classifier of classifiers) {
    const predictions = await classifier.classify(texts, FULL_DEPTH);
    all.push(predictions.map((p) => best(p.exits.at(-1))));
  }
  const rows = [];
  for (const text of texts) rows.push(await classifiers[0].tokenize(text));
  for (const ask of peers) {
    const given = [];
    for (const row of rows) given.push(best((await ask(row)).logits));
    all.push(given);
  }
  return all;
}

/**
 * Milliseconds of each contender for a sentence of so many tokens, round by round; the order turns
 * from round to round. Ours take text, so that their time holds the tokenizer's too.
 */
export async function race(tokens, rounds, warmup) {
  const text = "good ".repeat(tokens - 2).trim();
  const ids = await classifiers[0].tokenize(text);
  if (ids.length !== tokens) throw new Error(`${ids.length} tokens where ${tokens} were meant`);
  const asks = [
    ...classifiers.map((classifier) => async () => {
      const start = performance.now();
      await classifier.classify(text, FULL_DEPTH);
      return performance.now() - start;
    }),
    ...peers.map((ask) => async () => (await ask(ids)).spent),
  ];
  const times = asks.map(() => []);
  for (let round = 0; round < warmup + rounds; round++) {
    for (let i = 0; i < asks.length; i++) {
      const who = (round + i) % asks.length;
      const spent = await asks[who]();
      if (round >= warmup) times[who].push(spent);
    }
  }
  return times;
}

/** Milliseconds from nothing to our first answer, in a page that has loaded nothing yet, by a worker. */
export async function loadOurs(text, exits) {
  const start = performance.now();
  const { Classifier } = await import("/pkg/index.js");
  const classifier = await Classifier.load(MODEL);
  await classifier.classify(text, exits ? {} : FULL_DEPTH);
  return performance.now() - start;
}

/** The same of a peer, which gets token ids and loads no tokenizer. */
export async function loadPeer(model, ids) {
  const start = performance.now();
  await (await peer(model))(ids);
  return performance.now() - start;
}
