"""The whole command tree at once: for `kmtool help all`, the command reference and completion."""

from __future__ import annotations

import importlib
import inspect

import typer

from kmtool.cli import table
from kmtool.words import _


def whole() -> typer.Typer:
    """Return one Typer with every command of the table. Imports every command module."""
    root = typer.Typer(
        name="kmtool",
        help=_("Run a shop that sells digital goods from a terminal."),
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
    )

    @root.callback()
    def _root() -> None:
        """Keep the root a group even while it has only one command."""

    for name, target, _group, line in table.COMMANDS:
        module, _colon, attribute = target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            root.add_typer(found, name=name, help=found.info.help or _(line))
        else:
            root.command(name, help=_(inspect.getdoc(found) or line))(found)
    return root
