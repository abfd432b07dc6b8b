"""Which keys a line needs, how many it may have, and taking and binding them.

Three questions with one answer each: `needs` (what a line takes off the shelf), `available` (what
the shelf has for it) and `take` (all of it, or nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from kmtool.domain.ids import KeyId
from kmtool.operations.shared import share_e5, take_shared
from kmtool.shop import Shop
from kmtool.store import deliveries, holds, uses
from kmtool.store.db import Row

Parts = Mapping[str, Sequence[tuple[str, int]]]
"""bundle → (SKU, units) of what it is made of."""


def needs(line: Row, parts: Parts) -> list[tuple[str, int]]:
    """Return (SKU, keys) that a line takes: itself, or the parts of a bundle.

    A line takes a text once, however many pieces it is for (as a part: 0 units), and of a top-up
    nothing.
    """
    if not line["sku"] or line["kind"] == "topup":
        return []
    if line["kind"] != "bundle":
        return [(line["sku"], 1 if line["kind"] == "text" else line["needed"])]
    parts_of = parts.get(line["sku"], ())
    return [(sku, units * line["needed"] if units else 1) for sku, units in parts_of]


def available(shop: Shop, skus: Sequence[str]) -> dict[str, int]:
    """Return how many keys of some SKUs a paid line may have: the counter, less what is held."""
    free = deliveries.free_counts(shop.db, skus)
    held = holds.kept(shop.db, skus, shop.now_ms())
    return {sku: n - held.get(sku, 0) for sku, n in free.items()}


def take(
    shop: Shop, lines: Sequence[Row], parts: Parts, had: Sequence[int] = ()
) -> dict[int, list[Row]] | None:
    """Take the keys of all these lines, or of none: line id → keys (with their `sku`).

    Each product's keys leave in one statement and are dealt out in the order of the lines; keys
    that serve several buyers are asked for line by line, and never one of `had` for the same buyer.
    """
    wanted = [(line, needs(line, parts)) for line in lines]
    totals: dict[str, int] = {}
    for _, needed in wanted:
        for sku, n in needed:
            totals[sku] = totals.get(sku, 0) + n
    kinds = uses.shared_skus(shop.db, sorted(totals))
    found: dict[str, list[Row]] = {}
    for sku, n in sorted(totals.items()):
        if sku in kinds:
            shared = take_shared(shop, wanted, sku, kinds[sku], had)
            found[sku] = [{"exclusive": 1, **key, "sku": sku} for key in shared]
        else:
            found[sku] = deliveries.take_free(shop.db, sku, n, shop.now_ms())
        if not found[sku]:
            for key in (key for keys in found.values() for key in keys):
                deliveries.put_back(shop.db, KeyId(key["id"]), shop.now_ms())
            return None
    queues = {sku: iter(keys) for sku, keys in found.items()}
    return {
        line["id"]: [key for sku, n in needed for key in islice(queues[sku], n)]
        for line, needed in wanted
    }


def bind(shop: Shop, bound: Sequence[tuple[Row, Sequence[Row], int]]) -> None:
    """Bind keys to lines: (line, its keys, the parcel that carries them), with what they cost."""
    now = shop.now_ms()
    found = deliveries.batches(shop.db, [key["batch_id"] for _, keys, _ in bound for key in keys])
    terms = {n: (row["mode"], row["cost_e5"], row["currency"]) for n, row in found.items()}
    deliveries.add_allocations(
        shop.db,
        [
            {
                "line_id": line["id"],
                "key_id": key["id"],
                "batch_id": key["batch_id"],
                "sku": key["sku"],
                "exclusive": key["exclusive"],
                "mode": mode,
                "cost_e5": share_e5(key, cost_e5, currency),
                "currency": currency,
                "reserved_ms": now,
                "parcel_id": parcel,
            }
            for line, keys, parcel in bound
            for key in keys
            for mode, cost_e5, currency in (terms[key["batch_id"]],)
        ],
    )
