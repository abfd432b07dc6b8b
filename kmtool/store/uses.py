"""SQL of keys that serve several buyers: taking a use, giving it back, what a buyer may still get.

Such a key stays `free` until its uses are gone and is then `delivered`. The counter of the product
counts uses; whoever takes one holds the counter's row, so takes of one product follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.store.db import Db, Row, in_clause

_NOT_YET = (
    "NOT EXISTS (SELECT 1 FROM allocations a JOIN lines l ON l.id = a.line_id"
    " JOIN orders o ON o.id = l.order_id WHERE a.key_id = k.id AND a.state <> 'withdrawn'"
    " AND (o.id = :order_id OR (o.channel = :channel AND :buyer <> ''"
    " AND (o.buyer_ref = :buyer OR (o.buyer_ref = '' AND o.buyer_name = :buyer)))))"
)
_FREE = "k.sku = :sku AND k.state = 'free' AND k.uses_left > 0 AND k.expires_ms > :now"


def shared_skus(db: Db, skus: Sequence[str]) -> dict[str, str]:
    """Return SKU → kind of those products whose keys may serve several buyers."""
    if not skus:
        return {}
    marks, params = in_clause(skus)
    rows = db.all(f"SELECT sku, kind FROM products WHERE shared = 1 AND sku IN {marks}", **params)
    return {row["sku"]: row["kind"] for row in rows}


def dearest(db: Db, sku: str, now_ms: int) -> int:
    """Return the highest cost (e5) of one use among the keys in sale."""
    return int(
        db.value(
            "SELECT max((b.cost_e5 + k.uses - 1) / k.uses) FROM keys k"
            f" JOIN batches b ON b.id = k.batch_id WHERE {_FREE}",
            sku=sku,
            now=now_ms,
        )
        or 0
    )


def possible(db: Db, sku: str, now_ms: int, buyer: Row) -> int:
    """Return how many different keys a buyer (order_id, channel, buyer) may still get."""
    return int(
        db.value(
            f"SELECT count(*) FROM keys k WHERE {_FREE} AND {_NOT_YET}",
            sku=sku,
            now=now_ms,
            **buyer,
        )
    )


def take(
    db: Db, sku: str, n: int, now_ms: int, buyer: Row | None, without: Sequence[int] = ()
) -> list[Row]:
    """Take one use of n different keys; [] when there are fewer. A buyer gets a key once.

    Without a buyer (a text) only the key in sale matters; `without` are keys not to be taken.
    """
    if db.run("UPDATE stock SET free = free - :n WHERE sku = :s AND free >= :n", n=n, s=sku) != 1:
        return []
    fresh = "" if buyer is None else f" AND {_NOT_YET}"
    if without:
        marks, more = in_clause(without, "x")
        fresh += f" AND k.id NOT IN {marks}"
        buyer = {**(buyer or {}), **more}
    rows = db.all(
        "UPDATE keys SET uses_left = uses_left - 1, state_ms = :now, state = CASE"
        " WHEN uses = 1 THEN 'reserved' WHEN uses_left = 1 THEN 'delivered' ELSE state END"
        f" WHERE id IN (SELECT k.id FROM keys k WHERE {_FREE}{fresh} ORDER BY"
        " k.expires_ms, k.batch_id, k.line_no LIMIT :n)"
        " AND state = 'free' AND uses_left > 0"
        " RETURNING id, fingerprint, sealed, data_key_id, tail, batch_id, line_no, expires_ms,"
        " uses, uses_left, media",
        sku=sku,
        now=now_ms,
        n=n,
        **(buyer or {}),
    )
    rows.sort(key=lambda row: (row["expires_ms"], row["batch_id"], row["line_no"]))
    if len(rows) == n:
        return rows
    for row in rows:
        give_back(db, row["id"], now_ms)
    db.run("UPDATE stock SET free = free + :n WHERE sku = :s", n=n - len(rows), s=sku)
    return []


def give_back(db: Db, key_id: int, now_ms: int) -> str | None:
    """Give back a use that nobody saw; return the SKU, None when the key has one buyer only.

    A key taken out of sale meanwhile gets its use back, but is not for sale again.
    """
    row = db.one(
        "UPDATE keys SET uses_left = uses_left + 1, state_ms = :now, state = CASE"
        " WHEN state IN ('delivered', 'reserved') THEN 'free' ELSE state END"
        " WHERE id = :id AND (uses > 1 OR state = 'reserved') AND uses_left < uses"
        " RETURNING sku, state",
        id=key_id,
        now=now_ms,
    )
    if row is None:
        return None
    if row["state"] == "free":
        db.run("UPDATE stock SET free = free + 1 WHERE sku = :s", s=row["sku"])
    return str(row["sku"])
