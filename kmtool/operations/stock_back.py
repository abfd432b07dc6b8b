"""Brings keys that a restore took out of sale back, with a proof of which were sold.

A key in one of the lists of sold keys is void here: somebody has it. The others are for sale again.
Until then keys that are imported stay out of sale as well: a file that was brought in after the
backup was made is unknown here, and some of its keys may be sold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtool.errors import NotFound, UsageError
from kmtool.operations import key_sources
from kmtool.shop import Shop
from kmtool.store import house, machines


@dataclass(frozen=True, slots=True)
class StockBack:
    """Keys that are for sale again, that were in a list of sold ones, and that stay out of sale."""

    freed: int
    sold: int
    stay: int


def out_of_sale(shop: Shop, sku: str = "", batch: str = "") -> int:
    """Return how many keys a restore keeps out of sale."""
    return len(machines.quarantined(shop.db, sku, batch))


def keep_out(shop: Shop, batch_id: int) -> int:
    """Keep a new batch out of sale while nobody has said what was sold; inside the transaction."""
    if not house.meta(shop.db, machines.UNPROVED):
        return 0
    return machines.quarantine_batch(shop.db, batch_id, shop.now_ms())


def reconcile_stock(
    shop: Shop, sold: Sequence[Path], proof: str, *, sku: str = "", batch: str = ""
) -> StockBack:
    """Set free what nobody bought; `proof` says how that is known, and goes on record.

    Raises `UsageError` without a proof, `NotFound` when nothing is kept out of sale.
    """
    shop.must_be_writable()
    if not proof.strip():
        raise UsageError(
            detail="setting keys free after a restore wants a proof",
            mend='--proof "compared with the orders of all channels up to today"',
        )
    gone = _fingerprints(shop, sold)
    with shop.db.tx():
        rows = machines.quarantined(shop.db, sku, batch)
        if not rows and (sku or batch or not house.meta(shop.db, machines.UNPROVED)):
            raise NotFound(kind="key", name=batch or sku or "out of sale", mend="kmtool doctor")
        bought = [row["id"] for row in rows if bytes(row["fingerprint"]) in gone]
        free = [row["id"] for row in rows if bytes(row["fingerprint"]) not in gone]
        machines.unquarantine(shop.db, bought, "void", shop.now_ms())
        machines.unquarantine(shop.db, free, "free", shop.now_ms())
        shop.audit(
            "stock_back",
            f"batch:{batch}" if batch else f"sku:{sku}" if sku else "stock",
            f"{len(free)} free, {len(bought)} sold: {proof.strip()[:200]}",
        )
        stay = machines.quarantined_count(shop.db)
        if not stay:
            house.set_meta(shop.db, machines.UNPROVED, "")
    return StockBack(len(free), len(bought), stay)


def _fingerprints(shop: Shop, files: Sequence[Path]) -> set[bytes]:
    found: set[bytes] = set()
    for path in files:
        for file in key_sources.read_any(path):
            found |= {shop.vault.fingerprint(text.encode()) for _row, text in file.parsed.keys}
            found |= {shop.vault.fingerprint(one.data) for _row, one in file.parsed.pictures}
    return found
