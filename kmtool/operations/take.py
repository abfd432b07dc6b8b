"""Which keys a line needs, how many it may have, and taking and binding them.

Three questions with one answer each: `needs` (what a line takes off the shelf), `available` (what
the shelf has for it) and `take` (all of it, or nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmtool.domain.ids import KeyId
from kmtool.shop import Shop
from kmtool.store import deliveries, holds
from kmtool.store.db import Row

Parts = Mapping[str, Sequence[tuple[str, int]]]
"""bundle → (SKU, units) of what it is made of."""


def needs(line: Row, parts: Parts) -> list[tuple[str, int]]:
    """Return (SKU, keys) that a line takes: itself, or the parts of a bundle."""
    if not line["sku"]:
        return []
    if line["kind"] != "bundle":
        return [(line["sku"], line["needed"])]
    return [(sku, units * line["needed"]) for sku, units in parts.get(line["sku"], ())]


def available(shop: Shop, skus: Sequence[str]) -> dict[str, int]:
    """Return how many keys of some SKUs a paid line may have: the counter, less what is held."""
    free = deliveries.free_counts(shop.db, skus)
    held = holds.kept(shop.db, skus, shop.now_ms())
    return {sku: n - held.get(sku, 0) for sku, n in free.items()}


def take(shop: Shop, lines: Sequence[Row], parts: Parts) -> dict[int, list[Row]] | None:
    """Take the keys of all these lines, or of none: line id → keys (with their `sku`).

    Each product's keys leave in one statement and are dealt out in the order of the lines.
    """
    wanted = [(line, needs(line, parts)) for line in lines]
    totals: dict[str, int] = {}
    for _, needed in wanted:
        for sku, n in needed:
            totals[sku] = totals.get(sku, 0) + n
    found: dict[str, list[Row]] = {}
    for sku, n in sorted(totals.items()):
        found[sku] = deliveries.take_free(shop.db, sku, n, shop.now_ms())
        if not found[sku]:
            for key in (key for keys in found.values() for key in keys):
                deliveries.put_back(shop.db, KeyId(key["id"]), shop.now_ms())
            return None
    queues = {sku: iter(keys) for sku, keys in found.items()}
    return {
        line["id"]: [
            {**next(queues[sku]), "sku": sku, "exclusive": 1} for sku, n in needed for _ in range(n)
        ]
        for line, needed in wanted
    }


def bind(shop: Shop, bound: Sequence[tuple[Row, Sequence[Row], int]]) -> None:
    """Bind keys to lines: (line, its keys, the parcel that carries them), with what they cost."""
    now = shop.now_ms()
    found = deliveries.batches(shop.db, [key["batch_id"] for _, keys, _ in bound for key in keys])
    deliveries.add_allocations(
        shop.db,
        [
            {
                "line_id": line["id"],
                "key_id": key["id"],
                "batch_id": key["batch_id"],
                "sku": key["sku"],
                "exclusive": key["exclusive"],
                "mode": found[key["batch_id"]]["mode"],
                "cost_e5": found[key["batch_id"]]["cost_e5"],
                "currency": found[key["batch_id"]]["currency"],
                "reserved_ms": now,
                "parcel_id": parcel,
            }
            for line, keys, parcel in bound
            for key in keys
        ],
    )
