"""`kmtool channel ship-file`: what a channel without an interface needs of its owner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.ship_files import ShipFiles


def ship_file(
    name: str,
    again: Annotated[
        bool, typer.Option("--again", help=_("with all orders that are not confirmed yet"))
    ] = False,
    dry_run: doors.DryRun = False,
) -> None:
    """Write the platform's batch-ship file of what was delivered and stands in none yet."""
    from kmtool.operations import ship_files

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = ship_files.order_file(shop, name, again=again)
    out.show(result, _ship_files)
    if result.files:
        out.hint(
            _("upload it, export the orders again, then: kmtool sync {name}").format(name=name)
        )


def _ship_files(result: ShipFiles) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Table

    yield Table(
        columns=(
            Column("channel", _("Channel")), Column("orders", _("Orders")),
            Column("file", _("File")),
        ),
        rows=[(one.channel, one.orders, one.file) for one in result.files],
        id_key="file",
    )  # fmt: skip
