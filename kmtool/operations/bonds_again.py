"""Binds keys that were sent before a restore to their line again, and ends what was given up.

A key that another one was sent in place of is named beside that one in the send journal (`BAD`). An
older journal does not say so: there the oldest keys beyond what a line wants are the ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kmtool.domain.ids import Place
from kmtool.domain.states import AllocationState, LineKind
from kmtool.operations.shared import share_e5
from kmtool.shop import Shop
from kmtool.store import deliveries, products, refunds, seen_keys
from kmtool.store.db import Row

SEEN = frozenset({AllocationState.EXPOSED, AllocationState.DELIVERED})


def bind(shop: Shop, line: Row, keys: Sequence[Row]) -> None:
    """Bind keys to a line as exposed."""
    for key in keys:
        values = {name: key[name] for name in ("batch_id", "sku", "mode", "currency")}
        exclusive = int(key["uses"] <= 1)
        bond = {
            "line_id": line["id"],
            "key_id": key["id"],
            "exclusive": exclusive,
            "now": shop.now_ms(),
        }
        seen_keys.bind(shop.db, {**values, **bond, "cost_e5": _cost_e5(shop, key)})


def bind_given_up(shop: Shop, line: Row, keys: Sequence[Row]) -> None:
    """Bind keys that were sent, and given up since: the buyer saw them, and they count no more."""
    bind(shop, line, keys)
    for key in keys:
        allocation = refunds.bound_to(shop.db, line["id"], key["id"], AllocationState.EXPOSED)
        seen_keys.replace_bond(shop.db, allocation, key["id"], shop.now_ms())


def newest(shop: Shop, line: Row, keys: Sequence[Row]) -> list[Row]:
    """End the oldest bonds of a line beyond what it wants; return which of some keys count."""
    gone = set()
    for row in _beyond(shop, line):
        seen_keys.replace_bond(shop.db, row["id"], row["key_id"], shop.now_ms())
        gone.add(row["key_id"])
    return [key for key in keys if key["id"] not in gone]


def given_up_since(shop: Shop, bad: Mapping[Place, Collection[bytes]]) -> list[tuple[Row, Row]]:
    """Return (bond, key) of the keys that still count here and were given up since."""
    keys = seen_keys.keys_of(shop.db, sorted({one for found in bad.values() for one in found}))
    bonds = seen_keys.bonds(shop.db, [key["id"] for key in keys.values()])
    return [
        (bond, keys[fingerprint])
        for place, found in bad.items()
        for fingerprint in found
        if fingerprint in keys
        for bond in bonds.get(keys[fingerprint]["id"], ())
        if (bond["channel"], bond["number"], bond["line_no"]) == place and bond["state"] in SEEN
    ]


def _beyond(shop: Shop, line: Row) -> list[Row]:
    """Return the oldest bonds of a line beyond what it wants of each product."""
    wanted: dict[str, int] = {}
    if line["sku"] and line["kind"] == LineKind.KEY and line["needed"]:
        wanted = {line["sku"]: line["needed"]}
    elif line["kind"] == LineKind.BUNDLE:
        wanted = {
            part["sku"]: 1 if part["kind"] == LineKind.TEXT else part["units"] * line["needed"]
            for part in products.bundle_parts(shop.db, line["sku"])
        }
    rows = sorted(deliveries.allocations(shop.db, [line["id"]]), key=lambda row: int(row["id"]))
    found: list[Row] = []
    for sku, n in wanted.items():
        mine = [row for row in rows if row["sku"] == sku]
        found += mine[: max(0, len(mine) - n)]
    return found


def _cost_e5(shop: Shop, key: Row) -> int:
    """Return what a key costs the line it goes to: one that several share costs each a share."""
    if key["uses"] <= 1:
        return int(key["cost_e5"])
    taken = len(seen_keys.bonds(shop.db, [key["id"]]).get(key["id"], ()))
    left = max(0, key["uses"] - taken - 1)
    return share_e5({**key, "uses_left": left}, key["cost_e5"], key["currency"])
