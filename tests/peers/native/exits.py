"""A list of sentences, one at a time on one thread: us with the bundle's calibrated exits, ONNX Runtime at the full
depth of the same student."""

import numpy as np

import edge
import models
import peer
from common import edge_bench, take_turns

OURS = "edge-runtime with exits"
FULL = "edge-runtime, full depth"


def measure(model, options, report):
    texts, truth = models.sentences(options.sentences)
    rows = edge.Bundle(model.bundle).tokenize(texts)
    all = {OURS: edge_bench("serve", model.bundle, "--exits"), FULL: edge_bench("serve", model.bundle)}
    all |= {peer.label(key): peer.Session(path) for key, path in model.onnx.items()}
    answers = {
        name: [int(np.argmax(contender.ask(*row)[1])) for row in rows] for name, contender in all.items()
    }
    for name, given in answers.items():
        same = np.mean([a == b for a, b in zip(answers[FULL], given)])
        right = f", right {np.mean(np.equal(truth, given)):.2%}" if truth else ""
        report.note(f"{name}: label of our full depth for {same:.1%} of {len(rows)} sentences{right}")
        if same < 0.9:
            raise SystemExit(f"{name} gives the label of our full depth for only {same:.0%} of the sentences")

    # A round asks all about one sentence; the rounds of one pass over the list are then added up.
    passes = {name: np.zeros(options.passes) for name in all}
    for row in rows:
        asks = {name: lambda c=c: c.ask(*row)[0] for name, c in all.items()}
        for name, spent in take_turns(asks, options.passes, warmup=1).items():
            passes[name] += spent
    each = {name: spent / len(rows) for name, spent in passes.items()}
    tokens = round(sum(map(len, rows)) / len(rows), 1)
    report.add(OURS, each, f"{model.name}, per sentence", tokens)
    for contender in all.values():
        contender.close()
