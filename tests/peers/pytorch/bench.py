"""Times a training step of `edge-bench train-step` and of PyTorch in turn, and prints the ratio of their medians.

A step is forward, backward, clipping to norm 1 and AdamW, in f32 with dropout 0.1, on a DistilBERT of MiniLM's shape
(6 layers of width 384, 12 heads, feed-forward 1536, vocabulary 30522) with an exit head after every layer and
cross-entropy on all of them. A batch is 32 sentences: all of 24 tokens, or of mixed lengths, with near lengths together
as a loop that batches by length has them. Making ids is outside of the time measured, on both sides.

What PyTorch gets: `transformers`' own DistilBERT, no mask where nothing is padded, and, for either workload, the
fastest of eager or SDPA attention with the fused or the foreach AdamW, found by trying all four first. It runs twice:
as everybody has it, updating all rows of the word embeddings at every step; and with sparse gradients and SparseAdam,
which updates only the rows of the batch, as ours does.

Each round times every contender once on the same lengths, in an order that turns from round to round, so that a change
of the machine's speed hits all alike.
"""

import argparse
import time
from itertools import cycle, product

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import nn

from common import Report, edge_bench, take_turns

MODEL = "minilm, 6 exits, fp32, batch 32"
OURS = "edge-toolkit"
DENSE = "pytorch"
SPARSE = "pytorch, sparse word embeddings"
BATCH, LAYERS, WIDTH, CLASSES, VOCABULARY = 32, 6, 384, 2, 30522
# Idle threads of PyTorch's pool spin for a moment, which is not to be on our account.
PAUSE = 0.01


class Network(nn.Module):
    def __init__(self, attention, sparse):
        super().__init__()
        config = transformers.DistilBertConfig(
            vocab_size=VOCABULARY, dim=WIDTH, n_layers=LAYERS, n_heads=12, hidden_dim=4 * WIDTH, activation="gelu",
            dropout=0.1, attention_dropout=0.1, max_position_embeddings=512,
        )
        config._attn_implementation = attention
        self.encoder = transformers.DistilBertModel(config)
        self.encoder.embeddings.word_embeddings.sparse = sparse
        self.dropout = nn.Dropout(0.1)
        self.dense = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.classifier = nn.ModuleList(nn.Linear(WIDTH, CLASSES) for _ in range(LAYERS))

    def forward(self, ids, mask, labels):
        hidden = self.encoder(ids, attention_mask=mask, output_hidden_states=True).hidden_states[1:]
        loss = 0
        for x, dense, classifier in zip(hidden, self.dense, self.classifier):
            if mask is None:
                pooled = x.mean(1)
            else:
                pooled = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            loss = loss + F.cross_entropy(classifier(self.dropout(torch.tanh(dense(pooled)))), labels)
        return loss / LAYERS


class Peer:
    def __init__(self, attention, optimizer, sparse=False):
        torch.manual_seed(1)
        self.network = Network(attention, sparse).train()
        self.random = np.random.default_rng(1)
        words = self.network.encoder.embeddings.word_embeddings.weight
        groups = {0.01: [], 0.0: []}
        for p in self.network.parameters():
            if not (sparse and p is words):
                groups[0.01 if p.ndim > 1 else 0.0].append(p)
        groups = [dict(params=p, weight_decay=decay) for decay, p in groups.items()]
        self.optimizers = [torch.optim.AdamW(groups, lr=1e-5, **{optimizer: True})]
        if sparse:
            self.optimizers.append(torch.optim.SparseAdam([words], lr=1e-5))
        self.words = words if sparse else None

    def clip(self):
        parameters = [p for p in self.network.parameters() if p is not self.words]
        if self.words is None:
            nn.utils.clip_grad_norm_(parameters, 1.0)
            return
        # The library's own function, with the sparse gradient seen as the dense tensor of its rows.
        self.words.grad = self.words.grad.coalesce()
        rows = self.words.grad.values()
        gradients = [p.grad for p in parameters] + [rows]
        norm = nn.utils.get_total_norm(gradients)
        scale = (1.0 / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale)

    def __call__(self, lengths):
        longest = max(lengths)
        ids = torch.from_numpy(self.random.integers(1000, VOCABULARY, (len(lengths), longest)))
        mask = None
        if min(lengths) < longest:
            mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
            ids = ids * mask
        labels = torch.from_numpy(self.random.integers(0, CLASSES, len(lengths)))
        start = time.perf_counter_ns()
        self.network(ids, mask, labels).backward()
        self.clip()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter_ns() - start


def mixed_batches(count):
    """Lengths as short reviews have them: of 3 to 40 tokens, 13 on average. As many sentences as `count` batches hold are
    drawn, sorted and cut, so that a batch has near lengths; the batches are then shuffled."""
    random = np.random.default_rng(7)
    lengths = np.clip(3 + random.gamma(1.5, 7.6, BATCH * count).round(), 3, 40).astype(int)
    assert 12.5 < lengths.mean() < 13.5 and lengths.max() == 40
    batches = np.sort(lengths).reshape(count, BATCH)
    random.shuffle(batches)
    return batches.tolist()


def fastest(batches, sparse, tries=6):
    """The fastest of PyTorch's settings, by the median over the batches."""
    found = {}
    for attention, optimizer in product(("eager", "sdpa"), ("fused", "foreach")):
        peer = Peer(attention, optimizer, sparse)
        times = [peer(batches[i % len(batches)]) for i in range(tries + 2)][2:]
        found[attention, optimizer] = np.median(times)
    return min(found, key=found.get)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print an array of objects in place of the table")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.set_num_interop_threads(1)
    transformers.logging.set_verbosity_error()
    mixed = mixed_batches(12)
    workloads = {"24 tokens": [[24] * BATCH], "mixed lengths": mixed}

    padded = sum(max(b) * len(b) for b in mixed)
    real = sum(map(sum, mixed))
    report = Report(
        f"{MODEL}, one training step, {options.threads} threads",
        f"torch {torch.__version__}, transformers {transformers.__version__}",
    )
    report.note(
        f"mixed lengths: {min(map(min, mixed))} to {max(map(max, mixed))} tokens, {real / BATCH / len(mixed):.1f} on "
        f"average; padded to the longest of a batch, {1 - real / padded:.1%} is padding"
    )
    ours = edge_bench("train-step", "--threads", options.threads)
    for workload, batches in workloads.items():
        settings = {name: fastest(batches, sparse) for name, sparse in ((DENSE, False), (SPARSE, True))}
        peers = {name: Peer(*s, sparse=name == SPARSE) for name, s in settings.items()}
        for name, chosen in settings.items():
            report.note(f"{workload}: the fastest of {name} is {', '.join(chosen)}")
        # Every contender walks the same batches by itself.
        walks = {name: cycle(batches) for name in (OURS, *peers)}
        asks = {OURS: lambda: ours.ask(*next(walks[OURS]))[0]}
        asks |= {name: lambda name=name: peers[name](next(walks[name])) for name in peers}
        times = take_turns(asks, options.rounds, options.warmup, PAUSE)
        tokens = round(sum(map(sum, batches)) / BATCH / len(batches), 1)
        report.add(OURS, times, f"minilm fp32, {workload}", tokens, threads=options.threads)
    ours.close()
    report.show(options.json)


if __name__ == "__main__":
    main()
