"""The parts of `./test`.

All native builds ask for the same features of the whole workspace, so that cargo builds each dependency once.
Tests use the programs of that build, in `target/debug`: the code of release, with debug assertions.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import comments, layers, links
from .steps import ROOT, TARGET, Failure, Steps, project_files

NATIVE = ("--workspace", "--features", "edge-runtime/wgpu", "--locked")
# edge-bindgen has no tests, and the browser build makes it for itself.
TESTED = (*NATIVE, "--exclude", "edge-bindgen")
PROGRAMS = TARGET / "debug"
WASM = "wasm32-unknown-unknown"
GPU_TESTS = ("gpu", "gpu_f16", "gpu_parity")


def lints(steps: Steps, _) -> None:
    """Formatting, and clippy natively and for the browser."""
    with steps.step("formatting"):
        steps.run("cargo", "fmt", "--all", "--check")
    with steps.step("lints"):
        gpu = (word for name in GPU_TESTS for word in ("--test", name))
        steps.run("cargo", "clippy", *NATIVE, "--all-targets", *gpu, "--", "-D", "warnings")
    with steps.step("lints for the browser"):
        if not has_wasm():
            return steps.not_run(f"clippy for WebAssembly needs `rustup target add {WASM}`")
        flags = '-Ctarget-feature=+simd128 --cfg=getrandom_backend="wasm_js"'
        for features in ("", "wgpu"):
            words = ("--package", "edge-runtime", "--lib", "--no-default-features", "--features", features)
            steps.run("cargo", "clippy", "--locked", *words, "--target", WASM, "--", "-D", "warnings",
                      env={"RUSTFLAGS": flags})


def has_wasm() -> bool:
    """Whether Rust has the standard library for WebAssembly; rustup is asked for it."""
    def there() -> bool:
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, cwd=ROOT)
        return (Path(sysroot.stdout.strip()) / "lib/rustlib" / WASM / "lib").exists()

    if not there() and shutil.which("rustup"):
        try:
            subprocess.run(["rustup", "target", "add", WASM], capture_output=True, timeout=120, cwd=ROOT,
                           env=os.environ | {"RUSTUP_MAX_RETRIES": "0"})
        except subprocess.TimeoutExpired:
            return False
    return there()


def words(steps: Steps, _) -> None:
    """Rule 1 of the plain words: doc comments begin with what they name. Links lead somewhere, imports down."""
    with steps.step("words"):
        comments.check(project_files("*.rs"))
    with steps.step("layers"):
        layers.check()
    with steps.step("links"):
        links.check(project_files("*.md"))


def rust(steps: Steps, names: list[str]) -> None:
    """All Rust tests but those of the GPU engine."""
    with steps.step("Rust tests"):
        for name in names or [None]:
            filters = [name] if name else []
            steps.run("cargo", "test", *TESTED, *filters, "--", "--skip", "wgpu::")
    if not names:
        with steps.step("Rust examples"):
            examples(steps)


def examples(steps: Steps) -> None:
    """Runs the examples, which the tests have built."""
    folder = TARGET / "examples"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    built = PROGRAMS / "examples"
    texts = folder / "texts.txt"
    texts.write_text("a wonderful film\ntwo hours that I will never get back\n")
    model = folder / "model.edge"
    steps.run(PROGRAMS / "edge-export", ROOT / "models/fixtures/bert-exits", "-o", model)
    steps.run(built / "classify_file", model, texts)
    steps.run(built / "own_policy", model, texts)
    steps.run(built / "from_bytes", model, "a wonderful film")
    steps.run(built / "train", ROOT / "models/fixtures/bert-exits", folder / "trained")


def docs(steps: Steps, _) -> None:
    """The documentation builds without a warning."""
    with steps.step("documentation"):
        steps.run("cargo", "doc", *NATIVE, "--no-deps", "--quiet", env={"RUSTDOCFLAGS": "-D warnings"})


def demo(steps: Steps, _) -> None:
    """The main command; the browser's tests use what it makes."""
    with steps.step("./demo --no-serve"):
        steps.run("./demo", "--no-serve")


def programs(steps: Steps) -> None:
    """The programs that the tests of other languages call."""
    with steps.step("programs for the tests"):
        steps.run("cargo", "build", *TESTED, "--bins")


def gpu(steps: Steps, names: list[str]) -> None:
    """The GPU engine against the CPU engine; on a software adapter where there is no GPU."""
    programs(steps)
    with steps.step("GPU engine"):
        if sys.platform == "linux" and not list(Path("/usr/share/vulkan/icd.d").glob("*.json")):
            if not apt("mesa-vulkan-drivers"):
                steps.not_run("the tests of the GPU engine need Debian's mesa-vulkan-drivers, or a GPU")
        bundles = gpu_bundles(steps)
        targets = [word for name in GPU_TESTS for word in ("--test", name)]
        quiet = ("--nocapture",)
        for test in (["--lib", names[0] if names else "wgpu::"], [*targets, *names[:1]]):
            steps.run("cargo", "test", *TESTED, *test, "--", *quiet, env={"EDGE_BUNDLES": str(bundles)})


def gpu_bundles(steps: Steps) -> Path:
    """Bundles of the fixtures in every precision, one with layers of different widths, and a packed one."""
    folder = TARGET / "gpu-bundles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fixtures = ROOT / "models/fixtures"

    def export(name: str, checkpoint: Path, *options: str) -> None:
        steps.run(PROGRAMS / "edge-export", *options, checkpoint, "-o", folder / f"{name}.edge")

    for fixture in ("bert-exits", "bert-plain", "distilbert-exits", "distilbert-plain"):
        for options in ("--fp32", "--int8", "--int8 --weight-bits 8", "--int8 --embedding-bits 4"):
            export(fixture + options.replace(" ", ""), fixtures / fixture, *options.split())
    texts = folder / "weigh.tsv"
    texts.write_text("sentence\tlabel\na wonderful film\t1\na waste of two hours\t0\n")
    steps.run(PROGRAMS / "edge-distill", "prune", fixtures / "bert-exits", "--heads", "0.5", "--neurons", "0.5",
              "--data", texts, "-o", folder / "pruned")
    export("pruned", folder / "pruned", "--int8")
    export("packed", fixtures / "bert-exits", "--int8", "--pack", "neon-dot")
    return folder


def python(steps: Steps, names: list[str]) -> None:
    """ONNX Runtime on our files, the goldens of PyTorch, and the tokenizers of transformers."""
    programs(steps)
    with steps.step("Python tests"):
        interpreter = environment(steps)
        chosen = ("-k", " or ".join(names)) if names else ()
        steps.run(interpreter, "-m", "pytest", "-q", "tests/python", *chosen, env={"EDGE_BIN_DIR": str(PROGRAMS)})


def environment(steps: Steps) -> Path:
    """A Python environment with what the tests need; its interpreter."""
    folder = TARGET / "venv"
    interpreter = folder / "bin/python"
    if not interpreter.exists():
        make = (sys.executable, "-m", "venv", "--clear", folder)
        try:
            steps.run(*make)
        except Failure:
            # Debian ships the standard library's venv as a package of its own.
            if not apt("python3-venv"):
                raise
            steps.run(*make)
    install = (interpreter, "-m", "pip", "install", "--quiet")
    steps.run(*install, "--requirement", "tests/python/requirements.txt")
    try:
        steps.run(*install, "--no-deps", "--requirement", "tests/python/requirements-tensorrt.txt")
    except Failure:
        steps.not_run("TensorRT-RTX's wheels (Linux on x86-64, Windows) cannot be had here")
    return interpreter


def embedding(steps: Steps, names: list[str]) -> None:
    """The runtime in other languages and on other processors."""
    programs(steps)
    for name in names or ["c", "docs", "sizes", "memory", "aarch64", "python", "kotlin", "swift"]:
        with steps.step(f"embedding: {name}"):
            steps.run("tests/embedding/run", name, env={"EDGE_BIN_DIR": str(PROGRAMS)})


def browser(steps: Steps, names: list[str]) -> None:
    """The browser package and the page, in Chromium."""
    if names:
        demo(steps, [])
    with steps.step("browser tests"):
        steps.run("node", "tests/browser/run.mjs", *names)


def apt(package: str) -> bool:
    """Installs a package of Debian; whether that was possible."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    commands = (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package])
    return all(subprocess.run(["apt-get", *words], env=environment).returncode == 0 for words in commands)
