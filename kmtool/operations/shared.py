"""Keys that serve several buyers, and texts: which of them a line gets, and what a use costs.

A buyer gets a shared key once, over all orders of the channel; a line takes one text however many
pieces it is for. The uses of a key share its cost, and the shares add up to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.money import e5_to_minor, minor_to_e5
from kmtool.domain.states import UNLIMITED_USES, LineKind
from kmtool.shop import Shop
from kmtool.store import orders, uses
from kmtool.store.db import Row


def buyer_of(order: Row) -> Row:
    """Return who an order is for, as the store asks for it."""
    return {
        "order_id": order["id"],
        "channel": order["channel"],
        "buyer": order["buyer_ref"] or order["buyer_name"],
    }


def take_shared(
    shop: Shop,
    wanted: Sequence[tuple[Row, Sequence[tuple[str, int]]]],
    sku: str,
    kind: str,
    had: Sequence[int] = (),
) -> list[Row]:
    """Take the keys of a shared product for lines (with what each needs), in their order.

    Of all or of none: [] when one line is short. `had` are keys that the buyer of these lines has
    from elsewhere in the open transaction. A key that serves one buyer only is taken as any other.
    """
    db, now = shop.db, shop.now_ms()
    asked = [(line, n) for line, needed in wanted for name, n in needed if name == sku]
    buyers = orders.some(db, sorted({line["order_id"] for line, _ in asked}))
    taken: list[Row] = []
    got: dict[object, set[int]] = {}
    for line, n in asked:
        buyer = None if kind == LineKind.TEXT else buyer_of(buyers[line["order_id"]])
        names = _names(buyer)
        without = {key for name in names for key in got.get(name, ())}
        without.update(had if names else ())
        keys = uses.take(db, sku, n, now, buyer, sorted(without))
        if not keys:
            for key in taken:
                uses.give_back(db, key["id"], now)
            return []
        for name in names:
            got.setdefault(name, set()).update(key["id"] for key in keys)
        taken += [{**key, "exclusive": int(key["uses"] == 1)} for key in keys]
    return taken


def _names(buyer: Row | None) -> list[object]:
    """Return by what a buyer is known: the order, and the name at the channel if there is one."""
    if buyer is None:
        return []
    named = [(buyer["channel"], buyer["buyer"])] if buyer["buyer"] else []
    return [buyer["order_id"], *named]


def share_e5(key: Row, cost_e5: int, currency: str) -> int:
    """Return what the use costs that was just taken of a key costing `cost_e5`.

    Whole cents, so that what is booked use by use adds up to what the key costs.
    """
    of = key.get("uses", 1)
    if of == 1:
        return cost_e5
    if of >= UNLIMITED_USES:
        return 0
    cents, left = e5_to_minor(cost_e5, currency), key["uses_left"]
    return minor_to_e5(cents * (left + 1) // of - cents * left // of, currency)
