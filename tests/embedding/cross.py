"""Other processors, under qemu: the engine passes its tests, the C example answers as PyTorch does, and the
C tests pass."""

from dataclasses import dataclass
from pathlib import Path

from built import bundle, library
from c import answers_as_pytorch
from toolchain import c_prefix, toolchain, variable
from tools import ROOT, need, run


@dataclass(frozen=True)
class Target:
    triple: str
    debian: str  # its name for the architecture
    qemu: str
    processors: tuple[str, ...]

    @property
    def compiler(self) -> str:
        return f"{c_prefix(self.triple)}-gcc"

    def prepare(self) -> dict[str, str]:
        """Installs the tools for compiling for a processor. Returns the environment for cargo."""
        prefix = c_prefix(self.triple)
        header = f"/usr/{prefix}/include/stdio.h", f"libc6-dev-{self.debian}-cross"
        need((self.compiler, f"gcc-{prefix}"), header, (self.qemu, "qemu-user"))
        return toolchain(self.triple)

    def emulate(self, processor: str) -> list[str]:
        return [self.qemu, "-cpu", processor, "-L", f"/usr/{c_prefix(self.triple)}"]


# With and without instructions for dot products.
AARCH64 = Target("aarch64-unknown-linux-gnu", "arm64", "qemu-aarch64", ("max", "cortex-a53"))
ARMV7 = Target("armv7-unknown-linux-gnueabihf", "armhf", "qemu-arm", ("cortex-a7",))
TARGETS = AARCH64, ARMV7


def aarch64(folder: Path) -> None:
    check(folder, AARCH64)


def armv7(folder: Path) -> None:
    check(folder, ARMV7)


def check(folder: Path, target: Target) -> None:
    environment = target.prepare()
    installed = library("dev", target.triple)
    include, archive = installed / "include", installed / "lib/libedge_distil.a"
    for name, source in (("classify", ROOT / "wasm/c/examples/classify.c"), ("test", ROOT / "tests/embedding/test.c")):
        words = ["-std=c99", "-O1", "-I", include, source, archive, "-lm", "-lpthread", "-ldl"]
        run(target.compiler, *words, "-o", folder / name)
    for processor in target.processors:
        emulate = target.emulate(processor)
        answers_as_pytorch(folder / "classify", *emulate)
        print(run(*emulate, folder / "test", bundle()), end="")
        runner = {f"{variable(target.triple)}_RUNNER": " ".join(emulate)}
        words = ["--locked", "--package", "edge-runtime", "--no-default-features", "--lib", "--test", "engine"]
        said = run("cargo", "test", *words, "--target", target.triple, env=environment | runner)
        for line in said.splitlines():
            if line.startswith("test result: "):
                print(f"{processor}: {line}", flush=True)
