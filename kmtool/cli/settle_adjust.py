"""`kmtool settle adjust`: what a supplier may be charged for keys that were bad or refunded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Marked, Moment, Money, Table
from kmtool.errors import UsageError, marked
from kmtool.operations import debits
from kmtool.operations.refund_records import Debit
from kmtool.words import _

WORDS = {
    "defective": marked("bad key"),
    "refund": marked("refund"),
    "credit": marked("ask for credit"),
    "void": marked("ask to make it void"),
    "open": marked("open"),
    "accepted": marked("agreed"),
    "dropped": marked("the shop bears it"),
}


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The debits of a supplier that are on no sheet yet, after what was changed."""

    supplier: str
    debits: tuple[Debit, ...]


def adjust(
    supplier: Annotated[str, typer.Argument(help=_("the supplier's code"))],
    accept: Annotated[
        list[int] | None, typer.Option(help=_("the supplier agreed to these"))
    ] = None,
    drop: Annotated[list[int] | None, typer.Option(help=_("the shop bears these"))] = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Show the debits of a supplier; say which ones it agreed to and which the shop bears."""
    both = set(accept or []) & set(drop or [])
    if both:
        raise UsageError(detail=_("a debit is accepted or dropped, not both"), mend="--accept 1")
    writes = bool(accept or drop)
    with doors.open_shop(writes=writes, dry_run=dry_run and writes) as shop:
        for number in accept or []:
            debits.accept(shop, supplier, number)
        for number in drop or []:
            debits.drop(shop, supplier, number)
        result = Adjusted(supplier, debits.listing(shop, supplier))
    out.show(result, _view)
    first = next((one.id for one in result.debits if one.state == "open"), None)
    if first is not None:
        told = _(
            "it agreed: kmtool settle adjust {supplier} --accept {id}; the shop bears it: --drop"
        )
        out.hint(told.format(supplier=supplier, id=first))
    out.hint(_("on the next sheet: kmtool settle preview {supplier}").format(supplier=supplier))


def debits_table(found: tuple[Debit, ...]) -> Table:
    """Return debits as a table."""
    return Table(
        columns=(
            Column("id", _("Id")), Column("key", _("Key")), Column("batch", _("Batch")),
            Column("order", _("Order")), Column("cause", _("Why")), Column("ask", _("Asked for")),
            Column("state", _("State")), Column("amount", _("Amount")),
            Column("since", _("Since"), spare=True), Column("reason", _("Reason"), spare=True),
        ),
        rows=[
            (str(d.id), d.key, d.batch, d.order, _(WORDS[d.cause]), _(WORDS[d.ask]),
             Marked(_(WORDS[d.state]), "good" if d.state == "accepted" else "warn"),
             Money(d.amount_minor, d.currency), Moment(d.at_ms), d.reason)
            for d in found
        ],
        empty=_("There is nothing to charge this supplier for."),
    )  # fmt: skip


def _view(result: Adjusted) -> Iterable[Block]:
    yield debits_table(result.debits)
