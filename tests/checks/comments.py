"""Plain words, rule 1: a doc comment begins with a noun or a verb that names its item.

The check reads the first word of every doc comment in Rust. `comments.txt` lists the files that had other
beginnings when the check was made, with their number, which may only fall.
"""

import re
import subprocess
from pathlib import Path

from .steps import ROOT, Failure

# Beginnings that name nothing.
BEGINNINGS = re.compile(
    r"(What|Of|As|Those|These|That|Which|Whoever|Whose|Whether|How|Who|Why|Where|When|So|There|It|The same)\b"
)
COMMENT = re.compile(r"\s*//[/!] ?(?P<text>.*)")
EXCEPTIONS = Path(__file__).with_name("comments.txt")


def rust_files() -> list[Path]:
    """The Rust files of the project."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


def faults(text: str) -> list[tuple[int, str]]:
    """The doc comments of a file that begin otherwise: line, counted from 1, and text."""
    found, inside = [], False
    for number, line in enumerate(text.splitlines(), 1):
        comment = None if line.lstrip().startswith("////") else COMMENT.match(line)
        if comment and not inside and BEGINNINGS.match(comment["text"]):
            found.append((number, comment["text"]))
        inside = comment is not None
    return found


def check(files: list[Path]) -> None:
    """Raises `Failure` if a file has more faults than it may have, or fewer than the list says."""
    allowed = exceptions()
    problems = []
    for file in files:
        name = str(file.relative_to(ROOT))
        found, may = faults(file.read_text(encoding="utf-8")), allowed.pop(name, 0)
        if len(found) > may:
            problems += [f"{name}:{line}: begins with `{text[:60]}`" for line, text in found]
            problems.append(f"{name}: {len(found)} doc comments do not begin by naming their item; {may} may")
        elif len(found) < may:
            problems.append(f"{name}: {len(found)} such comments are left; lower the {may} in {EXCEPTIONS.name}")
    problems += [f"{name}: is gone; remove it from {EXCEPTIONS.name}" for name in allowed if not (ROOT / name).exists()]
    if problems:
        advice = "Begin with a noun or verb: \"Number format of the weights\", not \"What the weights are\"."
        raise Failure("\n".join(["doc comments:", *problems, advice]))
    print(f"{len(files)} files")


def exceptions() -> dict[str, int]:
    """Files and the number of faults that they may have."""
    lines = EXCEPTIONS.read_text(encoding="utf-8").splitlines()
    return {name: int(count) for count, name in (line.split(maxsplit=1) for line in lines)}
