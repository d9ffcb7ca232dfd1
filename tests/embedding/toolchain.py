"""Finds a Rust toolchain that can compile for another target, or sets one up."""

import os
from functools import cache
from pathlib import Path

from tools import Failure, NotRun, apt, run

# Debian's package of the source of the standard library.
DEBIAN = ("rustc-web", "cargo-web", "rust-web-src")
SOURCE = Path("/usr/lib/rustlib/src/rust/library/Cargo.toml")


@cache
def toolchain(triple: str) -> dict[str, str]:
    """Environment in which cargo compiles for a target. Installed toolchains are tried before downloads."""
    linked = {f"{variable(triple)}_LINKER": f"{c_prefix(triple)}-gcc"}
    if has_target(triple):
        return linked
    if not SOURCE.exists() and from_rustup(triple):
        return linked
    if not SOURCE.exists() and not apt(*DEBIAN):
        raise NotRun(f"it needs `rustup target add {triple}`, or Debian's {', '.join(DEBIAN)}")
    return linked | {
        "PATH": f"/usr/bin:{os.environ['PATH']}",
        "RUSTC": "/usr/bin/rustc",
        # Compiling the standard library needs an unstable option.
        "RUSTC_BOOTSTRAP": "1",
        "CARGO_UNSTABLE_BUILD_STD": "std,panic_abort,test",
    }


def variable(triple: str) -> str:
    """Prefix of cargo's settings for a target."""
    return f"CARGO_TARGET_{triple.upper().replace('-', '_')}"


def c_prefix(triple: str) -> str:
    """Prefix of Debian's C compiler for a target: the triple without the vendor."""
    architecture, _, rest = triple.split("-", 2)
    return f"{architecture.removesuffix('v7')}-{rest}"


def has_target(triple: str) -> bool:
    """True if the active Rust has the standard library for a target."""
    sysroot = Path(run("rustc", "--print", "sysroot").strip())
    return (sysroot / "lib/rustlib" / triple / "lib").exists()


def from_rustup(triple: str) -> bool:
    """Installs the standard library with rustup. Returns true on success."""
    try:
        run("timeout", "120", "rustup", "target", "add", triple, env={"RUSTUP_MAX_RETRIES": "0"})
    except (Failure, FileNotFoundError):
        return False
    return has_target(triple)
