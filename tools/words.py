"""Collects every text a person reads into data/locale/*/LC_MESSAGES/kmtool.po; `--check` compares.

A message id is the English text in the code: what is given to `_`, `plural`, `told` or `marked`,
the `detail`, `mend` and `what` of an error, the docstrings and mends of the error classes, and what
tables hold (commands, invariants, exceptions, gates). Translations are kept, texts that are gone
are left out. The file names no place and no time, so that it changes only when a text does.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from kmtool import errors
from tools import build_hook

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ("kmtool", "adapters", "jobs")
NUL = "\x00"
HEADER = """# {language}: write the translation below each text, then `make words`.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Language: {language}\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"
"""
MARKS = {"_": 0, "told": 0, "marked": 0, "_bad": 0, "fail": 1, "_unclear": 1}
"""Calls whose argument at this place is a message id."""

_FACT = re.compile(r"\{\w*[^{}]*\}")
_COMMAND = re.compile(r"(kmtool |--?\w)[^;,:()]*")


def main(words: list[str]) -> int:
    """Write the catalogues, or with `--check` return 1 and name those that are out of date."""
    wanted = ids()
    stale = []
    for path in sorted((ROOT / "data/locale").glob("*/LC_MESSAGES/kmtool.po")):
        old = path.read_text(encoding="utf-8")
        new = catalogue(path.parts[-3], wanted, build_hook.read_po(old))
        if new == old:
            continue
        stale.append(path)
        if "--check" not in words:
            path.write_text(new, encoding="utf-8", newline="\n")
    for path in stale:
        told = "is out of date: make words" if "--check" in words else "written"
        print(path.relative_to(ROOT).as_posix(), told)
    return int("--check" in words and bool(stale))


def catalogue(language: str, wanted: dict[str, str], known: dict[str, str]) -> str:
    """Return a catalogue with all ids in alphabetical order and the translations it has."""
    parts = [HEADER.format(language=language)]
    for key in sorted(wanted):
        one, _nul, many = key.partition(NUL)
        entry = [f"msgid {_quoted(one)}"]
        if many:
            entry.append(f"msgid_plural {_quoted(many)}")
        name = "msgstr[0]" if many else "msgstr"
        entry.append(f"{name} {_quoted(known.get(key, ''))}")
        parts.append("\n".join(entry) + "\n")
    return "\n".join(parts)


def ids() -> dict[str, str]:
    """Return every message id with one place it comes from; plurals are joined by NUL."""
    found: dict[str, str] = {}
    for folder in PROGRAM:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for line, text in in_file(path):
                found.setdefault(text, f"{path.relative_to(ROOT).as_posix()}:{line}")
    for place, text in in_tables():
        found.setdefault(text, place)
    return {text: place for text, place in found.items() if _has_words(text)}


def in_file(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, message id) of every text that a file marks."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    classes = {cls.__name__ for cls in errors.every()}
    named: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        given = _given(node, called, "statements" in path.parts)
        if called in classes:
            given = [k.value for k in node.keywords if k.arg in {"detail", "mend", "kind"}]
        found = [text for part in given for text in _constants(part, named)]
        for text in [NUL.join(found)] if called == "plural" else found:
            yield node.lineno, text


def _given(node: ast.Call, called: str, is_profile: bool) -> list[ast.expr]:
    if called == "_refused":
        return node.args[1:]
    if called == "plural":
        return node.args[:2]
    if called not in MARKS or (called == "fail" and not is_profile):
        return []
    return node.args[MARKS[called] : MARKS[called] + 1]


def in_tables() -> Iterator[tuple[str, str]]:
    """Yield (place, message id) of the texts that stand in tables."""
    from jobs import catalog
    from kmtool.cli import table
    from kmtool.domain.recon import EXCEPTIONS
    from kmtool.domain.states import Gate, KeyState
    from kmtool.store.doctor import INVARIANTS

    for cls in errors.every():
        yield cls.code, cls.template()
        yield cls.code, cls.mend
    for name, target, _group, line in table.COMMANDS:
        yield f"command {name}", line
        module, _colon, attribute = target.partition(":")
        function = getattr(importlib.import_module(module), attribute)
        if inspect.isfunction(function):
            yield f"command {name}", inspect.getdoc(function) or ""
    for job in catalog.JOBS:
        yield f"job {job.name}", job.line
    for invariant in INVARIANTS:
        yield invariant.name, invariant.promise
        yield invariant.name, invariant.mend
    for kind in EXCEPTIONS.values():
        yield kind.code, kind.meaning
        yield kind.code, kind.group.value
        yield kind.code, kind.severity.value
    for code in (*Gate, *KeyState):
        yield "states", str(code.value)


def _constants(node: ast.expr, named: dict[str, list[ast.expr]]) -> Iterator[str]:
    match node:
        case ast.Constant(str(text)):
            yield text
        case ast.IfExp(_test, body, orelse):
            yield from _constants(body, named)
            yield from _constants(orelse, named)
        case ast.BoolOp(_op, values):
            for value in values:
                yield from _constants(value, named)
        case ast.Name(name):
            for value in named.get(name, []):
                if isinstance(value, ast.Constant | ast.IfExp):
                    yield from _constants(value, {})
        case _:
            return


def _has_words(text: str) -> bool:
    """Tell whether there is something to translate: no bare command, no bare facts."""
    if text == ", ":
        return True
    return bool(re.search("[A-Za-z]{2}", _FACT.sub("", text))) and not _COMMAND.fullmatch(text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return '"' + escaped.replace("\n", "\\n") + '"'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
