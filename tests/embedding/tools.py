"""Running programs, and finding them."""

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
    """What a program prints. It must end with status 0; or with another one if it `fails`, and then what it
    says of errors is given, too."""
    words = [str(word) for word in words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run(words, cwd=cwd, env=environment, encoding="utf-8", capture_output=True)
    if (done.returncode != 0) != fails or done.returncode < 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
        raise Failure(f"`{' '.join(words)}` gave {done.returncode}:\n{last}")
    return done.stdout + done.stderr if fails else done.stdout


def need(*programs: tuple[str, str]) -> None:
    """Sees to programs, or files by their paths, each with the Debian package that it is in."""
    missing = [package for name, package in programs if not (shutil.which(name) or Path(name).is_file())]
    if missing and not apt(*missing):
        raise NotRun(f"it needs Debian's {', '.join(missing)}")


def apt(*packages: str) -> bool:
    """Installs Debian's packages where apt-get and the rights to use it are there; whether they are."""
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
