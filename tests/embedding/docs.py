"""The snippets of docs/embedding.md: each is part of a file that is compiled, or is run unchanged.

A comment before each snippet says which: `<!-- path -->` or `<!-- run -->`.
"""

import re
import shutil
import textwrap
from pathlib import Path

from bindings import MATURIN
from built import binary, bundle
from cross import AARCH64
from tools import ROOT, TARGET, Failure, NotRun, need, run

PAGE = ROOT / "docs/embedding.md"
SNIPPET = re.compile(r"(?:^<!-- ([^\n]+) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def check(folder: Path) -> None:
    need(("gcc", "gcc"), ("make", "make"), ("cmake", "cmake"), ("pkg-config", "pkg-config"))
    for source, language, text in SNIPPET.findall(PAGE.read_text()):
        first = text.strip().splitlines()[0]
        print(f"{language}: {first}", flush=True)
        if language == "sh" and source == "run on aarch64":
            try:
                environment = AARCH64.prepare()
            except NotRun as reason:
                print(f"NOT RUN: {reason}")
            else:
                shell(text, folder, environment)
        elif language == "sh" and source == "run":
            shell(text, folder, MATURIN)
        elif language == "rust" and source == "run":
            rust(text, folder)
        elif source and source != "run":
            contained(text, ROOT / source)
        else:
            raise Failure(f"nothing says how to test the snippet that begins with `{first}`")


def contained(text: str, file: Path) -> None:
    """Checks that a file contains the lines, with any indentation."""
    lines = textwrap.dedent(text).rstrip().splitlines()
    whole = file.read_text().splitlines()
    for start in range(len(whole) - len(lines) + 1):
        part = textwrap.dedent("\n".join(whole[start : start + len(lines)]))
        if part.splitlines() == lines:
            return
    raise Failure(f"{file.relative_to(ROOT)} does not have the snippet:\n{text}")


def shell(text: str, folder: Path, environment: dict[str, str]) -> None:
    """Runs commands in the root of the project, with other paths."""
    places = {
        "/opt/edge-distil": folder / "prefix",
        "my-app": folder / "my-app",
        "model.edge ": f"{bundle()} ",
        " board": f" {folder / 'board'}",
        # The profile of the other tests.
        "rustup target add": ": rustup target add",
        "wasm/c/install --target": "wasm/c/install --profile dev --target",
        "cargo build --release": "cargo build",
        "target/release/edge-export": binary("edge-export"),
        "target/release": TARGET / "debug",
    }
    text = re.sub("|".join(map(re.escape, places)), lambda place: str(places[place[0]]), text)
    print(textwrap.indent(run("bash", "-euo", "pipefail", "-c", text, env=environment), "    "), end="")


def rust(text: str, folder: Path) -> None:
    """Runs a program that depends on the crate, with the versions in the project's lock file."""
    package = folder / "rust"
    # Built as the project's own crates are, so that the libraries are shared with them.
    profiles = "\n".join(re.findall(r"^\[profile\.dev[^\n]*\n(?:[^\n\[#]+\n)*", (ROOT / "Cargo.toml").read_text(), re.M))
    (package / "src").mkdir(parents=True)
    (package / "src/main.rs").write_text(text)
    shutil.copy(bundle(), package / "src/model.edge")
    shutil.copy(ROOT / "Cargo.lock", package)
    (package / "Cargo.toml").write_text(
        f"""[package]
name = "example"
edition = "2024"
[dependencies]
edge-runtime = {{ path = "{ROOT / 'wasm'}", default-features = false }}
[workspace]

{profiles}
"""
    )
    words = run("cargo", "run", "--quiet", cwd=package, env={"CARGO_TARGET_DIR": str(TARGET)})
    if words.count("after stage") != 2:
        raise Failure(f"the program in Rust says: {words}")
