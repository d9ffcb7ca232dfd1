"""The C interface: its tests under AddressSanitizer and valgrind, its examples by make and by CMake."""

import json
import math
from pathlib import Path

from built import bundle, library
from tools import ROOT, Failure, need, run

EXAMPLES = ROOT / "wasm/c/examples"
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g", "-O1"]
# Memory that is reachable at the end is permitted: the tokenizer allocates 88 bytes of seeds once in a process.
VALGRIND = ["valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible",
            "--error-exitcode=9"]


def check(folder: Path) -> None:
    need(("gcc", "gcc"), ("g++", "g++"), ("make", "make"), ("cmake", "cmake"), ("pkg-config", "pkg-config"),
         ("valgrind", "valgrind"))
    prefix, model = library(), bundle()
    header = prefix / "include/edge_distil.h"
    run("g++", "-x", "c++", "-std=c++11", "-pedantic", "-Wall", "-Werror", "-fsyntax-only", header)

    test = ROOT / "tests/embedding/test.c"
    shared = [*STRICT, "-I", prefix / "include", test, "-L", prefix / "lib", f"-Wl,-rpath,{prefix}/lib"]
    run("gcc", *shared, "-ledge_distil", "-lm", "-lpthread", "-o", folder / "shared")
    print(run(*VALGRIND, folder / "shared", model), end="")
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    static = [*STRICT, *sanitize, "-I", prefix / "include", test, prefix / "lib/libedge_distil.a"]
    run("gcc", *static, "-lm", "-lpthread", "-ldl", "-o", folder / "static")
    print(run(folder / "static", model, env={"ASAN_OPTIONS": "detect_leaks=1"}), end="")
    leaks_are_seen(prefix, model, folder)
    wraps = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "posix_memalign")]
    words = ["-I", prefix / "include", ROOT / "tests/embedding/allocations.c", prefix / "lib/libedge_distil.a"]
    run("gcc", *STRICT, *words, *wraps, "-lm", "-lpthread", "-ldl", "-o", folder / "allocations")
    print(run(folder / "allocations", model), end="")

    build(prefix, folder)
    for program in (folder / "make/classify", folder / "make/classify-static", folder / "cmake/classify"):
        answers_as_pytorch(program)
    wrong = run(folder / "make/classify", "/no/such.edge", "a", fails=True)
    if "cannot read /no/such.edge" not in wrong:
        raise Failure(f"the example says of a missing file: {wrong}")


def build(prefix: Path, folder: Path) -> None:
    """Builds the examples as the documentation describes."""
    flags = "CFLAGS=-Werror -pedantic"
    run("cp", "-r", EXAMPLES, folder / "make")
    run("make", "-C", folder / "make", f"PREFIX={prefix}", flags)
    run("cmake", "-S", EXAMPLES, "-B", folder / "cmake", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", folder / "cmake")


def leaks_are_seen(prefix: Path, model: Path, folder: Path) -> None:
    """Checks that a program that leaks fails; otherwise the runs above prove nothing."""
    source = folder / "leak.c"
    source.write_text(
        '#include "edge_distil.h"\n'
        "int main(int n, char **a) { EdgeClassifier *c; if (n < 2 || edge_open(a[1], &c, 0)) return 1; c = 0; return 0; }\n"
    )
    words = [*STRICT, "-I", prefix / "include", source, "-L", prefix / "lib", f"-Wl,-rpath,{prefix}/lib"]
    run("gcc", *words, "-ledge_distil", "-o", folder / "leak")
    words = run(*VALGRIND, folder / "leak", model, fails=True)
    if "definitely lost" not in words:
        raise Failure(f"valgrind says of a leak: {words}")


def answers_as_pytorch(program: Path, *prefix) -> None:
    """Compares labels and probabilities with the goldens at full depth, the policy of an exported fixture."""
    golden = json.loads((ROOT / "tests/goldens/bert-exits.json").read_text())
    texts = [(i, t) for i, t in enumerate(golden["texts"]) if "\0" not in t and "\n" not in t and "\t" not in t]
    lines = run(*prefix, program, bundle("fixtures/bert-exits", "--fp32"), *(t for _, t in texts)).removesuffix("\n").split("\n")
    if len(lines) != len(texts):
        raise Failure(f"{program.name} answers {len(lines)} of {len(texts)} texts")
    for (i, text), line in zip(texts, lines):
        label, probability, stage, echo = line.split("\t")
        logits = golden["logits"][-1][i]
        exponentials = [math.exp(logit - max(logits)) for logit in logits]
        p = max(exponentials) / sum(exponentials)
        expected = ["NEGATIVE", "POSITIVE"][logits.index(max(logits))]
        close = abs(float(probability) - p) < 2e-4
        if (label, stage, echo, close) != (expected, "stage 4", text, True):
            raise Failure(f"{program.name} says {line!r}, PyTorch {expected} with {p:.4f}")
