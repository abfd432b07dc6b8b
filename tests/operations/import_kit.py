"""Bring keys into a shop, and look at what stands there afterwards."""

from __future__ import annotations

from kmtool.operations import import_keys
from kmtool.operations.import_records import ImportResult, Terms
from kmtool.operations.key_sources import Source
from kmtool.shop import Shop


def bring(shop: Shop, data: bytes | str, name: str = "keys.txt", **terms: object) -> ImportResult:
    """Import one file of product S1 from supplier sup1 and agree to everything."""
    raw = data.encode() if isinstance(data, str) else data
    given = Terms(**{"sku": "S1", "supplier": "sup1", **terms})  # type: ignore[arg-type]
    return import_keys.run(
        shop, [Source(name, raw)], given, agree=lambda _: True, create=lambda *_: True
    )


def stored(shop: Shop) -> list[str]:
    """Open every key, in the order of its line."""
    rows = shop.db.all("SELECT * FROM keys ORDER BY batch_id, line_no")
    return [
        shop.vault.open(r["sealed"], r["data_key_id"], bytes(r["fingerprint"])).text() for r in rows
    ]


def free(shop: Shop, sku: str = "S1") -> int:
    return int(shop.db.value("SELECT free FROM stock WHERE sku = :s", s=sku) or 0)


def balances(shop: Shop) -> dict[str, int]:
    rows = shop.db.all(
        "SELECT account, CAST(sum(amount_minor) AS BIGINT) AS n"
        " FROM ledger_postings GROUP BY account"
    )
    return {row["account"]: row["n"] for row in rows}
