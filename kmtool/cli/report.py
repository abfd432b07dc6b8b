"""`kmtool report`: figures over time. `latency` tells how long each step of a delivery takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, options, out
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block, Cell
    from kmtool.operations.latency import LatencyReport

app = doors.noun(_("figures over time"))


@app.callback()
def _report() -> None:
    """Figures over time."""


@app.command("latency", help=_("how long each step of a delivery takes: p50, p95, most"))
def latency(
    days: Annotated[int, typer.Option("--days", help=_("how many days back"))] = 7,
    by: Annotated[str, typer.Option("--by", help=_("channel, or hour: of the day as well"))] = (
        "channel"
    ),
) -> None:
    """Show how long deliveries take."""
    from kmtool.operations import latency as operation

    with doors.open_shop() as shop:
        result = operation.report(shop, days=days, by=by)
    out.show(result, _latency)
    if result.rows:
        out.hint(_("limits: [alerts] latency_… in kmtool.toml; by hour: --by hour"))


def _latency(result: LatencyReport) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Line, Table
    from kmtool.operations.latency import arrow, spoken

    def taken(seconds: float) -> Cell:
        return seconds if options.current().machine else spoken(seconds)

    yield Table(
        columns=(
            Column("step", _("Step")),
            Column("channel", _("Channel")),
            Column("hour", _("Hour")),
            Column("waited", _("Waited for somebody")),
            Column("count", _("Count")),
            Column("p50", "p50"),
            Column("p95", "p95"),
            Column("max", _("Most")),
        ),
        rows=[
            (
                arrow(row.step),
                row.channel,
                row.hour,
                _("yes") if row.waited else "",
                row.count,
                taken(row.p50_s),
                taken(row.p95_s),
                taken(row.max_s),
            )
            for row in result.rows
        ],
        empty=_("Nothing was delivered in these days."),
    )
    if result.rows:
        yield Line(
            _("p95: 19 of 20 took no longer. What waited for a person or for stock is apart."),
            "dim",
        )
