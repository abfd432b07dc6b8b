"""`kmtool sync`: pull orders and refunds from the channels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.values import day
from kmtool.clock import day_start_ms
from kmtool.errors import EXIT_PARTLY
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.sync import SyncResult
    from kmtool.shop import Shop


def sync(
    channels: Annotated[list[str] | None, typer.Argument(help=_("channels; all if none"))] = None,
    since: Annotated[str, typer.Option(help=_("read again from this day: 2026-11-01"))] = "",
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help=_("take all as history; deliver none of it"))
    ] = False,
    dry_run: doors.DryRun = False,
) -> None:
    """Pull new and changed orders and refunds. Safe to repeat at any time."""
    from kmtool.operations import sync as operation

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        first = day(since, "--since")
        since_ms = day_start_ms(first, shop.config.shop.timezone) if first else None
        result = operation.sync(shop, channels, since_ms=since_ms, catch_up=catch_up)
        if not dry_run and not catch_up:
            _push_stock(shop, result)
            _keep_shelf(shop, result)
    out.show(result, _view)
    if result.failed:
        out.finish(7 if result.failed == len(result.channels) else EXIT_PARTLY)
    if any(channel.unmapped for channel in result.channels):
        out.hint(_("items without a product: kmtool product unmapped"))
    else:
        out.hint(_("next: kmtool deliver"))


def _push_stock(shop: Shop, result: SyncResult) -> None:
    """Tell each channel that was just read its stock; the next sync mends a failure."""
    from kmtool.operations import stock_push

    for channel in result.channels:
        pushed = stock_push.push_stock(shop, channel)
        if pushed.pushed:
            told = _("{channel}: {n} stock figures pushed")
            out.note(told.format(channel=channel.channel, n=pushed.pushed))
        if pushed.error:
            out.note(f"{channel.channel}: {pushed.error}")


def _keep_shelf(shop: Shop, result: SyncResult) -> None:
    """Hide what ran out and show what is there again, where kmtool.toml asks for it."""
    from kmtool.operations import alerts, shelf

    for channel in result.channels:
        kept = shelf.guard(shop, channel)
        if kept.taken_off or kept.brought_back:
            told = _("{channel}: {off} listings taken off the shelf, {on} brought back")
            out.note(told.format(channel=kept.channel, off=kept.taken_off, on=kept.brought_back))
        if kept.error:
            out.note(f"{kept.channel}: {kept.error}")
    alerts.settle(shop, "off_shelf", shelf.off_now(shop))


def _view(result: SyncResult) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Line, Marked, Moment, Table

    yield Table(
        columns=(
            Column("channel", _("Channel")),
            Column("orders_new", _("New")),
            Column("orders_changed", _("Changed")),
            Column("refunds", _("Refunds")),
            Column("unmapped", _("Unmapped")),
            Column("cursor", _("Read up to")),
            Column("error", _("Trouble")),
        ),
        rows=[
            (
                c.channel, c.orders_new, c.orders_changed, c.refunds, c.unmapped,
                Moment(c.cursor_ms), Marked(c.error, "bad"),
            )
            for c in result.channels
        ],
        id_key="channel",
        empty=_("No channel yet: kmtool channel add NAME"),
    )  # fmt: skip
    for channel in result.channels:
        for reject in channel.rejects:
            yield Line(f"{channel.channel}: {reject}", "warn")
        if channel.error:
            yield Line(_("to do: {step}").format(step=channel.next_step), "warn")
