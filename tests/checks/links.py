"""Links of the documentation: each relative link of a Markdown file leads to a file or folder."""

import re
from pathlib import Path

from .steps import ROOT, Failure

LINK = re.compile(r'\]\((?P<markdown>[^)#\s]+)(?:#[^)]*)?\)|\b(?:src|href)="(?P<html>[^"#]+)')
ELSEWHERE = re.compile(r"[a-z]+:")


def dead(file: Path) -> list[str]:
    """The links of a file that lead nowhere."""
    links = [m["markdown"] or m["html"] for m in LINK.finditer(file.read_text(encoding="utf-8"))]
    return [link for link in links if not ELSEWHERE.match(link) and not (file.parent / link).exists()]


def check(files: list[Path]) -> None:
    """Raises `Failure` with the links that lead nowhere."""
    problems = [f"{file.relative_to(ROOT)}: {link}" for file in files for link in dead(file)]
    if problems:
        raise Failure("\n".join(["links to files that do not exist:", *problems]))
    print(f"{len(files)} files")
