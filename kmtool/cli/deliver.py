"""`kmtool deliver`: bind keys and hand over all that is due, by itself or by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.domain.states import Gate
from kmtool.errors import EXIT_PARTLY
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.deliver import DeliverResult


def deliver(
    orders: Annotated[list[str] | None, typer.Argument(help=_("orders; all if none"))] = None,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help=_("show one message after the other to paste"))
    ] = False,
    dry_run: doors.DryRun = False,
) -> None:
    """Hand over all that is due. Repeating it never sends another key."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if by_hand:
            from kmtool.cli import by_hand as guided

            told = guided.round_of(shop, orders or [], dry_run=dry_run)
            hint_waiting(bool(told.held), bool(told.unmapped))
            return
        from kmtool.operations import by_hand as hand
        from kmtool.operations import deliver as operation
        from kmtool.operations import house, order_close

        result = operation.deliver(shop, orders or [])
        result = replace(result, to_paste=hand.orders_due(shop, orders or []))
        asking = order_close.asking_channels(shop) if result.held.get(Gate.MODE) else ()
        stopped = [one.scope.partition(":")[2] or one.scope for one in house.paused(shop)]
    out.show(result, _view)
    for name in stopped:
        out.hint(_("{name} is paused; go on: kmtool resume {name}").format(name=name))
    if result.to_paste and house.ALL not in stopped:
        out.hint(_("paste one after the other: kmtool deliver --by-hand"))
    for name in asking:
        out.hint(_("your word lets them go: kmtool channel release {name}").format(name=name))
    hint_waiting(bool(result.held or result.needs_you), bool(result.unmapped))
    if result.needs_you or result.failed:
        out.finish(EXIT_PARTLY)


def hint_waiting(held: bool, unmapped: bool) -> None:
    """Name the next step for what the gates keep."""
    if unmapped:
        out.hint(_("items without a product: kmtool product unmapped"))
    if held:
        out.hint(_("why an order waits: kmtool order why ORDER; all that wait: kmtool status"))


def _view(result: DeliverResult) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Line

    held = sum(result.held.values())
    gates = ", ".join(f"{_(gate)} {n}" for gate, n in sorted(result.held.items()))
    pairs = [
        (_("delivered"), result.delivered),
        (_("orders marked shipped"), result.shipped),
        (_("held"), f"{held} ({gates})" if held else 0),
        (_("not mapped"), result.unmapped),
        (_("outcome unclear 结果不明"), result.unknown),
        (_("needs you 要你处理"), result.needs_you),
        (_("failed, tried again by itself"), result.failed),
        (_("waiting to be sent"), result.waiting),
        (_("orders to paste by hand 待粘贴"), result.to_paste),
    ]
    yield Facts([pair for n, pair in enumerate(pairs) if pair[1] or n == 0])
    for note in result.notes:
        yield Line(note, "warn")
