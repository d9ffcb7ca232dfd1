"""The checks of `./test`: which there are, and the order in which they run."""

import sys

from . import parts, quick
from .steps import Failure, Steps

PARTS = {
    "lints": parts.lints,
    "words": parts.words,
    "rust": parts.rust,
    "docs": parts.docs,
    "demo": parts.demo,
    "gpu": parts.gpu,
    "python": parts.python,
    "embedding": parts.embedding,
    "browser": parts.browser,
}


def main(arguments: list[str], usage: str) -> int:
    """Runs what the arguments name; the exit status."""
    part, names = (arguments[0], arguments[1:]) if arguments else (None, [])
    if part not in (None, "quick", *PARTS) or (part in ("quick", "lints", "words", "docs", "demo") and names):
        print(usage, file=sys.stderr)
        return 0 if part in ("-h", "--help") else 2
    steps = Steps()
    try:
        if part == "quick":
            quick.run(steps)
        elif part:
            PARTS[part](steps, names)
        else:
            for run in PARTS.values():
                run(steps, [])
    except Failure as failure:
        steps.table()
        print(f"\n./test: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    steps.table()
    print("\n== all passed" if part is None else f"\n== {part} passed")
    return 0
