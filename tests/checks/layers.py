"""Layers: an import points down, and no files import each other in a circle.

The check reads `use` declarations and paths of the Rust sources, without the tests in them. A name that a
module re-exports counts as an import of the file that defines it. `ROOMS` is the order of the modules of a
crate, from the ground up: a module may import those before it.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .steps import ROOT, Failure

# Modules of each crate, from the ground up; a crate without an order is searched for circles only.
ROOMS: dict[str, list[str]] = {
    "wasm/src": [
        "error", "guard", "lfs", "encoding", "onnx", "input", "task", "exit", "bundle", "tokenizer", "pretrained",
        "graph", "kernels", "engine", "classifier", "bindings",
    ],
    "wasm/c/src": [],
    "wasm/uniffi/src": [],
    "toolkit/export/src": [
        "error", "say", "testing", "files", "text_file", "encoder", "quantize", "data", "families", "checkpoint",
        "export",
    ],
    "toolkit/src": [
        "error", "rng", "device", "settings", "chart", "hub", "data", "network", "tasks", "train", "measure",
        "compress", "report", "all_steps", "bench",
    ],
}
IDENTIFIER = r"[A-Za-z_]\w*"
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
USE = re.compile(r"(?P<public>\bpub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")
PATH = re.compile(rf"\b(?:crate|super|self)(?:::{IDENTIFIER})+")
TESTS = re.compile(r"#\[cfg\((?:test|all\(test[^\n]*)\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+\w+\s*\{")


@dataclass
class Module:
    """A source file: its imports, and the names that it passes on."""

    path: tuple[str, ...]
    file: Path
    imports: list[tuple[str, ...]] = field(default_factory=list)
    passed_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    globs: list[tuple[str, ...]] = field(default_factory=list)


@dataclass
class Crate:
    """The modules of a crate by their path; the root has the empty path."""

    source: Path

    @cached_property
    def modules(self) -> dict[tuple[str, ...], Module]:
        """All modules, read."""
        found = {}
        for file in sorted(self.source.rglob("*.rs")):
            parts = file.relative_to(self.source).with_suffix("").parts
            if parts[0] == "bin" or "tests" in parts:
                continue
            parts = parts[:-1] if parts[-1] in ("lib", "mod") else parts
            found[parts] = Module(parts, file)
        for module in found.values():
            self.read(module)
        return found

    def read(self, module: Module) -> None:
        """Fills in the imports of a module."""
        text = without_tests(STRING.sub('""', COMMENT.sub("", module.file.read_text(encoding="utf-8"))))
        rest = USE.sub("", text)
        for use in USE.finditer(text):
            for path, name in leaves(use["tree"]):
                path = self.absolute(module, path)
                if path is None:
                    continue
                if name == "*":
                    module.globs.append(path)
                elif use["public"]:
                    module.passed_on[name] = path
                if not use["public"] or re.search(rf"\b{re.escape(name)}\b", rest):
                    module.imports.append(path)
        for path in PATH.findall(rest):
            path = self.absolute(module, path.split("::"))
            module.imports += [path] if path else []

    def absolute(self, module: Module, path: list[str]) -> tuple[str, ...] | None:
        """A path from the crate's root; `None` if it belongs to another crate."""
        at = list(module.path)
        if path[0] == "crate":
            return tuple(path[1:])
        if path[0] in ("self", "super"):
            while path and path[0] in ("self", "super"):
                at = at[:-1] if path[0] == "super" else at
                path = path[1:]
            return (*at, *path)
        child = self.source.joinpath(*at, path[0])
        return (*at, *path) if child.with_suffix(".rs").exists() or child.is_dir() else None

    def definition(self, path: tuple[str, ...], depth: int = 0) -> Module:
        """The module that defines a path, behind all re-exports."""
        at = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in self.modules)
        module, rest = self.modules[at], path[len(at):]
        if rest and depth < 8:
            if rest[0] in module.passed_on:
                return self.definition((*module.passed_on[rest[0]], *rest[1:]), depth + 1)
        return module

    @cached_property
    def edges(self) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
        """The modules that each module imports."""
        edges = {}
        for module in self.modules.values():
            targets = {self.definition(path).path for path in module.imports}
            edges[module.path] = targets - {module.path}
        return edges


def without_tests(text: str) -> str:
    """A source without its inline test modules."""
    while match := TESTS.search(text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[: match.start()] + text[end:]
    return text


def leaves(tree: str) -> list[tuple[list[str], str]]:
    """The paths of a `use` declaration, each with the name that it brings in."""
    tree = tree.strip()
    if "{" in tree and tree.endswith("}"):
        stem, inside = tree.split("{", 1)
        stem = [part for part in stem.strip().split("::") if part]
        found = []
        for item in items(inside[:-1]):
            for path, name in leaves(item):
                path = path[:-1] if path[-1] == "self" and path != ["self"] else path
                if path == ["self"]:
                    found.append((stem, stem[-1]))
                else:
                    found.append((stem + path, name))
        return found
    tree, _, alias = tree.partition(" as ")
    path = [part.strip() for part in tree.split("::") if part.strip()]
    if not path:
        return []
    if path[-1] == "*":
        return [(path[:-1], "*")]
    if path[-1] == "self" and len(path) > 1:
        path = path[:-1]
    return [(path, alias.strip() or path[-1])]


def items(inside: str) -> list[str]:
    """The items of a braced list, split at its own commas."""
    found, depth, start = [], 0, 0
    for i, c in enumerate(inside):
        depth += {"{": 1, "}": -1}.get(c, 0)
        if c == "," and depth == 0:
            found.append(inside[start:i])
            start = i + 1
    return [item for item in [*found, inside[start:]] if item.strip()]


def circles(edges: dict[tuple[str, ...], set[tuple[str, ...]]]) -> list[list[tuple[str, ...]]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node: tuple[str, ...]) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(component) > 1:
                found.append(sorted(component))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def upward(edges: dict[tuple[str, ...], set[tuple[str, ...]]], rooms: list[str]) -> list[str]:
    """The imports that point up the list of rooms, and the rooms that it lacks."""
    place = {room: i for i, room in enumerate(rooms)}
    problems = [f"`{path[0]}` is not in the list of rooms" for path in edges if len(path) == 1 and path[0] not in place]
    for path, targets in edges.items():
        for target in sorted(targets):
            if path and target and place.get(path[0], 0) < place.get(target[0], 0):
                problems.append(f"{'::'.join(path)} imports {'::'.join(target)}, which is above it")
    return problems


def check() -> None:
    """Raises `Failure` if files import each other in a circle, or an import points up."""
    problems, files = [], 0
    for source, rooms in ROOMS.items():
        crate = Crate(ROOT / source)
        files += len(crate.modules)
        for component in circles(crate.edges):
            problems.append(f"{source}: a circle of {len(component)} files:")
            for path in component:
                others = sorted("::".join(p) or "lib" for p in crate.edges[path] & set(component))
                problems.append(f"  {'::'.join(path) or 'lib'} imports {', '.join(others)}")
        if rooms:
            problems += [f"{source}: {problem}" for problem in upward(crate.edges, rooms)]
    if problems:
        problems.append("Move what is imported down, or the importer up; the order is in tests/checks/layers.py.")
        raise Failure("\n".join(problems))
    print(f"{files} files")
