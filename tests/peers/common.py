"""What the scripts of all peers share: contenders in turn, their times in figures, and how both are shown."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TARGET = f"{sys.platform}-{platform.machine()}"


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


class Server:
    """A program that answers a line with a line that begins with nanoseconds, as those of `edge-bench` do."""

    def __init__(self, *command):
        self.command = list(map(str, command))
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, *numbers):
        """Nanoseconds, and what else the answer holds."""
        try:
            self.process.stdin.write(" ".join(map(str, numbers)) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        spent, *rest = answer.split() or [""]
        if not spent.isdigit():
            asked = " ".join(map(str, numbers))[:100]
            status = self.process.wait(10)
            raise SystemExit(f"{' '.join(self.command)} answered {answer!r} to {asked!r} (exit status {status})")
        return int(spent), [float(word) for word in rest]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def edge_bench(*arguments):
    return Server(Path(os.environ["EDGE_BIN_DIR"]) / "edge-bench", *arguments)


def take_turns(contenders, rounds, warmup, pause=0):
    """Nanoseconds of every contender (a function without arguments that gives them), round by round.

    Each round asks every contender once, in an order that turns from round to round, so that a change of the
    machine's speed hits all alike. `pause` is a rest before each, in seconds.
    """
    times = {name: [] for name in contenders}
    names = list(contenders)
    for i in range(warmup + rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            time.sleep(pause)
            spent = contenders[name]()
            if i >= warmup:
                times[name].append(spent)
    return {name: np.array(spent, dtype=np.float64) for name, spent in times.items()}


def spread(values):
    return np.median(values), np.percentile(values, 10), np.percentile(values, 90)


@dataclass
class Report:
    """Rows for machines and lines for people, of several measurements."""

    title: str
    versions: str
    rows: list = field(default_factory=list)
    lines: list = field(default_factory=list)

    def note(self, line):
        self.lines.append(line)

    def add(self, ours, times, model, tokens, unit=None, **more):
        """One measurement: nanoseconds by contender. `ours` names the contender that the rest are compared with.

        A ratio is that of the medians; its p10 and p90 are those of the ratio round by round. `unit` turns
        milliseconds into what people want to read.
        """
        for name, spent in times.items():
            middle, low, high = spread(spent / 1e6)
            if unit:
                shown = unit(middle, low, high)
            else:
                shown = f"{middle:.3f} [{low:.3f} - {high:.3f}]"
            line = f"{model:<30} {tokens:>5}  {name:<38} {shown:<26}"
            if name != ours:
                ratio = np.median(times[ours]) / np.median(spent)
                _, best, worst = spread(times[ours] / spent)
                line += f" {ratio:.2f} [{best:.2f} - {worst:.2f}]"
                self.rows.append(dict(
                    target=TARGET, peer=name, model=model, tokens=tokens, ratio=round(float(ratio), 3),
                    p10=round(float(best), 3), p90=round(float(worst), 3),
                    ours_ms=round(float(np.median(times[ours])) / 1e6, 4), peer_ms=round(float(middle), 4), **more,
                ))
            self.lines.append(line)

    def show(self, as_json):
        if as_json:
            print(json.dumps(self.rows, indent=1))
            return
        print(f"## {self.title}")
        print(f"{processor()}, {os.cpu_count()} logical cores; {self.versions}, python {platform.python_version()}")
        print("time: median [p10 - p90] in ms; ratio: our time / theirs [p10 - p90 of the ratio round by round]")
        for line in self.lines:
            print(line)
