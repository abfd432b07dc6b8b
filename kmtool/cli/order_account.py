"""`kmtool order account|charged`: the account of a top-up, and what its supplier charged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.order_records import OrderShown
    from kmtool.operations.purchase_records import ChargedSettled
    from kmtool.operations.topup import AccountSet

Number = Annotated[str, typer.Argument(metavar="ORDER", help=_("number, channel:number or code"))]


def account(
    number: Number,
    value: Annotated[str, typer.Argument(help=_("the account to charge"))],
    line: Annotated[str, typer.Option(help=_("the line, if several are top-ups"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Say which account a top-up charges."""
    from kmtool.operations import topup

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = topup.set_account(shop, number, value, line)
    out.show(result, _account_view)
    out.hint(_("next: kmtool deliver {number}").format(number=number))


def charged(
    number: Number,
    reason: Annotated[str, typer.Option(help=_("why the amount is right"))] = "",
    amount: Annotated[
        str,
        typer.Option(
            help=_("the outcome is unclear: it was charged, and came to this; 0: it was not")
        ),
    ] = "",
    line: Annotated[str, typer.Option(help=_("the line, if several are top-ups"))] = "",
    supplier: Annotated[
        str, typer.Option(help=_("who charged it, if not the supplier that was asked"))
    ] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Say that a purchase was looked at: charged otherwise than agreed, or charged at all."""
    from kmtool.cli import values
    from kmtool.operations import purchase_records

    why = reason or out.ask(_("Why was another amount charged?"), flag="--reason TEXT")
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        minor = values.price(amount, shop.config.shop.currency, "--amount")
        result = purchase_records.settle_charged(shop, number, why, minor, line, supplier)
    out.show(result, _charged_view)


def purchases_view(result: OrderShown) -> Iterable[Block]:
    """Show what was bought for the lines of an order, with the proof."""
    from kmtool.cli.blocks import Column, Heading, Line, Moment, Money, Table
    from kmtool.operations.needs_you import quoted

    if not result.purchases:
        return
    yield Heading(_("What was bought for it"))
    yield Table(
        columns=(
            Column("line", _("Line")), Column("supplier", _("Supplier")),
            Column("our_no", _("Our number")), Column("their_no", _("Their number")),
            Column("account", _("Account")), Column("state", _("State")),
            Column("charged", _("Charged")), Column("at", _("When")), Column("proof", _("Proof")),
        ),
        rows=[
            (p.line, p.supplier, p.our_no, p.their_no, p.account, _(p.state),
             Money(p.charged_minor, p.currency), Moment(p.done_ms), p.proof or p.note)
            for p in result.purchases
        ],
    )  # fmt: skip
    for p in result.purchases:
        if p.difference:
            yield Line(p.difference, "warn")
            no = quoted(p.line)
            yield Line(f"  → kmtool order charged {result.number} --reason TEXT --line {no}")


def _account_view(result: AccountSet) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    told = _("line {line} of order {number} charges {account}")
    yield Line(told.format(line=result.line, number=result.number, account=result.account), "good")


def _charged_view(result: ChargedSettled) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    told = _("order {number}: {n} purchases looked at")
    yield Line(told.format(number=result.number, n=result.purchases), "good")
