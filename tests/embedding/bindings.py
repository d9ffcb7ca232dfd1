"""Kotlin, Swift and Python: the code that UniFFI generates, with the examples."""

import shutil
import sys
from functools import cache
from pathlib import Path

from c import answers_as_pytorch
from built import bundle
from tools import ROOT, TARGET, Failure, NotRun, apt, need, run

CRATE = ROOT / "wasm/uniffi"
LIBRARY = "libedge_distil_uniffi.so"
# Built with the same options for all languages, so that they share it.
MATURIN = {"MATURIN_PEP517_ARGS": "--profile dev --features bindgen"}
# npm's package contains the compiler for the JVM too.
KOTLIN = "kotlin-compiler@2.4.20"
JNA = Path("/usr/share/java/jna.jar")


@cache
def library() -> Path:
    run("cargo", "build", "--locked", "--package", "edge-runtime-uniffi", "--features", "bindgen")
    return TARGET / "debug" / LIBRARY


def generate(language: str, folder: Path) -> None:
    """Generates the code for a language, and puts the library beside it."""
    made = library()
    words = ["generate", "--language", language, "--no-format", "--out-dir", folder, made]
    run(made.parent / "uniffi-bindgen", *words, cwd=CRATE)
    shutil.copy(made, folder)


def python(folder: Path) -> None:
    """Builds the wheel with maturin, and tests it in an empty environment."""
    python = environment(folder / "venv")
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, CRATE, env=MATURIN)
    [wheel] = folder.glob("*.whl")
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes")
    run(python, "-m", "pip", "install", "--quiet", "--no-index", wheel)
    example = CRATE / "examples/classify.py"
    answers_as_pytorch(example, python)
    run(python, ROOT / "tests/embedding/test_bindings.py", bundle())
    words = run(python, CRATE / "examples/processes.py", bundle(), "good .", "bad .")
    if not set(words.split()) <= {"NEGATIVE", "POSITIVE"} or len(words.split()) != 2:
        raise Failure(f"in several processes it says: {words}")
    refuses(python, example)


def environment(folder: Path) -> Path:
    """Makes a new virtual environment. Returns its Python."""
    try:
        run(sys.executable, "-m", "venv", folder)
    except Failure as failure:
        # Debian has the standard library's venv in a separate package.
        if not apt("python3-venv"):
            raise NotRun("it needs Debian's python3-venv") from failure
        run(sys.executable, "-m", "venv", "--clear", folder)
    return folder / "bin/python"


def kotlin(folder: Path) -> None:
    need(("java", "default-jdk-headless"), ("npm", "npm"), (str(JNA), "libjna-java"))
    generate("kotlin", folder)
    run(compiler(), "-nowarn", "-cp", JNA, folder / "uniffi/edge_distil/edge_distil.kt",
        CRATE / "examples/classify.kt", "-include-runtime", "-d", folder / "classify.jar")
    program = ["java", f"-Djna.library.path={folder}", "-cp", f"{folder / 'classify.jar'}:{JNA}"]
    answers_as_pytorch(Path("ClassifyKt"), *program)
    refuses(*program, "ClassifyKt")


def compiler() -> Path:
    """Installs the Kotlin compiler from npm. Returns its path."""
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
    # Swift calls C functions; any C compiler can check their header.
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
    """Checks that a missing file gives the right kind of error, with its name."""
    words = run(*program, "/no/such.edge", "a", fails=True)
    if "Io" not in words or "cannot read /no/such.edge" not in words:
        raise Failure(f"expected an error about the missing file, found: {words}")
