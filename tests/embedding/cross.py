"""Other processors, under qemu: the C example answers as PyTorch does, and the C tests pass."""

from dataclasses import dataclass
from pathlib import Path

from c import answers_as_pytorch
from tools import ROOT, NotRun, bundle, has_target, library, need, run


@dataclass
class Target:
    triple: str
    prefix: str  # of the C compiler
    qemu: str
    package: str
    processors: tuple


AARCH64 = Target(
    "aarch64-unknown-linux-gnu", "aarch64-linux-gnu", "qemu-aarch64", "gcc-aarch64-linux-gnu",
    ("max", "cortex-a53"),  # with and without instructions for dot products
)
ARMV7 = Target(
    "armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf", "qemu-arm", "gcc-arm-linux-gnueabihf", ("cortex-a7",)
)
TARGETS = AARCH64, ARMV7


def aarch64(folder: Path) -> None:
    check(folder, AARCH64)


def armv7(folder: Path) -> None:
    check(folder, ARMV7)


def check(folder: Path, target: Target) -> None:
    if not has_target(target.triple):
        raise NotRun(f"it needs `rustup target add {target.triple}`")
    compiler = f"{target.prefix}-gcc"
    need((compiler, target.package), (target.qemu, "qemu-user"))
    installed = library("dev", target.triple)
    include, archive = installed / "include", installed / "lib/libedge_distil.a"
    for name, source in (("classify", ROOT / "wasm/c/examples/classify.c"), ("test", ROOT / "tests/embedding/test.c")):
        words = ["-std=c99", "-O1", "-I", include, source, archive, "-lm", "-lpthread", "-ldl"]
        run(compiler, *words, "-o", folder / name)
    for processor in target.processors:
        emulate = [target.qemu, "-cpu", processor, "-L", f"/usr/{target.prefix}"]
        answers_as_pytorch(folder / "classify", *emulate)
        print(run(*emulate, folder / "test", bundle("bert-exits")), end="")
