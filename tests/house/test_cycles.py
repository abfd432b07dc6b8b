"""No module needs, while it is loaded, one that needs it: whichever is loaded first, all load."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.house import source


def _module(path: Path) -> str:
    name = source.name(path).removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def _loaded(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run while a module is loaded."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            if ast.unparse(node.test) != "TYPE_CHECKING":
                yield from _loaded(node.body)
            yield from _loaded(node.orelse)
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            yield from _loaded(node.body)


def _needs(path: Path, known: set[str]) -> set[str]:
    """Return the modules of the program that must be there before this one is."""
    found = set()
    for node in _loaded(source.tree(path).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif node.module and not node.level:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & known) or {node.module}
    return (found & known) - {_module(path)}


def test_no_modules_need_each_other_while_they_are_loaded() -> None:
    paths = {_module(path): path for path in source.files()}
    graph = {name: _needs(path, set(paths)) for name, path in paths.items()}
    assert sum(map(len, graph.values())) > len(graph), "the imports were found"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" needs ".join(reversed(error.args[1]))) from None
