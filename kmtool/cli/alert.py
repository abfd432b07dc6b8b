"""`kmtool alert`: what the owner was told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kmtool.cli import doors, options, out
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.alerts import AlertList

app = doors.noun(_("what you were told of"))


@app.command("list", help=_("open alerts; with --all also those that are over"))
def list_() -> None:
    """List alerts."""
    from kmtool.operations import alerts

    with doors.open_shop() as shop:
        result = alerts.listing(shop, out.row_limit(), cleared=options.current().all)
    out.show(result, _view)


def _view(result: AlertList) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Marked, Moment, Table

    yield Table(
        columns=(
            Column("id", _("No")),
            Column("raised", _("Since")),
            Column("state", _("State")),
            Column("code", _("Kind")),
            Column("text", _("What")),
            Column("sent", _("Told")),
        ),
        rows=[
            (
                str(one.id),
                Moment(one.raised_ms),
                Marked(one.state, "warn" if one.state == "open" else "dim"),
                one.code,
                one.text,
                Moment(one.sent_ms),
            )
            for one in result.alerts
        ],
        total=result.total,
        empty=_("No alert is open."),
    )
