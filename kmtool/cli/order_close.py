"""`kmtool order close`: what waits is ended without sending, because it was delivered otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.order_changes import OrderChanged


def close(
    number: Annotated[str, typer.Argument(metavar="ORDER", help=_("number or channel:number"))],
    reason: Annotated[str, typer.Option(help=_("why"))] = "delivered otherwise",
    dry_run: doors.DryRun = False,
) -> None:
    """End what waits of an order: nothing of it is sent any more."""
    from kmtool.operations import order_close

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        found = order_close.waiting(shop, number)
        if found.count and not dry_run:
            question = plural(
                "Send nothing more of order {number} ({n} line, {money})?",
                "Send nothing more of order {number} ({n} lines, {money})?",
                found.count,
            )
            money = out.money(found.amount_minor, found.currency)
            out.confirm(question.format(number=number, n=found.count, money=money))
        result = order_close.close(shop, number, reason)
    out.show(result, _closed)


def _closed(result: OrderChanged) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    told = _("order {number} of {channel} is closed, lines: {n}")
    yield Line(told.format(number=result.number, channel=result.channel, n=result.lines), "good")
