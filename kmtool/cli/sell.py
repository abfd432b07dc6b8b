"""`kmtool sell`: a sale in chat, in one command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, options, out
from kmtool.cli.values import price as price_of
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.sell import Sale


def sell(
    sku: Annotated[str, typer.Argument(help=_("product"))],
    quantity: Annotated[
        int, typer.Option("--quantity", "-n", min=1, max=10_000, help=_("how many"))
    ] = 1,
    to: Annotated[str, typer.Option(help=_("who buys"))] = "",
    price: Annotated[str, typer.Option(help=_("price of one: 48.00"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Sell by hand: a key on the screen, in the books."""
    from kmtool.operations import sell as operation

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        wish = operation.SaleWish(
            sku=sku,
            quantity=quantity,
            to=to,
            price_minor=price_of(price, shop.config.shop.currency),
        )
        told: list[str] = []
        hand = told.append if options.current().machine else out.secret
        sale = operation.sell(shop, wish, lambda message: hand(message.text.text()))
    out.show(replace(sale, messages=tuple(told)), _view)
    if 0 < sale.total_minor < sale.cost_minor:
        told_so = _("below cost: the keys cost {cost}, they were sold for {money}")
        cost, money = (
            out.money(minor, sale.currency) for minor in (sale.cost_minor, sale.total_minor)
        )
        out.note(told_so.format(cost=cost, money=money))
    if not sale.total_minor:
        out.note(_("no price was given, it is booked as 0.00; next time: --price 48"))
    out.hint(_("the order: kmtool order show {number}").format(number=sale.number))


def _view(sale: Sale) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    yield Line(
        (
            _("sold: {n} × {title} as {number} for {money}")
            if sale.left is None
            else _("sold: {n} × {title} as {number} for {money}; {left} left")
        ).format(
            n=sale.quantity,
            title=sale.title,
            number=sale.number,
            money=out.money(sale.total_minor, sale.currency),
            left=sale.left,
        ),
        "good",
    )
    for file in sale.files:
        yield Line(_("send this picture: {file}").format(file=file))
