"""Plain words, rule 1: a doc comment begins with a noun or a verb that names its item.

The check reads the first word of every doc comment in Rust.
"""

import re
from pathlib import Path

from .steps import ROOT, Failure

# Beginnings that name nothing.
BEGINNINGS = re.compile(
    r"(What|Of|As|Those|These|That|Which|Whoever|Whose|Whether|How|Who|Why|Where|When|So|There|It|The same)\b"
)
COMMENT = re.compile(r"\s*//[/!] ?(?P<text>.*)")


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
    """Raises `Failure` with the lines that begin otherwise."""
    problems = [f"{file.relative_to(ROOT)}:{line}: begins with `{text[:60]}`"
                for file in files for line, text in faults(file.read_text(encoding="utf-8"))]
    if problems:
        advice = "Begin with a noun or verb: \"Number format of the weights\", not \"What the weights are\"."
        raise Failure("\n".join(["doc comments that do not name their item:", *problems, advice]))
    print(f"{len(files)} files")
