"""Sizes of a program's linked parts, as a table: python3 tests/embedding/sizes.py

The tests check that the shared library for this machine is smaller than 3 MB.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from built import library
from cross import TARGETS
from tools import ROOT, Failure, NotRun, run

LIMIT = 3_000_000


def check(folder: Path) -> None:
    size = shared(None)
    print(f"libedge_distil.so has {size:,} bytes, of {LIMIT:,} at most")
    if size > LIMIT:
        raise Failure(f"libedge_distil.so has {size:,} bytes, more than {LIMIT:,}")


def shared(target: str | None) -> int:
    """Size in bytes of the shared library, built with the profile `edge`, which strips it."""
    return (library("edge", target) / "lib/libedge_distil.so").stat().st_size


def program(target: str | None, compiler: str, folder: Path) -> int:
    """Size in bytes of the example with the library linked statically."""
    prefix = library("edge", target)
    words = ["-O2", "-s", "-no-pie", "-Wl,--gc-sections", "-I", prefix / "include", ROOT / "wasm/c/examples/classify.c"]
    made = folder / f"classify-{target}"
    run(compiler, *words, prefix / "lib/libedge_distil.a", "-lm", "-lpthread", "-ldl", "-o", made)
    return made.stat().st_size


def main() -> None:
    print("| | libedge_distil.so | the example, with the library inside |\n|---|---|---|")
    host = run("rustc", "--print", "host-tuple").strip()
    with TemporaryDirectory() as folder:
        for target in (None, *TARGETS):
            try:
                if target:
                    target.prepare()
            except NotRun as reason:
                print(f"NOT RUN: {target.triple}: {reason}")
                continue
            triple, compiler = (target.triple, target.compiler) if target else (None, "gcc")
            sizes = shared(triple), program(triple, compiler, Path(folder))
            print(f"| {triple or host} | " + " | ".join(f"{size / 1e6:.2f} MB" for size in sizes) + " |")


if __name__ == "__main__":
    main()
