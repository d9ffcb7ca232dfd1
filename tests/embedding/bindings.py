"""Kotlin, Swift and Python: the code that UniFFI makes, with the examples."""

import shutil
import sys
from functools import cache
from pathlib import Path

from c import answers_as_pytorch
from tools import ROOT, TARGET, Failure, NotRun, apt, bundle, need, run

CRATE = ROOT / "wasm/uniffi"
LIBRARY = "libedge_distil_uniffi.so"
# npm's package is the compiler for the JVM, too.
KOTLIN = "kotlin-compiler@2.4.20"
JNA = Path("/usr/share/java/jna.jar")


@cache
def library() -> Path:
    run("cargo", "build", "--locked", "--package", "edge-runtime-uniffi", "--features", "bindgen")
    return TARGET / "debug" / LIBRARY


def generate(language: str, folder: Path) -> None:
    """Writes the code for a language, and puts the library beside it."""
    made = library()
    words = ["generate", "--language", language, "--no-format", "--out-dir", folder, made]
    run(made.parent / "edge-uniffi-bindgen", *words, cwd=CRATE)
    shutil.copy(made, folder)


def python(folder: Path) -> None:
    generate("python", folder)
    example = folder / "classify.py"
    shutil.copy(CRATE / "examples/classify.py", example)
    answers_as_pytorch(example, sys.executable)
    run(sys.executable, ROOT / "tests/embedding/test_bindings.py", bundle("bert-exits"), env={"PYTHONPATH": str(folder)})
    refuses(sys.executable, example)


def kotlin(folder: Path) -> None:
    need(("java", "default-jdk-headless"), ("npm", "npm"))
    if not JNA.exists() and not apt("libjna-java"):
        raise NotRun("it needs Debian's libjna-java")
    generate("kotlin", folder)
    run(compiler(), "-nowarn", "-cp", JNA, folder / "uniffi/edge_distil/edge_distil.kt",
        CRATE / "examples/classify.kt", "-include-runtime", "-d", folder / "classify.jar")
    program = ["java", f"-Djna.library.path={folder}", "-cp", f"{folder / 'classify.jar'}:{JNA}"]
    answers_as_pytorch(Path("ClassifyKt"), *program)
    refuses(*program, "ClassifyKt")


def compiler() -> Path:
    """Kotlin's, from npm."""
    folder = TARGET / "embedding/kotlin"
    kotlinc = folder / "node_modules/kotlin-compiler/bin/kotlinc"
    if not kotlinc.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            run("npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", folder, KOTLIN)
        except Failure as failure:
            raise NotRun(f"npm cannot install {KOTLIN}: {failure}") from failure
    kotlinc.chmod(0o755)
    return kotlinc


def swift(folder: Path) -> None:
    generate("swift", folder)
    for name in ("edge_distil.swift", "edge_distilFFI.h", "edge_distilFFI.modulemap"):
        if not (folder / name).exists():
            raise Failure(f"no {name} was made")
    # What Swift calls is C; that much any C compiler can check.
    if shutil.which("gcc"):
        run("gcc", "-fsyntax-only", "-D_Nonnull=", "-D_Nullable=", "-x", "c", folder / "edge_distilFFI.h")
    if not shutil.which("swiftc"):
        raise NotRun("the code for Swift is made and its header compiles; the example needs swiftc")
    example = folder / "main.swift"
    shutil.copy(CRATE / "examples/classify.swift", example)
    run("swiftc", example, folder / "edge_distil.swift", f"-fmodule-map-file={folder}/edge_distilFFI.modulemap",
        "-Xcc", f"-fmodule-map-file={folder}/edge_distilFFI.modulemap", "-L", folder, "-ledge_distil_uniffi",
        "-Xlinker", "-rpath", "-Xlinker", folder, "-o", folder / "classify")
    answers_as_pytorch(folder / "classify")
    refuses(folder / "classify")


def refuses(*program) -> None:
    """A file that is none is an error of the right kind, with its name."""
    words = run(*program, "/no/such.edge", "a", fails=True)
    if "Io" not in words or "cannot read /no/such.edge" not in words:
        raise Failure(f"of a missing file it says: {words}")
