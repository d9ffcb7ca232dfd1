"""One sentence of N tokens at full depth, one thread: us, ONNX Runtime and rten in turn, on the same ids.

Before the race all classify the project's sentences: a race counts only if all run the same course.
"""

import edge
import models
import peer
from common import Server, edge_bench, take_turns

OURS = "edge-runtime"
# With random weights the logits of many sentences are all but equal; there a label says less.
AGREEMENT = {"minilm int8": 0.95, "distilbert-shape int8": 0.85}


def ids(tokens):
    return [(i * 7919) % 20000 + 1000 for i in range(tokens)]


def contenders(model, rten):
    """Us and every peer, each with `ask` and `close`."""
    all = {OURS: edge_bench("serve", model.bundle)}
    for key, path in model.onnx.items():
        all[peer.label(key)] = peer.Session(path)
    if rten:
        # rten has none of the operators that ONNX Runtime's optimizer puts in; it fuses the exported graph itself.
        for weights, words in peer.WEIGHTS.items():
            all[f"rten, {words}"] = Server(rten, model.onnx["plain", weights], 1)
    return all


def check_agreement(model, all, report):
    rows = edge.Bundle(model.bundle).tokenize(edge.lines(edge.SENTENCES))
    answers = {}
    for name, contender in all.items():
        logits = [contender.ask(*row)[1] for row in rows]
        answers[name] = [max(range(len(l)), key=l.__getitem__) for l in logits]
    for name, theirs in answers.items():
        if name == OURS:
            continue
        share = sum(a == b for a, b in zip(answers[OURS], theirs)) / len(rows)
        report.note(f"{model.name}: {name} gives our label for {share:.1%} of {len(rows)} sentences")
        if share < AGREEMENT[model.name]:
            raise SystemExit(f"{name} gives our label for only {share:.0%} of the sentences")


def measure(model, options, report):
    all = contenders(model, options.rten)
    check_agreement(model, all, report)
    for tokens in options.tokens:
        row = ids(tokens)
        asks = {name: lambda c=c: c.ask(*row)[0] for name, c in all.items()}
        times = take_turns(asks, options.rounds, warmup=20)
        report.add(OURS, times, model.name, tokens)
    for contender in all.values():
        contender.close()
