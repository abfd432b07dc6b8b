"""Writes the documents that the program can tell about itself; with `--check` only compares.

docs/commands.md comes from the command table, docs/adapters.md from each adapter's `FEATURES`,
docs/errors.md from `kmtool.errors.every()`. Change the source, then run `make docs`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

from kmtool import errors, registry
from kmtool.ports import Features

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Written by `make docs` from {source}; changes here are lost. -->"


def main(words: list[str]) -> int:
    """Write all pages, or with `--check` return 1 and name those that are out of date."""
    stale = []
    for name, page in PAGES.items():
        path = ROOT / "docs" / name
        text = page()
        if not text or (path.exists() and path.read_text(encoding="utf-8") == text):
            continue
        stale.append(f"docs/{name}")
        if "--check" not in words:
            path.write_text(text, encoding="utf-8", newline="\n")
    for name in stale:
        print(name, "is out of date: make docs" if "--check" in words else "written")
    return int("--check" in words and bool(stale))


def errors_page() -> str:
    """Return docs/errors.md: what each code means, its exit code and the next step."""
    lines = [
        "# Errors",
        NOTE.format(source="kmtool/errors.py"),
        "",
        "An error is three lines: what happened, where, and what to do. `kmtool help CODE` explains"
        " one code. Words in braces are filled in with the case at hand.",
        "",
        *_table(
            ("Code", "Exit", "Name", "What happened", "What to do"),
            (
                (cls.code, str(cls.exit_code), f"`{cls.__name__}`", cls.template(), cls.mend)
                for cls in errors.every()
            ),
        ),
        "",
        "Besides these: exit 0 is done, 3 done in part, 130 stopped with Ctrl-C.",
    ]
    return "\n".join(lines) + "\n"


def adapters_page() -> str:
    """Return docs/adapters.md: one table per kind of adapter, then what each one can do."""
    lines = ["# Adapters", NOTE.format(source="each adapter's `FEATURES`"), ""]
    for kind in registry.FOLDERS:
        known = dict(_features(kind))
        if not known:
            continue
        lines += [f"## {kind.capitalize()}s", ""]
        lines += _table(
            ("Adapter", "For", "Approval needed", "Automatic?", "Proved how"),
            (
                (f"`{name}`", f.title, f.approval or "none", f.automatic or "–", f.proved or "–")
                for name, f in known.items()
            ),
        )
        for name, has in known.items():
            lines += ["", f"### {name}", "", *(_facts(has))]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _features(kind: str) -> Iterator[tuple[str, Features]]:
    if importlib.util.find_spec(registry.FOLDERS[kind]) is None:
        return
    for name in registry.names(kind):
        found = getattr(registry.module(kind, name), "FEATURES", None)
        if isinstance(found, Features):
            yield name, found


def _facts(features: Features) -> Iterator[str]:
    """Yield what an adapter declares beyond the defaults, then its credentials and options."""
    told = {"title", "kind", "approval", "automatic", "proved", "credentials", "options"}
    default = Features(title="", kind="")
    differing = [
        f"{field.name} = {_plain(getattr(features, field.name))}"
        for field in fields(Features)
        if field.name not in told and getattr(features, field.name) != getattr(default, field.name)
    ]
    yield "Can: " + (", ".join(f"`{fact}`" for fact in differing) or "nothing beyond the defaults")
    if features.credentials:
        names = ", ".join(f"`{name}`" for name in features.credentials)
        yield f"\nCredentials: {names}"
    if features.options:
        yield ""
        yield from _table(
            ("Option", "Meaning"), ((f"`{name}`", text) for name, text in features.options.items())
        )


def _plain(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return "yes" if value is True else "no" if value is False else str(value)


def commands_page() -> str:
    """Return docs/commands.md; empty as long as there is no command line."""
    if importlib.util.find_spec("kmtool.cli.main") is None:
        return ""
    import typer

    root = root_command(importlib.import_module("kmtool.cli.main"))
    lines = ["# Commands", NOTE.format(source="the command table"), ""]
    lines += command_lines(root, typer.Context(root, info_name="kmtool"), 1)
    return "\n".join(lines).rstrip() + "\n"


def root_command(module: Any) -> Any:
    """Return the command tree: `app` in kmtool/cli/main.py, as a Typer or as its command."""
    import typer

    app = module.app
    return typer.main.get_command(app) if isinstance(app, typer.Typer) else app


def command_lines(command: Any, ctx: Any, level: int) -> Iterator[str]:
    if level > 1:
        yield "#" * min(level, 4) + " " + ctx.command_path.removeprefix("kmtool ")
        yield ""
    yield from _help(command, ctx)
    if not hasattr(command, "list_commands"):
        return
    for name in command.list_commands(ctx):
        sub = command.get_command(ctx, name)
        if sub is not None and not sub.hidden:
            yield from command_lines(sub, type(ctx)(sub, info_name=name, parent=ctx), level + 1)


def _help(command: Any, ctx: Any) -> Iterator[str]:
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    yield f"`{usage}`"
    yield ""
    if command.help:
        yield inspect.cleandoc(command.help).split("\f")[0].rstrip()
        yield ""
    records = [param.get_help_record(ctx) for param in command.get_params(ctx)]
    shown = [record for record in records if record and not record[0].startswith("--help")]
    if shown:
        yield from _table(
            ("Word", "Meaning"), ((f"`{left}`", " ".join(right.split())) for left, right in shown)
        )
        yield ""


def _table(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield _row(head)
    yield "|" + "---|" * len(head)
    for row in rows:
        yield _row(row)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").strip() for cell in cells) + " |"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "adapters.md": adapters_page,
    "errors.md": errors_page,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
