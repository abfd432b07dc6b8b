"""Writes the documents that the program can tell about itself; with `--check` only compares.

docs/commands.md comes from the command table, docs/adapters.md from each adapter's `FEATURES`,
docs/errors.md from `kmtool.errors.every()`, docs/send-faults.md from the rules that the fault tests
hold (tests/faults/rules.py). Change the source, then run `make docs`.
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


def send_faults_page() -> str:
    """Return docs/send-faults.md: what each way to go wrong is taken for, and what comes then."""
    sys.path.insert(0, str(ROOT))
    from tests.faults import rules

    pairs = sum(len(act.phases()) for act in rules.ACTS)
    lines = [
        "# When sending goes wrong",
        NOTE.format(source="tests/faults/rules.py"),
        "",
        *rules.INTRODUCTION.format(acts=len(rules.ACTS), pairs=pairs).strip().splitlines(),
        "",
        *_table(
            ("Taken for", "What comes next"),
            ((f"**{means}**", rules.NEXT[means]) for means in rules.Means),
        ),
        "",
        "## The acts",
        "",
        *_table(
            ("Adapter", *(f"{nature.capitalize()}" for nature in rules.Nature), "Unclear sends"),
            (_acts_of(rules, name) for name in dict.fromkeys(a.adapter for a in rules.ACTS)),
        ),
        "",
        *(f"`{name}` {why}." for name, why in rules.SILENT.items()),
    ]
    for title, phases, natures in (
        ("HTTP", rules.HTTP, tuple(rules.Nature)),
        ("The handshake of https", rules.TLS, (rules.Nature.WRITE, rules.Nature.READ)),
        ("SMTP", rules.SMTP, (rules.Nature.WRITE,)),
    ):
        lines += ["", f"## {title}", ""]
        lines += _table(
            ("What happens", "Done there?", *(nature.capitalize() for nature in natures)),
            (
                (p.says, "yes" if p.acted else "no", *(p.means(nature) for nature in natures))
                for p in phases
            ),
        )
    return "\n".join(lines) + "\n"


def _acts_of(rules: Any, name: str) -> tuple[str, ...]:
    mine = [act for act in rules.ACTS if act.adapter == name]
    of = registry.features(*name.split("/"))
    unclear = {
        "queryable": "asked about",
        "repeat_safe": f"the same text again, {of.repeat_max} times in all",
        "idempotent": "repeated",
    }.get(of.repeat, "–")
    if name.startswith("supplier/"):
        unclear = f"asked about by number ({of.query_by or 'none'}); a known one: {of.idempotency}"
    elif of.mark_shipped:
        again = "repeated" if of.shipped_repeat == "idempotent" else "asked about"
        unclear += f"; 「shipped」: {again}"
    columns = (
        ", ".join(act.title for act in mine if act.nature is nature) for nature in rules.Nature
    )
    return (f"`{name}`", *(text or "–" for text in columns), unclear)


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
    "send-faults.md": send_faults_page,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
