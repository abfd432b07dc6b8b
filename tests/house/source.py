"""What the house tests read: the program's own files and their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("kmtool", "adapters", "jobs")


def files(*folders: str) -> list[Path]:
    """Return the Python files of the named top-level folders (by default the whole program)."""
    return sorted(path for folder in folders or PROGRAM for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    """Return a path as the tests print it: relative, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every string that is not a docstring; f-strings with {} for values."""
    silent = set(_docstrings(tree(path)))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            silent.update(id(part) for part in node.values)
            yield (
                node.lineno,
                "".join(
                    part.value if isinstance(part, ast.Constant) else "{}" for part in node.values
                ),
            )
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent
        ):
            yield node.lineno, node.value


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every call whose target is a plain dotted name."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.replace(".", "").replace("_", "").isalnum():
                yield node.lineno, called


def patterns(path: Path) -> Iterator[str]:
    """Yield the texts handed to the functions of `re`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def _docstrings(root: ast.Module) -> Iterator[int]:
    for node in ast.walk(root):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            yield from (
                id(part.value)
                for part in body
                if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
            )
