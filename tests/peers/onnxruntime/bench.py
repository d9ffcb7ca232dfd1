"""Times `edge-bench serve` and ONNX Runtime in turn, on the same weights, and prints the ratio of their medians.

What ONNX Runtime gets: the shipped checkpoint as an ordinary BERT ONNX file (see `tests/python/onnx_bert.py`; its optimizer
finds in it all that it finds in PyTorch's own export, which is asserted below), quantized with `quantize_dynamic`, per
channel, int8 weights, all graph optimizations, one thread, no spinning. Once after its transformer optimizer, as its
documentation advises, and once without, since that is the faster way for some lengths.

Both sides classify one sentence of exactly N tokens at full depth. Each round times every contender once, in an order that
turns from round to round, so that a change of the machine's speed hits all alike.
"""

import argparse
import json
import logging
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import edge  # noqa: E402
from onnx_bert import Bert  # noqa: E402

MODEL = "sst2-minilm int8"
OURS = "edge-runtime"
OPTIMIZED = "onnxruntime, optimized for transformers"
PLAIN = "onnxruntime"
# What its optimizer finds in the export of PyTorch; if it finds less here, the peer does not get its best.
FUSED = {"EmbedLayerNormalization": 1, "Attention": 6, "BiasGelu": 6, "SkipLayerNormalization": 12}


def quantize(source, target):
    logging.disable(logging.WARNING)
    quantize_dynamic(
        source, target, per_channel=True, weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    logging.disable(logging.NOTSET)


def build_peers(checkpoint, work):
    config = json.loads((checkpoint / "config.json").read_text())
    last = len(json.loads((checkpoint / "exits.json").read_text())["layers"]) - 1
    bert = Bert(config, load_file(checkpoint / "model.safetensors"))
    onnx.save(bert.model(exit_head=f"exits.{last}"), work / "fp32.onnx")
    quantize(work / "fp32.onnx", work / "plain.onnx")

    fused = optimizer.optimize_model(
        str(work / "fp32.onnx"), model_type="bert", num_heads=bert.heads,
        hidden_size=bert.hidden, opt_level=0,
    )
    found = fused.get_fused_operator_statistics()
    assert {k: found[k] for k in FUSED} == FUSED, found
    fused.save_model_to_file(str(work / "fused.onnx"))
    quantize(work / "fused.onnx", work / "optimized.onnx")
    return {OPTIMIZED: Peer(work / "optimized.onnx"), PLAIN: Peer(work / "plain.onnx")}


class Peer:
    """ONNX Runtime on one thread."""

    def __init__(self, path):
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [i.name for i in self.session.get_inputs()]

    def logits(self, ids):
        values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        feeds = {name: values[name] for name in self.inputs}
        start = time.perf_counter_ns()
        out = self.session.run(["logits"], feeds)[0]
        return out, time.perf_counter_ns() - start

    def __call__(self, tokens):
        ids = (np.arange(tokens, dtype=np.int64)[None] * 7919) % 20000 + 1000
        return self.logits(ids)[1]


class Ours:
    """`edge-bench serve MODEL`: a line with a number of tokens goes in, a line with nanoseconds comes out."""

    def __init__(self, model):
        command = [str(edge.BIN / "edge-bench"), "serve", str(model)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __call__(self, tokens):
        self.process.stdin.write(f"{tokens}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.strip().isdigit():
            raise SystemExit(f"edge-bench answered {answer!r} for {tokens} tokens (exit status {self.process.poll()})")
        return int(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def check_same_task(model, peers):
    """A race counts only if both run the same course: the labels must agree nearly always."""
    texts = edge.lines(edge.SENTENCES)
    answers = edge.classify(model, file=edge.SENTENCES)
    rows = edge.Bundle(model).tokenize(texts)
    ours = edge.logits_by_exit(answers)[-1].argmax(-1)
    shares = {}
    for name, peer in peers.items():
        theirs = [int(peer.logits(np.array([row], dtype=np.int64))[0].argmax()) for row in rows]
        shares[name] = float((ours == theirs).mean())
        assert shares[name] >= 0.95, f"{name} gives our label for only {shares[name]:.0%} of the sentences"
    return shares


def measure(contenders, lengths, rounds, warmup=20):
    times = {(name, n): [] for name in contenders for n in lengths}
    names = list(contenders)
    for i in range(warmup + rounds):
        for n in lengths:
            turn = i % len(names)
            for name in names[turn:] + names[:turn]:
                spent = contenders[name](n)
                if i >= warmup:
                    times[name, n].append(spent / 1e6)
    return {key: np.array(value) for key, value in times.items()}


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def spread(values):
    return np.median(values), np.percentile(values, 10), np.percentile(values, 90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers" / "onnxruntime")
    parser.add_argument("--json", action="store_true", help="print an array of objects in place of the table")
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32, 128])
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()

    options.work.mkdir(parents=True, exist_ok=True)
    model = edge.export(edge.SHIPPED, options.work / "model.edge", "--int8")
    peers = build_peers(edge.SHIPPED, options.work)
    agreement = check_same_task(model, peers)
    ours = Ours(model)
    times = measure({OURS: ours, **peers}, options.tokens, options.rounds)
    ours.close()

    rows = []
    for n in options.tokens:
        for peer in peers:
            a, b = times[OURS, n], times[peer, n]
            # p10 and p90 are those of the ratio round by round.
            _, low, high = spread(a / b)
            rows.append(dict(
                target=f"{sys.platform}-{platform.machine()}", peer=peer, model=MODEL, tokens=n,
                ratio=round(float(np.median(a) / np.median(b)), 3), p10=round(float(low), 3), p90=round(float(high), 3),
                ours_ms=round(float(np.median(a)), 4), peer_ms=round(float(np.median(b)), 4),
            ))
    if options.json:
        print(json.dumps(rows, indent=1))
        return

    print(f"{MODEL}, full depth, batch 1, one thread, {options.rounds} rounds; milliseconds: median [p10 - p90]")
    print(f"{processor()}; onnxruntime {ort.__version__}, onnx {onnx.__version__}, python {platform.python_version()}")
    for name, share in agreement.items():
        print(f"same label as {name}: {share:.1%} of {len(edge.lines(edge.SENTENCES))} sentences")
    print(f"{'tokens':>6}  {'contender':<42} {'time':<26} ratio ours/theirs [p10 - p90]")
    for n in options.tokens:
        for name in (OURS, *peers):
            middle, low, high = spread(times[name, n])
            line = f"{n:>6}  {name:<42} {f'{middle:.3f} [{low:.3f} - {high:.3f}]':<26}"
            found = [r for r in rows if r["tokens"] == n and r["peer"] == name]
            print(line + "".join(f" {r['ratio']:.2f} [{r['p10']:.2f} - {r['p90']:.2f}]" for r in found))


if __name__ == "__main__":
    main()
