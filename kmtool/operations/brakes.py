"""Brakes that are shut: one alert per brake, product and channel, however many orders it holds.

The brakes themselves are gates (`domain.gates`: price, burst); here the owner hears of them, with
the figure and the commands to look, to let one order go, and to stop the product. The alert is over
when nothing is held by that brake any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.money import format_minor
from kmtool.domain.states import Gate, LineState
from kmtool.shop import Shop
from kmtool.store import status
from kmtool.store.db import Row

CODE = "brake"
BRAKES = frozenset({Gate.PRICE, Gate.BURST})


def tripped(shop: Shop) -> dict[str, str]:
    """Return what the brakes hold: `gate:channel:sku` → a sentence with its commands."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in status.waiting(shop.db):
        if row["state"] == LineState.HELD and row["gate"] in BRAKES:
            key = (row["gate"], row["channel"], row["sku"] or "")
            groups.setdefault(key, []).append(row)
    return {":".join(key): _told(*key, rows) for key, rows in sorted(groups.items())}


def _told(gate: str, channel: str, sku: str, rows: Sequence[Row]) -> str:
    first = rows[0]
    orders = len({row["order_id"] for row in rows})
    pieces = sum(row["needed"] for row in rows)
    money = format_minor(sum(row["amount_minor"] for row in rows), first["currency"])
    number = first["number"]
    return (
        f"the {gate} brake holds {orders} orders of {sku} at {channel}, {pieces} pieces for"
        f" {money}; the first: {first['reason']}. Look: kmtool order why {number}; let it go:"
        f" kmtool order release {number}; stop the product: kmtool pause {sku}"
    )
