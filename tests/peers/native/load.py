"""From nothing to the first answer, in a fresh process each time: files in the page cache, libraries loaded."""

import subprocess
import sys
import time
from pathlib import Path

import edge
import peer
from common import take_turns

OURS = "edge-runtime"
IDS = [101, 1037, 2143, 102]


def ours(model):
    return int(edge.run("edge-bench", "load", model.bundle).split()[1])


def theirs(path):
    done = subprocess.run([sys.executable, __file__, path], capture_output=True, text=True, check=True)
    return int(done.stdout)


def measure(model, options, report):
    asks = {OURS: lambda: ours(model)}
    asks |= {peer.label(key): lambda p=path: theirs(p) for key, path in model.onnx.items()}
    times = take_turns(asks, options.loads, warmup=1)
    report.add(OURS, times, f"{model.name}, cold to answer", len(IDS), workload="load")


def first_answer(path):
    start = time.perf_counter_ns()
    peer.Session(path).ask(*IDS)
    return time.perf_counter_ns() - start


if __name__ == "__main__":
    print(first_answer(Path(sys.argv[1])))
