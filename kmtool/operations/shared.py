"""Keys that serve several buyers, and texts: which of them a line gets, and what a use costs.

A buyer gets a shared key once, over all orders of the channel; a line takes one text however many
pieces it is for. The uses of a key share its cost, and the shares add up to it.
"""

from __future__ import annotations

from kmtool.domain.states import UNLIMITED_USES, LineKind
from kmtool.shop import Shop
from kmtool.store import uses
from kmtool.store.db import Row


def buyer_of(order: Row) -> Row:
    """Return who an order is for, as the store asks for it."""
    return {
        "order_id": order["id"],
        "channel": order["channel"],
        "buyer": order["buyer_ref"] or order["buyer_name"],
    }


def take_uses(shop: Shop, order: Row, sku: str, kind: str, n: int) -> list[Row]:
    """Take n keys of a shared product for an order, each with its share of the cost; [] if short.

    A key that serves one buyer only is taken as any other is.
    """
    buyer = None if kind == LineKind.TEXT else buyer_of(order)
    keys = uses.take(shop.db, sku, n, shop.now_ms(), buyer)
    return [{**key, "sku": sku, "exclusive": int(key["uses"] == 1)} for key in keys]


def share_e5(key: Row, cost_e5: int) -> int:
    """Return what the use costs that was just taken of a key costing `cost_e5`."""
    of = key.get("uses", 1)
    if of == 1:
        return cost_e5
    if of >= UNLIMITED_USES:
        return 0
    left = key["uses_left"]
    return int(cost_e5 * (left + 1) // of - cost_e5 * left // of)
