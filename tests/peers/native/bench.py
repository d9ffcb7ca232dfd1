"""Us and the native peers, ONNX Runtime and rten, in turn in one run: the parts are depth, exits, throughput, load.

What ONNX Runtime gets: the checkpoint as an ordinary ONNX file (see `tests/python/onnx_bert.py`), quantized by its
`quantize_dynamic` per channel, in four ways (see peer.py); all graph optimizations, prepacked weights, no spinning
where there is one thread. What rten gets: the same files before the optimizer, all operators, prepacked weights.
"""

import argparse
from pathlib import Path

import onnx
import onnxruntime as ort

import depth
import edge
import exits
import load
import models
import throughput
from common import ROOT, Report

PARTS = {
    "depth": (depth, "full depth, batch 1, one thread"),
    "exits": (exits, "the shipped model, one sentence at a time, one thread"),
    "throughput": (throughput, "a file of sentences, two threads, tokenization included"),
    "load": (load, "from nothing to the first answer"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers" / "native")
    parser.add_argument("--rten", type=Path, help="the program rten-serve; without it rten does not run")
    parser.add_argument("--rten-version", default="")
    parser.add_argument("--json", action="store_true", help="print an array of objects in place of the tables")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="none: only build")
    parser.add_argument("--models", nargs="+", choices=["minilm", "distilbert"], default=["minilm", "distilbert"])
    parser.add_argument("--sentences", type=Path, default=edge.SENTENCES, help="texts, one a line, or SST-2's dev.tsv")
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32, 128])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--passes", type=int, default=15, help="over the sentences")
    parser.add_argument("--loads", type=int, default=15)
    options = parser.parse_args()

    options.work.mkdir(parents=True, exist_ok=True)
    built = {name: getattr(models, name)(options.work) for name in options.models}
    if not options.parts:
        return
    versions = f"onnxruntime {ort.__version__}, onnx {onnx.__version__}" + options.rten_version
    report = Report("native: " + ", ".join(options.parts), versions)
    for part in options.parts:
        module, title = PARTS[part]
        report.note(f"\n{title}")
        # Exits and throughput are about the shipped model and its calibration.
        of = options.models if part in ("depth", "load") else [m for m in options.models if m == "minilm"]
        for name in of:
            module.measure(built[name], options, report)
    report.show(options.json)


if __name__ == "__main__":
    main()
