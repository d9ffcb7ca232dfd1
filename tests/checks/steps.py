"""Running the steps of the checks, with their times."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()

SKIPPED = "NOT RUN"


def project_files(pattern: str) -> list[Path]:
    """The files of the project that match a pattern of git, such as `*.rs`."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", pattern]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


class Failure(Exception):
    """A check that failed, in words for people."""


class Steps:
    """The steps that ran, and what could not run."""

    def __init__(self):
        self.times: list[tuple[str, float]] = []
        self.skipped: list[str] = []

    def step(self, name: str) -> "Step":
        """A step, as a context: `with steps.step("rustdoc"): ...`."""
        return Step(self, name)

    def run(self, *words, env: dict | None = None) -> None:
        """Runs a program in the root of the project; shows what it prints, and notes its lines of NOT RUN.

        Raises `Failure` unless it succeeds.
        """
        words = [str(word) for word in words]
        color = {"CARGO_TERM_COLOR": "always"} if sys.stdout.isatty() else {}
        environment = os.environ | color | (env or {})
        try:
            process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True, errors="replace")
        except OSError as error:
            raise Failure(f"cannot run {words[0]}: {error.strerror}") from error
        with process:
            for line in process.stdout:
                print(line, end="", flush=True)
                if line.startswith(SKIPPED):
                    self.skip(line.removeprefix(SKIPPED).strip(" :\n"))
        if process.returncode:
            raise Failure(f"`{' '.join(words)}` failed with status {process.returncode}")

    def skip(self, reason: str) -> None:
        """Notes what cannot run on this machine."""
        if reason not in self.skipped:
            self.skipped.append(reason)

    def not_run(self, reason: str) -> None:
        """Says and notes what cannot run on this machine."""
        print(f"{SKIPPED}: {reason}", flush=True)
        self.skip(reason)

    def table(self) -> None:
        """Prints the steps with their times, and what did not run."""
        print("\nstep                                      time")
        for name, seconds in self.times:
            print(f"{name:<38} {clock(seconds):>7}")
        print(f"{'all':<38} {clock(sum(seconds for _, seconds in self.times)):>7}")
        print(f"{SKIPPED}: {len(self.skipped)}")
        for reason in self.skipped:
            print(f"  {reason}")


class Step:
    """One step: prints its name, and then its time."""

    def __init__(self, steps: Steps, name: str):
        self.steps, self.name = steps, name

    def __enter__(self) -> None:
        print(f"\n== {self.name}", flush=True)
        self.start = time.monotonic()

    def __exit__(self, kind, *_) -> None:
        seconds = time.monotonic() - self.start
        name = f"{self.name} (failed)" if kind else self.name
        self.steps.times.append((name, seconds))
        print(f"-- {name}: {clock(seconds)}", flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds + 0.5) // 60}:{int(seconds + 0.5) % 60:02}"
