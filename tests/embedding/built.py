"""Programs, bundles and libraries that several tests need, built once."""

import os
from functools import cache
from pathlib import Path

from toolchain import toolchain
from tools import ROOT, TARGET, run


@cache
def binary(name: str) -> Path:
    """Builds a program of the toolkit. Returns its path."""
    binaries = Path(os.environ.get("EDGE_BIN_DIR", TARGET / "release"))
    if not (binaries / name).exists():
        run("cargo", "build", "--release", "--locked", "--package", "edge-export", "--package", "edge-toolkit")
    return binaries / name


@cache
def bundle(checkpoint: str = "fixtures/bert-exits", *options: str) -> Path:
    """Exports a model of models/, by default in int8. Returns the path of the bundle."""
    options = options or ("--int8",)
    path = TARGET / "embedding" / f"{Path(checkpoint).name}{''.join(options)}.edge"
    path.parent.mkdir(parents=True, exist_ok=True)
    run(binary("edge-export"), *options, ROOT / "models" / checkpoint, "-o", path)
    return path


@cache
def library(profile: str = "edge", target: str | None = None) -> Path:
    """Installs the C library. Returns the folder below which it is installed."""
    prefix = TARGET / "embedding" / f"{target or 'host'}-{profile}"
    words = ["--target", target] if target else []
    run(ROOT / "wasm/c/install", "--profile", profile, *words, prefix, env=toolchain(target) if target else None)
    return prefix
