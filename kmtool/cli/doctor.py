"""`kmtool doctor`: is the shop whole, and what to do when it is not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Line, Marked, Table
from kmtool.errors import EXIT_BROKEN, EXIT_DIFFERENCES
from kmtool.operations import doctor as operation
from kmtool.operations.doctor import Check, Health
from kmtool.words import _


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help=_("mend what is safe: dead sessions, stock counters"))
    ] = False,
) -> None:
    """Check the promises of the delivery ledger, the database, the machine and the settings."""
    with doors.open_shop(writes=fix) as shop:
        result = operation.doctor(shop, fix=fix)
    out.show(result, _view)
    if result.broken:
        out.hint(_("nothing is sent while a promise is broken"))
        out.finish(EXIT_BROKEN)
    if result.problems:
        out.finish(EXIT_DIFFERENCES)


def _view(result: Health) -> Iterable[Block]:
    for done in result.fixed:
        yield Line(_("mended: {what}").format(what=done), "good")
    yield Table(
        columns=(
            Column("name", _("Check")),
            Column("ok", _("State")),
            Column("figure", _("Found")),
            Column("mend", _("To do")),
        ),
        rows=[(one.name, _state(one), one.figure, one.mend) for one in result.checks],
        id_key="name",
    )
    if not result.problems:
        yield Line(_("All is well."), "good")


def _state(check: Check) -> Marked:
    if check.ok:
        return Marked(_("ok"), "good")
    return Marked(_("BROKEN"), "bad") if check.broken else Marked(_("problem"), "warn")
