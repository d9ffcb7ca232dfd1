"""Memory of a process with the shipped model, compared with docs/embedding.md."""

import re
import shutil
from pathlib import Path

from built import bundle, library
from tools import ROOT, Failure, need, run

# Way of opening, true if the bundle is packed for this processor, and private memory in bytes.
STATED = [
    ("open", False, 26_500_000),
    ("mapped", False, 13_500_000),
    ("mapped", True, 2_500_000),
    ("linked", True, 2_500_000),
]
STACK = 256 << 10
# The program itself, with its libraries.
PROGRAM = 5_000_000


def check(folder: Path) -> None:
    need(("gcc", "gcc"), ("objcopy", "binutils"), ("make", "make"), ("prlimit", "util-linux"))
    plain, packed = bundle("sst2-minilm"), bundle("sst2-minilm", "--int8", "--pack", "native")
    shutil.copy(packed, folder / "model.edge")
    run("make", "-f", ROOT / "wasm/c/examples/Makefile", "model.o", cwd=folder)
    programs = {how: compiled(folder / how, []) for how in ("open", "mapped")}
    programs["linked"] = compiled(folder / "linked", ["-DLINKED", folder / "model.o", "-Wl,-z,noexecstack"])
    for how, is_packed, stated in STATED:
        model = packed if is_packed else plain
        said = run("prlimit", f"--stack={STACK}:{STACK}", programs[how], how, model)
        after = said.splitlines()[-1]
        own, peak = (1024 * int(re.search(rf"{name} (\d+) kB", after)[1]) for name in ("anonymous", "peak"))
        file = 0 if how == "open" else model.stat().st_size
        print(
            f"{how}{', packed' if is_packed else ''}: {own / 1e6:.1f} MB of its own, {peak / 1e6:.1f} MB at the most, "
            f"of which {file / 1e6:.1f} MB are the file's; {said.splitlines()[-2]}"
        )
        if own > stated or peak > stated + file + PROGRAM:
            raise Failure(f"{how} takes more than the {stated / 1e6:.1f} MB that are stated:\n{said}")


def compiled(program: Path, more: list) -> Path:
    prefix = library()
    words = ["-std=c99", "-O2", "-I", prefix / "include", ROOT / "tests/embedding/memory.c", *more]
    run("gcc", *words, prefix / "lib/libedge_distil.a", "-lm", "-lpthread", "-ldl", "-o", program)
    return program
