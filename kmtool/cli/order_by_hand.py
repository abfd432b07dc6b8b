"""`kmtool order add|note`: an order that came by chat, and what a person wants to remember."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.order_add import Noted, OrderAdded

Number = Annotated[str, typer.Argument(metavar="ORDER", help=_("number, channel:number or code"))]


def add(  # noqa: PLR0913, PLR0917  (the options of one command)
    sku: Annotated[str, typer.Option(help=_("what was bought"))],
    amount: Annotated[str, typer.Option(help=_("what was paid for all of it: 48.00"))],
    channel: Annotated[str, typer.Option(help=_("counter, or one of your channels"))] = "counter",
    number: Annotated[str, typer.Option(help=_("the order's number at its channel"))] = "",
    quantity: Annotated[
        int, typer.Option("--quantity", "-n", min=1, max=10_000, help=_("how many"))
    ] = 1,
    buyer: Annotated[str, typer.Option(help=_("who buys"))] = "",
    email: Annotated[str, typer.Option(help=_("where a mail reaches the buyer"))] = "",
    note: Annotated[str, typer.Option(help=_("what to remember"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Write down an order that came by chat; it then goes the ordinary way."""
    from kmtool.cli.values import price
    from kmtool.operations import order_add

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        paid = price(amount, shop.config.shop.currency) or 0
        wish = order_add.OrderWish(channel, sku, paid, number, quantity, buyer, email, note)
        result = order_add.add(shop, wish)
    out.show(result, _added)
    out.hint(_("next: kmtool deliver {number}").format(number=result.number))


def note(
    number: Number,
    text: Annotated[str, typer.Argument(metavar="TEXT", help=_("what to remember"))],
    dry_run: doors.DryRun = False,
) -> None:
    """Keep a note on an order; `order show` shows it, buyers and suppliers never see it."""
    from kmtool.operations import order_add

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = order_add.note(shop, number, text)
    out.show(result, _noted)


def _added(result: OrderAdded) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    yield Line(
        _("order {number} of {channel}: {n} × {title} for {money}").format(
            number=result.number,
            channel=result.channel,
            n=result.quantity,
            title=result.title,
            money=out.money(result.total_minor, result.currency),
        ),
        "good",
    )
    if result.known_there:
        yield Line(_("the channel knows this order: its own facts were taken"), "dim")


def _noted(result: Noted) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    yield Line(_("noted on order {number}").format(number=result.number), "good")
