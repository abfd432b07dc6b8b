"""`kmtool channel release|report|ship-file`: what a channel needs of its owner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.errors import EXIT_DIFFERENCES
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.order_close import Released
    from kmtool.operations.ship_files import ShipFiles
    from kmtool.operations.watching import Compared, Report


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


def release(name: str, dry_run: doors.DryRun = False) -> None:
    """Let every order of a channel go that waits for your word."""
    from kmtool.operations import order_close

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        found = order_close.asking(shop, name)
        if found.count and not dry_run:
            question = plural(
                "Let {n} order of {name} worth {money} go?",
                "Let {n} orders of {name} worth {money} go?",
                found.count,
            )
            money = out.money(found.amount_minor, found.currency)
            out.confirm(question.format(n=found.count, name=name, money=money))
        result = order_close.release_all(shop, name)
    out.show(result, _released)
    out.hint(_("next: kmtool deliver"))


def _released(result: Released) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    money = out.money(result.amount_minor, result.currency)
    told = plural(
        "{n} order of {channel} worth {money} goes with the next delivery",
        "{n} orders of {channel} worth {money} go with the next delivery",
        len(result.orders),
    )
    yield Line(told.format(n=len(result.orders), channel=result.channel, money=money), "good")


def report(
    name: str,
    days: Annotated[int, typer.Option("--days", min=1, help=_("how many days back"))] = 14,
) -> None:
    """Compare what would have been sent on a watched channel with what really happened."""
    from kmtool.operations import watching

    with doors.open_shop() as shop:
        result = watching.report(shop, name, days)
    out.show(result, _report)
    if any(one.kind in watching.DIFFERENT for one in result.figures):
        out.finish(EXIT_DIFFERENCES)


def _report(result: Report) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Heading, Line, Marked, Moment, Money, Table
    from kmtool.words import tell

    words = _kinds()
    yield Heading(_("{channel} ({mode}): differences").format(
        channel=result.channel, mode=result.mode
    ))  # fmt: skip
    yield Table(
        columns=(
            Column("kind", _("Difference")), Column("order", _("Order")),
            Column("title", _("Item"), spare=True), Column("sku", _("SKU")),
            Column("keys", _("Keys")), Column("amount", _("Paid")),
            Column("gate", _("Our gate")), Column("there", _("There")),
            Column("since", _("Since")),
        ),
        rows=[
            (Marked(words[one.kind], "warn"), one.order, one.title, one.sku, one.keys,
             Money(one.amount_minor, one.currency), _gate(one), one.there, Moment(one.since_ms))
            for one in result.differences
        ],
        id_key="order",
        empty=_("none"),
    )  # fmt: skip
    told = _("All that was watched: {lines} lines of {orders} orders")
    yield Heading(told.format(lines=result.lines, orders=result.orders))
    yield Table(
        columns=(
            Column("kind", _("What")), Column("lines", _("Lines")), Column("keys", _("Keys")),
            Column("amount", _("Money")),
        ),
        rows=[
            (words[one.kind], one.lines, one.keys, Money(one.amount_minor, one.currency))
            for one in result.figures
        ],
        empty=_("Nothing was watched in these days."),
    )  # fmt: skip
    yield Line(tell(result.sentence), "good" if result.justified != "watch" else "warn")
    if result.command:
        yield Line("→ " + result.command)


def _gate(one: Compared) -> str:
    from kmtool.words import tell

    return f"{_(one.gate)}: {tell(one.reason)}" if one.gate else ""


def _kinds() -> dict[str, str]:
    return {
        "unmapped": _("not mapped here"),
        "held": _("shipped there, we would have held it"),
        "unshipped": _("we would have sent it, nobody did"),
        "refunded": _("we would have sent it, it was refunded"),
        "waiting": _("would go, not shipped there yet"),
        "same": _("the same"),
    }


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
