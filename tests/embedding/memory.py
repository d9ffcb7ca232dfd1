"""What a process takes with the shipped model, held against what docs/embedding.md states."""

import re
from pathlib import Path

from built import bundle, library
from tools import ROOT, Failure, need, run

# Of the process's own, in bytes.
STATED = {"open": 29_000_000, "mapped": 16_000_000}
STACK = 256 << 10
# The program itself, with its libraries.
PROGRAM = 5_000_000


def check(folder: Path) -> None:
    need(("gcc", "gcc"), ("prlimit", "util-linux"))
    prefix, model = library(), bundle("sst2-minilm")
    words = ["-std=c99", "-O2", "-I", prefix / "include", ROOT / "tests/embedding/memory.c"]
    run("gcc", *words, prefix / "lib/libedge_distil.a", "-lm", "-lpthread", "-ldl", "-o", folder / "memory")
    for how, stated in STATED.items():
        said = run("prlimit", f"--stack={STACK}:{STACK}", folder / "memory", how, model)
        after = said.splitlines()[-1]
        own, peak = (1024 * int(re.search(rf"{name} (\d+) kB", after)[1]) for name in ("anonymous", "peak"))
        file = model.stat().st_size if how == "mapped" else 0
        print(f"{how}: {own / 1e6:.1f} MB of its own, {peak / 1e6:.1f} MB at the most, of which {file / 1e6:.1f} MB are the file's")
        if own > stated or peak > stated + file + PROGRAM:
            raise Failure(f"{how} takes more than the {stated / 1e6:.1f} MB that are stated:\n{said}")
