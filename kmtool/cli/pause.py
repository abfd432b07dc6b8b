"""`kmtool pause` and `kmtool resume`: the brake by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Line, Moment, Table
from kmtool.operations import house
from kmtool.operations.house import PauseResult
from kmtool.words import _

Target = Annotated[str, typer.Argument(help=_("all, the name of a channel, or a SKU"))]
Reason = Annotated[str, typer.Option("--reason", help=_("a word for the record"))]


def pause(target: Target = house.ALL, reason: Reason = "", dry_run: doors.DryRun = False) -> None:
    """Stop deliveries at once: of everything, a channel or a SKU. Orders keep coming in."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = house.pause(shop, target, reason)
    out.show(result, _paused)
    out.hint(_("go on: kmtool resume {target}").format(target=target))


def resume(target: Target = house.ALL, dry_run: doors.DryRun = False) -> None:
    """Let deliveries go on."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = house.resume(shop, target)
    out.show(result, _resumed)
    if result.paused:
        scope = result.paused[0].scope.partition(":")
        out.hint(_("go on: kmtool resume {target}").format(target=scope[2] or scope[0]))


def _paused(result: PauseResult) -> Iterable[Block]:
    told = _("{scope} is paused.") if result.changed else _("{scope} was paused already.")
    yield Line(told.format(scope=result.scope.replace(":", " ", 1)), "warn")
    yield _table(result)


def _resumed(result: PauseResult) -> Iterable[Block]:
    told = _("{scope} goes on.") if result.changed else _("{scope} was not paused.")
    if not result.changed and result.scope == house.ALL and result.paused:
        told = _("The shop as a whole was not paused; this still is:")
    scope = result.scope.replace(":", " ", 1)
    yield Line(told.format(scope=scope), "good" if result.changed else "")
    yield _table(result)


def _table(result: PauseResult) -> Table:
    return Table(
        columns=(
            Column("scope", _("Paused")),
            Column("since", _("Since")),
            Column("reason", _("Reason")),
        ),
        rows=[(one.scope, Moment(one.since_ms), one.reason) for one in result.paused],
        empty=_("Nothing is paused."),
    )
