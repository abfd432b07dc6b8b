"""The entry: global options, the table of commands, and the edge where every error becomes words.

Only the module of the typed word is imported. `--version` and `--help` do not even load typer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, cast

from kmtool import __version__, words
from kmtool.cli import options, out, table
from kmtool.errors import EXIT_BROKEN, EXIT_USAGE, KmError, UsageError, told, verbatim
from kmtool.words import _


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Never raises, never prints a traceback."""
    _open_streams()
    out.pipe_safe()
    options.use(options.Options())
    out.use_zone("UTC")
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
    except KmError as error:
        code = out.error(error)
    except KeyboardInterrupt:
        code = out.interrupted()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_BROKEN if stop.code else 0
    except Exception as error:  # noqa: BLE001  (the edge: whatever it is becomes three lines)
        from kmtool.cli import bug

        code = bug.told(error)
    out.flush()
    return code


def _open_streams() -> None:
    """Let a stream that the caller closed end nowhere, before another file takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, nowhere)


def _run(argv: list[str]) -> int:
    words.use(_language(argv))
    asked = options.hoist(argv)
    options.use(asked)
    line = asked.words
    if line[:1] in (["--version"], ["-V"]):
        out.text(f"kmtool {__version__}")
        return 0
    if line[:1] in (["--help"], ["-h"]):
        from kmtool.cli import pages

        pages.front()
        return 0
    if not line:
        return _alone()
    row = table.find(line[0])
    if row is None:
        raise _unknown(line[0])
    return call(row, line[1:])


def _language(argv: list[str]) -> str | None:
    """--lang is wanted before anything is said, even that an option is wrong."""
    for at, word in enumerate(argv):
        if word == "--":
            break
        if word == "--lang" and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith("--lang="):
            return word[7:]
    return os.environ.get("KMTOOL_LANG") or _shop_language(argv)


def _shop_language(argv: list[str]) -> str | None:
    """Peek at `screens` in kmtool.toml without reading it as a whole; errors come later."""
    from kmtool.cli import language

    return language.of_shop(argv)


def _alone() -> int:
    row = table.find("status")
    if row is not None:
        from kmtool import config
        from kmtool.errors import NotSetUp

        try:
            config.find(options.current().config or None)
        except NotSetUp:
            pass
        else:
            return call(row, [])
    from kmtool.cli import pages

    pages.start()
    return 0


def _unknown(word: str) -> UsageError:
    if word.startswith("-"):
        return UsageError(detail="There is no option {word}.", word=word)
    near = table.nearest(word)
    if near:
        return UsageError(
            detail="There is no command {word}. Did you mean {near}?",
            word=word,
            near=near,
            mend="kmtool {near}",
        )
    if os.path.isfile(word) and table.find("import"):  # noqa: PTH113  (pathlib is not loaded yet)
        return UsageError(
            detail="{word} is a file, not a command.",
            word=word,
            mend="kmtool import {word}",
        )
    return UsageError(detail="There is no command {word}.", word=word, mend="kmtool help all")


def call(row: table.Row, line: list[str]) -> int:
    """Run the command of a row with the rest of the line; return its exit code."""
    import typer

    command = command_of(row)
    # The base of all complaints about a line; typer keeps the class to itself.
    usage_error = cast(type[Exception], typer.BadParameter.__mro__[2])
    try:
        with command.make_context(f"kmtool {row[0]}", _expanded(line)) as context:
            command.invoke(context)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except typer.Abort:
        return out.interrupted()
    except usage_error as problem:
        return _usage(problem, row[0])
    return 0


def command_of(row: table.Row) -> Any:
    """Import the module of a row and return its typer command."""
    import importlib
    import inspect

    import typer

    from kmtool.cli import doors

    module, _colon, attribute = row[1].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return doors.worded(typer.main.get_group(found))
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command(row[0], help=_(inspect.getdoc(found) or row[3]))(found)
    return doors.worded(typer.main.get_command(app))


def _usage(problem: Any, word: str) -> int:
    context = getattr(problem, "ctx", None)
    path = context.command_path if context else f"kmtool {word}"
    if context and type(problem).__name__ == "NoArgsIsHelpError":
        out.text(context.get_help())
        return EXIT_USAGE
    mend: str = verbatim(f"{path} --help")
    if context and type(problem).__name__ == "MissingParameter":
        mend = told("{form}; more: {help}", form=_form(context, path), help=mend)
    return out.error(UsageError(detail=verbatim(problem.format_message()), mend=mend))


def _form(context: Any, path: str) -> str:
    """Return the call with every word it cannot do without."""
    words = [path]
    for one in context.command.params:
        if one.required:
            flag = [] if one.param_type_name == "argument" else [one.opts[0]]
            words += [*flag, one.metavar]
    return " ".join(words)


def _expanded(line: list[str]) -> list[str]:
    """The shells of Windows hand *.txt over as it is."""
    if os.name != "nt":
        return line
    import glob

    found: list[str] = []
    for word in line:
        hits = sorted(glob.glob(word)) if any(c in word for c in "*?") else []  # noqa: PTH207
        found += hits or [word]
    return found


def __getattr__(name: str) -> Any:
    """`app`: the whole tree as one command, for the command reference; built when asked for."""
    if name != "app":
        raise AttributeError(name)
    import typer

    from kmtool.cli import doors, tree

    return doors.worded(typer.main.get_command(tree.whole()))
