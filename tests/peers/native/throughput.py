"""Sentences per second over a file on two threads, tokenization included on both sides: us with the bundle's exits,
ONNX Runtime at full depth with its best batching.

The peer's tokenizer is the `tokenizers` library from Python, whose own threads do the whole file at once. Then its
sentences are sorted by length and cut into padded batches. Batch size, and whether two threads share a batch (with
and without spinning) or take a batch each, are tried first; the fastest runs in the race.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import numpy as np
from tokenizers import Tokenizer

import edge
import models
import peer
from common import edge_bench, take_turns

OURS = "edge-runtime with exits"
THREADS = 2
BATCHES = (1, 8, 16, 32, 64)
# Threads of a pool may spin for a moment, which is not to be on our account.
PAUSE = 0.05


class Peer:
    def __init__(self, path, tokenizer, batch, way):
        sessions, threads, spinning = {
            "two threads a batch": (1, THREADS, False), "two threads a batch, spinning": (1, THREADS, True),
            "a thread a batch": (THREADS, 1, False),
        }[way]
        self.sessions = [peer.Session(path, threads, spinning) for _ in range(sessions)]
        self.pool = ThreadPoolExecutor(sessions)
        self.tokenizer, self.batch = tokenizer, batch

    def labels(self, texts):
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        batches = [order[i : i + self.batch] for i in range(0, len(order), self.batch)]
        labels = np.empty(len(rows), dtype=np.int64)

        def work(session):
            # Taking from a list is atomic. The long ones, at its end, come first: no thread waits for one at last.
            while batches:
                try:
                    batch = batches.pop()
                except IndexError:
                    return
                labels[batch] = session.run(*edge.pad([rows[i] for i in batch])).argmax(-1)

        list(self.pool.map(work, self.sessions))
        return labels

    def __call__(self, texts):
        start = time.perf_counter_ns()
        self.labels(texts)
        return time.perf_counter_ns() - start


WAYS = ("two threads a batch", "two threads a batch, spinning", "a thread a batch")


def fastest(model, tokenizer, texts, tries=2):
    """The fastest of the peer's settings by its best time, and what each of them took."""
    found = {}
    for key, batch, way in product(model.onnx, BATCHES, WAYS):
        contender = Peer(model.onnx[key], tokenizer, batch, way)
        contender(texts[:64])
        found[key, batch, way] = min(contender(texts) for _ in range(tries))
    return min(found, key=found.get)


def measure(model, options, report):
    texts, _ = models.sentences(options.sentences)
    file = options.work / "sentences.txt"
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(model.checkpoint / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(edge.Bundle(model.bundle).max_tokens)

    key, batch, way = fastest(model, tokenizer, texts)
    name = f"onnxruntime, batches of {batch}"
    theirs = Peer(model.onnx[key], tokenizer, batch, way)
    ours = edge_bench("throughput", model.bundle, file, "--exits", "--threads", THREADS)
    same = np.mean(np.equal(ours.ask(1)[1], theirs.labels(texts)))
    report.note(f"peer: {peer.label(key)}, {way}; same label for {same:.1%} of {len(texts)} sentences")
    if same < 0.9:
        raise SystemExit(f"{name} gives our label for only {same:.0%} of the sentences")

    asks = {OURS: lambda: ours.ask(1)[0], name: partial(theirs, texts)}
    times = take_turns(asks, options.passes, warmup=1, pause=PAUSE)
    each = {name: spent / len(texts) for name, spent in times.items()}
    tokens = round(sum(len(e.ids) for e in tokenizer.encode_batch(texts)) / len(texts), 1)
    report.add(OURS, each, f"{model.name}, two threads", tokens, unit=per_second, workload="throughput")
    ours.close()


def per_second(middle, low, high):
    return f"{1000 / middle:.0f}/s [{1000 / high:.0f} - {1000 / low:.0f}]"
