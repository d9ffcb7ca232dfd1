"""Sizes of what is linked into a program, as a table: python3 tests/embedding/sizes.py

As a part of the tests: the shared library for this machine stays below 3 MB.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from cross import TARGETS
from tools import ROOT, Failure, has_target, library, run

LIMIT = 3_000_000


def check(folder: Path) -> None:
    size = shared(None)
    print(f"libedge_distil.so has {size:,} bytes, of {LIMIT:,} at most")
    if size > LIMIT:
        raise Failure(f"libedge_distil.so has {size:,} bytes, more than {LIMIT:,}")


def shared(target: str | None) -> int:
    """Bytes of the shared library, built with the profile `edge`, which strips it."""
    return (library("edge", target) / "lib/libedge_distil.so").stat().st_size


def program(target: str | None, compiler: str, folder: Path) -> int:
    """Bytes of the example with the library inside it."""
    prefix = library("edge", target)
    words = ["-O2", "-s", "-no-pie", "-Wl,--gc-sections", "-I", prefix / "include", ROOT / "wasm/c/examples/classify.c"]
    made = folder / f"classify-{target}"
    run(compiler, *words, prefix / "lib/libedge_distil.a", "-lm", "-lpthread", "-ldl", "-o", made)
    return made.stat().st_size


def main() -> None:
    print("| | libedge_distil.so | the example, with the library inside |\n|---|---|---|")
    host = run("rustc", "--print", "host-tuple").strip()
    with TemporaryDirectory() as folder:
        for target, compiler in [(None, "gcc"), *((t.triple, f"{t.prefix}-gcc") for t in TARGETS)]:
            if target and not (has_target(target) and shutil.which(compiler)):
                continue
            sizes = shared(target), program(target, compiler, Path(folder))
            print(f"| {target or host} | " + " | ".join(f"{size / 1e6:.2f} MB" for size in sizes) + " |")


if __name__ == "__main__":
    main()
