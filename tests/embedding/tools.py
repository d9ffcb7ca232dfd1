"""Functions to run and find programs."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


class Failure(Exception):
    """A test has failed."""


class NotRun(Exception):
    """The machine lacks what a test needs."""


def run(*words, cwd=ROOT, env=None, fails=False) -> str:
    """Runs a program. Returns its output. The status must be 0; with `fails` it must be another one, and the
    output then includes standard error."""
    words = [str(word) for word in words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run(words, cwd=cwd, env=environment, encoding="utf-8", capture_output=True)
    if (done.returncode != 0) != fails or done.returncode < 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
        raise Failure(f"`{' '.join(words)}` gave {done.returncode}:\n{last}")
    return done.stdout + done.stderr if fails else done.stdout


def need(*programs: tuple[str, str]) -> None:
    """Installs missing programs, or files by their paths, each with the name of its Debian package."""
    missing = [package for name, package in programs if not (shutil.which(name) or Path(name).is_file())]
    if missing and not apt(*missing):
        raise NotRun(f"it needs Debian's {', '.join(missing)}")


def apt(*packages: str) -> bool:
    """Installs Debian packages if apt-get and the rights to use it exist. Returns true if they do."""
    if not shutil.which("apt-get"):
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *packages]
    for words in (["apt-get", "update", "-qq"], install):
        try:
            run(*prefix, *words, env={"DEBIAN_FRONTEND": "noninteractive"})
        except (Failure, FileNotFoundError):
            return False
    return True
