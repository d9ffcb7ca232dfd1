"""What several tests need, built once."""

import os
from functools import cache
from pathlib import Path

from toolchain import toolchain
from tools import ROOT, TARGET, run


@cache
def bundle(checkpoint: str = "fixtures/bert-exits", precision: str = "--int8") -> Path:
    """A model of models/, exported."""
    path = TARGET / "embedding" / f"{Path(checkpoint).name}{precision}.edge"
    path.parent.mkdir(parents=True, exist_ok=True)
    binaries = Path(os.environ.get("EDGE_BIN_DIR", TARGET / "release"))
    if not (binaries / "edge-export").exists():
        run("cargo", "build", "--release", "--locked", "--package", "edge-toolkit")
    run(binaries / "edge-export", precision, ROOT / "models" / checkpoint, "-o", path)
    return path


@cache
def library(profile: str = "edge", target: str | None = None) -> Path:
    """The C library, installed below the folder that this gives."""
    prefix = TARGET / "embedding" / f"{target or 'host'}-{profile}"
    words = ["--target", target] if target else []
    run(ROOT / "wasm/c/install", "--profile", profile, *words, prefix, env=toolchain(target) if target else None)
    return prefix
