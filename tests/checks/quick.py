"""`./test quick`: what can be checked of a change in two minutes.

The change is what is not committed, or else the last commit; on a branch it is all that `main` lacks.
"""

import subprocess
from pathlib import Path

from . import comments, layers, links
from .parts import NATIVE, TESTED
from .steps import ROOT, Steps, project_files

CRATES = ("toolkit/export", "toolkit", "wasm/bindgen", "wasm/c", "wasm/uniffi", "wasm", "tests")


def run(steps: Steps) -> None:
    """Checks the change."""
    files = changed()
    print(f"{len(files)} files have changed" + "".join(f"\n  {name}" for name in files[:20]))
    rust = [name for name in files if name.endswith(".rs") and (ROOT / name).exists()]
    cargo = [name for name in files if name.rsplit("/")[-1] in ("Cargo.toml", "Cargo.lock")]
    with steps.step("formatting"):
        steps.run("cargo", "fmt", "--all", "--check")
    with steps.step("words"):
        comments.check([ROOT / name for name in rust])
    with steps.step("layers"):
        layers.check()
    with steps.step("links"):
        links.check(project_files("*.md"))
    if rust or cargo:
        with steps.step("lints"):
            steps.run("cargo", "clippy", *NATIVE, "--all-targets", "--", "-D", "warnings")
    modules, tests = sorted({m for m in map(module, rust) if m}), sorted({t for t in map(test, rust) if t})
    if modules:
        with steps.step("unit tests: " + ", ".join(modules)):
            skipped = ("--skip", "wgpu::")
            steps.run("cargo", "test", *TESTED, "--lib", "--", *modules, *skipped)
    if tests:
        with steps.step("tests: " + ", ".join(tests)):
            chosen = [word for name in tests for word in ("--test", name)]
            steps.run("cargo", "test", *TESTED, *chosen)
    if any(name.startswith("wasm/js/") for name in files) and (ROOT / "wasm/pkg/index.js").exists():
        with steps.step("TypeScript"):
            steps.run("node", "wasm/build.mjs")


def git(*words: str) -> str:
    """What git prints; nothing if it fails."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout


def changed() -> list[str]:
    """The files of the change, by their paths in the project."""
    dirty = [line[3:].split(" -> ")[-1] for line in git("status", "--porcelain", "-uall").splitlines()]
    base = git("merge-base", "HEAD", "main").strip()
    if base == git("rev-parse", "HEAD").strip():
        base = "HEAD" if dirty else "HEAD~1"
    committed = git("diff", "--name-only", base, "HEAD").splitlines() if base else []
    return sorted({*dirty, *committed})


def crate(name: str) -> str | None:
    """The folder of the crate that a file belongs to."""
    return next((folder for folder in CRATES if name.startswith(f"{folder}/")), None)


def module(name: str) -> str | None:
    """The module that a source file of a library belongs to, as tests are named."""
    folder = crate(name)
    inner = Path(name).relative_to(folder).parts if folder else ()
    if len(inner) < 2 or inner[0] != "src" or inner[1] in ("bin", "main.rs"):
        return None
    top = inner[1].removesuffix(".rs")
    return "" if top == "lib" else f"{top}::"


def test(name: str) -> str | None:
    """The integration test that a file is."""
    folder = crate(name)
    inner = Path(name).relative_to(folder).parts if folder else ()
    return inner[1].removesuffix(".rs") if len(inner) == 2 and inner[0] == "tests" and name.endswith(".rs") else None
