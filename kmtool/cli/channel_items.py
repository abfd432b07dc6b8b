"""The table of `kmtool channel items`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kmtool.cli.blocks import Block, Cell, Column, Line, Marked, Money, Table
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.operations.shelf import ItemInfo, ItemList


def view(result: ItemList) -> Iterable[Block]:
    """Show what a channel lists, one line each."""
    yield Table(
        columns=(
            Column("item", _("Item")),
            Column("variant", _("Variant")),
            Column("title", _("Title")),
            Column("price", _("Price")),
            Column("quantity", _("Left there")),
            Column("on_shelf", _("Shelf")),
            Column("sku", _("SKU")),
            Column("units", _("Units")),
        ),
        rows=[
            (
                one.item,
                one.variant,
                one.title,
                Money(one.price_minor, result.currency),
                one.quantity,
                _shelf(one),
                Marked(one.sku, "good") if one.sku else Marked(_("not mapped"), "warn"),
                one.units or None,
            )
            for one in result.items
        ],
        id_key="item",
        empty=_("Nothing is listed there."),
    )
    if result.unmapped:
        told = _("{n} of {total} have no product yet")
        yield Line(told.format(n=result.unmapped, total=len(result.items)), "warn")


def _shelf(one: ItemInfo) -> Cell:
    if one.on_shelf:
        return _("on")
    return Marked(_("off: sold out") if one.shelf == "off" else _("off"), "warn")
