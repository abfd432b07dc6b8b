"""`kmtool export`: the shop's tables as xlsx, csv or json, for a person or a program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from kmtool.cli import doors, options, out
from kmtool.cli.blocks import Block, Facts
from kmtool.cli.values import day
from kmtool.errors import UsageError
from kmtool.operations import export as operation
from kmtool.operations.export import Asked, Exported
from kmtool.words import _


def export(
    kind: Annotated[str, typer.Argument(help=_("orders, keys, stock, recon or settlement"))],
    number: Annotated[str, typer.Argument(help=_("settlement: one sheet's lines"))] = "",
    since: Annotated[str, typer.Option("--from", help=_("orders: first day"))] = "",
    until: Annotated[str, typer.Option("--to", help=_("orders: last day"))] = "",
    raw: Annotated[bool, typer.Option("--raw", help=_("csv for programs: cells as is"))] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help=_("keys: whole keys, audited, file for you alone"))
    ] = False,
) -> None:
    """Write a table to -o FILE.xlsx, FILE.csv or FILE.json; keys are masked unless --reveal."""
    name = take_output()
    if not name:
        raise UsageError(
            detail="export where?", mend="kmtool export {sort} -o {sort}.xlsx", sort=kind
        )
    asked = Asked(kind, Path(name), day(since, "--from"), day(until, "--to"), number, raw, reveal)
    with doors.open_shop(writes=reveal) as shop:
        if reveal:
            out.confirm(_("Write {n} whole keys?").format(n=operation.keys_to_reveal(shop, asked)))
        result = operation.export(shop, asked)
    out.show(result, _told)


def take_output() -> str:
    """Return the name given with -o and use it up: the operation writes the file, not `show`."""
    asked = options.current()
    name, asked.output = asked.output, ""
    return name


def _told(result: Exported) -> Iterable[Block]:
    yield Facts(
        [
            (_("written"), result.file),
            (_("rows"), result.rows),
            ("SHA-256", result.sha256),
        ]
    )
