"""Finds the order a person names: by number, `channel:number` or redemption code."""

from __future__ import annotations

from kmtool.errors import NotFound, Refused
from kmtool.shop import Shop
from kmtool.store import orders
from kmtool.store.db import Row


def named(shop: Shop, number: str) -> Row:
    """Return the order of a number or redemption code; `Refused` when two channels have it."""
    found = orders.by_number(shop.db, number)
    channel, _, rest = number.partition(":")
    if not found and rest:
        row = orders.find(shop.db, channel, rest)
        found = [row] if row else []
    if not found:
        row = orders.by_code(shop.db, number.strip().upper())
        found = [row] if row else []
    if not found:
        raise NotFound(kind="order", name=number)
    if len(found) > 1:
        names = ", ".join(f"{row['channel']}:{number}" for row in found)
        raise Refused(
            detail="order {number} exists on several channels",
            number=number,
            mend="name one: {names}",
            names=names,
        )
    return found[0]
