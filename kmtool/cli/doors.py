"""What every command module needs: a noun, the open shop, and options that many share.

app = doors.noun(_("keys in stock"))                    # a Typer with plain help

@app.command("void", help=_("take keys out of sale"))
def void(keys: list[str], dry_run: doors.DryRun = False) -> None:
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = operation(shop, keys)
    out.show(result, view)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmtool.cli import options, out
from kmtool.clock import Clock, SystemClock
from kmtool.errors import ExampleConfig
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.config import Config
    from kmtool.shop import Shop

DryRun = Annotated[bool, typer.Option("--dry-run", help=_("do it all, then undo it"))]
"""The option of every command that writes: the same path, rolled back."""


def noun(line: str = "", **more: object) -> typer.Typer:
    """Return a group of commands with plain help."""
    return typer.Typer(
        help=line or None,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=not more.get("invoke_without_command"),
        **more,  # type: ignore[arg-type]
    )


def worded(command: Any) -> Any:
    """Return a command, and all below it, whose help says AMOUNT where typer would say <str>."""
    for one in command.params:
        plain = one.metavar is None and not getattr(one, "is_flag", False)
        if plain and not hasattr(one.type, "choices"):
            more = "…" if one.nargs != 1 else ""
            one.metavar = one.opts[0].strip("-_").replace("-", "_").upper() + more
    for below in getattr(command, "commands", {}).values():
        worded(below)
    return command


def clock() -> Clock:
    """Return the clock of this call (tests put another one here)."""
    return SystemClock()


def load_config(*, writes: bool = False) -> Config:
    """Return the configuration of this call, and show times in its zone from now on.

    `writes` refuses the example that comes with the program.
    """
    from kmtool import config

    found = config.load(config.find(options.current().config or None)[0])
    if writes and found.example:
        raise ExampleConfig(where=str(found.path))
    out.use_zone(found.shop.timezone)
    return found


@contextmanager
def open_shop(*, writes: bool = False, dry_run: bool = False) -> Iterator[Shop]:
    """Open the shop of this call. `writes` refuses the example; `dry_run` undoes all at the end."""
    config = load_config(writes=writes)
    from kmtool import app

    with app.open_shop(config, clock=clock(), progress=out.progress) as shop:
        if not dry_run:
            yield shop
            return
        with shop.db.rehearsal():
            yield shop
        out.note(_("--dry-run: nothing was kept; this is how it would be:"))
