"""`kmtool audit`: who did what, and when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Moment, Table
from kmtool.operations import database
from kmtool.operations.database import AuditList
from kmtool.words import _

app = doors.noun(_("the record of who did what"))
Of = Annotated[str, typer.Option("--of", help=_("only about this order, key, channel …"))]


@app.command("list", help=_("what was done, newest first"))
def list_(of: Of = "") -> None:
    """List the record."""
    with doors.open_shop() as shop:
        result = database.audit(shop, of, out.row_limit())
    out.show(result, _view)


def _view(result: AuditList) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("seq", _("No.")),
            Column("at", _("When")),
            Column("actor", _("Who")),
            Column("action", _("What")),
            Column("object", _("Of")),
            Column("detail", _("Detail")),
        ),
        rows=[
            (one.seq, Moment(one.at_ms), one.actor, one.action, one.object, one.detail)
            for one in result.entries
        ],
        total=result.total,
        empty=_("Nothing is on record yet."),
    )
