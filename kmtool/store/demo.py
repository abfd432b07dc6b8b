"""SQL of the figures in the demo's story."""

from __future__ import annotations

from kmtool.store.db import Db, Row


def orders_by_channel(db: Db) -> dict[str, int]:
    """Count orders by channel."""
    rows = db.all("SELECT channel, count(*) AS n FROM orders GROUP BY channel ORDER BY channel")
    return {row["channel"]: row["n"] for row in rows}


def order_states(db: Db) -> dict[str, int]:
    """Count orders by the state of their line (the demo's orders have one)."""
    rows = db.all("SELECT state, count(*) AS n FROM lines GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


def waiting(db: Db) -> dict[str, int]:
    """Count lines that wait, by gate (or by state when no gate holds them)."""
    rows = db.all(
        "SELECT CASE WHEN gate = '' THEN state ELSE gate END AS gate, count(*) AS n FROM lines"
        " WHERE state NOT IN ('delivered', 'cancelled', 'closed', 'refund_case')"
        " GROUP BY CASE WHEN gate = '' THEN state ELSE gate END"
    )
    return {row["gate"]: row["n"] for row in rows}


def batches(db: Db) -> Row:
    """Return how many batches, keys and duplicate rows came in."""
    row = db.one(
        "SELECT count(*) AS batches, CAST(sum(accepted) AS BIGINT) AS accepted,"
        " CAST(sum(duplicates) AS BIGINT) AS duplicates FROM batches"
    )
    assert row is not None
    return row


def keys_delivered(db: Db) -> int:
    """Count keys that reached a buyer."""
    return int(db.value("SELECT count(*) FROM allocations WHERE state = 'delivered'"))


def keys_of_order(db: Db, order_id: int) -> list[Row]:
    """Return the sealed keys that an order's buyer holds."""
    return db.all(
        "SELECT k.sealed, k.data_key_id, k.fingerprint FROM allocations a"
        " JOIN keys k ON k.id = a.key_id JOIN lines l ON l.id = a.line_id"
        " WHERE l.order_id = :o AND a.state = 'delivered'",
        o=order_id,
    )


def is_key(db: Db, fingerprint: bytes) -> bool:
    """Tell whether a fingerprint is that of a known key."""
    return db.value("SELECT 1 FROM keys WHERE fingerprint = :f", f=fingerprint) is not None


def healed(db: Db) -> int:
    """Count attempts whose reply was lost and that were found to have happened."""
    return int(
        db.value("SELECT count(*) FROM attempts WHERE state = 'ok' AND detail = 'found there'")
    )
