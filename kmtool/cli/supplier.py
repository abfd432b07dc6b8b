"""`kmtool supplier`: who the keys come from, and on which terms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.values import price, signed
from kmtool.domain.settlement import OWN
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.deposits import Deposited
    from kmtool.operations.suppliers import Supplier, Suppliers

app = doors.noun(_("who the keys come from, and on which terms"))

Name = Annotated[str | None, typer.Option(help=_("what people call them"))]
Mode = Annotated[str | None, typer.Option(help=_("consignment (paid when sold) or buyout"))]
SettleDays = Annotated[
    int | None, typer.Option("--settle-days", help=_("paid this many days after the sale"))
]
PerDay = Annotated[
    str | None, typer.Option("--spend-per-day", help=_("the most that is spent there on a day"))
]
PerOrder = Annotated[
    str | None, typer.Option("--spend-per-order", help=_("the most that one purchase may cost"))
]
Payee = Annotated[str | None, typer.Option(help=_("account the money goes to"))]


@app.command("list", help=_("all suppliers"))
def list_() -> None:
    """List suppliers."""
    from kmtool.operations import suppliers

    with doors.open_shop() as shop:
        result = suppliers.every(shop)
    out.show(result, _list)
    if result.suppliers:
        out.hint(_("one of them: kmtool supplier show CODE"))


@app.command("show", help=_("one supplier"))
def show(code: str) -> None:
    """Show one supplier."""
    from kmtool.operations import suppliers

    with doors.open_shop() as shop:
        result = suppliers.show(shop, code)
    out.show(result, _one)
    if code != OWN:
        out.hint(_("what is due to them: kmtool settle preview {code}").format(code=code))


@app.command("add", help=_("a new supplier"))
def add(
    code: str,
    name: Name = None,
    mode: Mode = None,
    settle_days: SettleDays = None,
    payee: Payee = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Add a supplier."""
    from kmtool.operations import suppliers

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = suppliers.add(
            shop,
            code,
            name=name or "",
            mode=mode or "",
            settle_days=suppliers.SETTLE_DAYS if settle_days is None else settle_days,
            payee=payee or "",
        )
    out.show(result, _one)


@app.command("set", help=_("change a supplier; batches that are here keep their terms"))
def set_(  # noqa: PLR0913, PLR0917  (the options of one command)
    code: str,
    name: Name = None,
    mode: Mode = None,
    settle_days: SettleDays = None,
    payee: Payee = None,
    per_day: PerDay = None,
    per_order: PerOrder = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Change a supplier."""
    from kmtool.operations import suppliers

    terms = (name, mode, settle_days, payee)
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        day, order = (price(text, shop.config.shop.currency) for text in (per_day, per_order))
        limits = day is not None or order is not None
        if any(one is not None for one in terms) or not limits:
            result = suppliers.change(
                shop, code, name=name, mode=mode, settle_days=settle_days, payee=payee
            )
        if limits:
            result = suppliers.limit(shop, code, per_day_minor=day, per_order_minor=order)
    out.show(result, _one)


@app.command("deposit", help=_("note money paid in advance; purchases are drawn from it"))
def deposit(
    code: str,
    amount: Annotated[str, typer.Option("--amount", help=_("what was paid, such as 500.00"))],
    ref: Annotated[str, typer.Option("--ref", help=_("the bank's voucher number"))],
    note: Annotated[str, typer.Option("--note", help=_("a remark for the record"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Book money paid in advance to a supplier; the same voucher counts once."""
    from kmtool.operations import deposits, suppliers

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        minor = signed(amount, suppliers.show(shop, code).currency)
        result = deposits.deposit(shop, code, minor, ref, note)
    out.show(result, _deposited)


def _deposited(result: Deposited) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    prepaid = out.money(result.prepaid_minor, result.currency)
    if not result.new:
        yield Line(_("voucher {ref} was noted before").format(ref=result.ref), "dim")
    told = _("{supplier} holds {money} for you")
    yield Line(told.format(supplier=result.supplier, money=prepaid), "good")


def _list(result: Suppliers) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Table

    yield Table(
        columns=(
            Column("code", _("Supplier")), Column("name", _("Name")), Column("mode", _("Mode")),
            Column("settle_days", _("T+")), Column("batches", _("Batches")),
            Column("keys", _("Keys")), Column("adapter", _("Interface")),
        ),
        rows=[
            (s.code, s.name, s.mode, s.settle_days, s.batches, s.keys, s.adapter)
            for s in result.suppliers
        ],
        empty=_("No suppliers yet: kmtool supplier add CODE, or kmtool import --new."),
    )  # fmt: skip


def _one(result: Supplier) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Money

    yield Facts(
        (
            (_("Supplier"), result.code),
            (_("Name"), result.name),
            (_("Mode"), result.mode),
            (_("Settled after days"), result.settle_days),
            (_("Currency"), result.currency),
            (_("Payee"), result.payee),
            (_("Batches"), result.batches),
            (_("Keys"), result.keys),
        )
    )
    if result.prepaid_minor:
        yield Facts(((_("Paid in advance"), Money(result.prepaid_minor, result.currency)),))
    if not result.adapter:
        return
    yield Facts(
        (
            (_("Interface"), result.adapter),
            (_("Spent today"), Money(result.spent_today_minor, result.currency)),
            (_("Most in a day"), Money(result.spend_per_day_minor, result.currency)),
            (_("Most at once"), Money(result.spend_per_order_minor, result.currency)),
            (_("Bought"), result.purchases),
            (_("Not finished"), result.unclear),
        )
    )
