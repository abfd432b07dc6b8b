"""SQL of watched lines: what would have been sent, and what really happened to it."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.store.db import Db, Row, all_in

_WAITING = "('new', 'ready', 'held', 'unmapped')"


def due(db: Db, channel: str, after: int, limit: int) -> list[int]:
    """Return orders with lines to look at: no verdict yet, held so far, or shipped meanwhile."""
    rows = db.all(
        "SELECT DISTINCT o.id FROM orders o JOIN lines l ON l.order_id = o.id"
        " LEFT JOIN watched w ON w.line_id = l.id"
        f" WHERE o.channel = :c AND o.history = 0 AND o.id > :after AND l.state IN {_WAITING}"
        " AND o.status <> 'unpaid'"
        " AND (w.line_id IS NULL OR w.verdict = 'hold' OR o.status IN ('shipped', 'done'))"
        " ORDER BY o.id LIMIT :n",
        c=channel,
        after=after,
        n=limit,
    )
    return [int(row["id"]) for row in rows]


def known(db: Db, line_ids: Sequence[int]) -> dict[int, str]:
    """Return line → verdict of those that have one."""
    rows = all_in(
        db, "SELECT line_id, verdict FROM watched WHERE line_id IN {in}", sorted(line_ids)
    )
    return {int(row["line_id"]): row["verdict"] for row in rows}


def put(db: Db, rows: Sequence[Row]) -> None:
    """Write verdicts down; a `send` is never changed again."""
    db.many(
        "INSERT INTO watched (line_id, order_id, channel, sku, n, amount_minor, verdict, gate,"
        " reason, first_ms, at_ms) VALUES (:line_id, :order_id, :channel, :sku, :n,"
        " :amount_minor, :verdict, :gate, :reason, :now, :now)"
        " ON CONFLICT (line_id) DO UPDATE SET sku = excluded.sku, n = excluded.n,"
        " amount_minor = excluded.amount_minor, verdict = excluded.verdict, gate = excluded.gate,"
        " reason = excluded.reason, at_ms = excluded.at_ms WHERE watched.verdict = 'hold'",
        rows,
    )


def taken(db: Db, skus: Sequence[str]) -> dict[str, int]:
    """Return SKU → keys that would be gone by now, had what was watched been sent."""
    rows = all_in(
        db,
        "SELECT w.sku, CAST(sum(w.n) AS BIGINT) AS n FROM watched w JOIN lines l"
        " ON l.id = w.line_id WHERE w.verdict = 'send' AND l.reserved_ms IS NULL"
        " AND w.sku IN {in} GROUP BY w.sku",
        skus,
    )
    return {row["sku"]: int(row["n"]) for row in rows}


def hour_of_skus(db: Db, skus: Sequence[str], since_ms: int) -> dict[str, tuple[int, int]]:
    """Return SKU → (pieces, money) that would have left since a moment."""
    rows = all_in(
        db,
        "SELECT sku, CAST(sum(n) AS BIGINT) AS n, CAST(sum(amount_minor) AS BIGINT) AS money"
        " FROM watched WHERE verdict = 'send' AND at_ms >= :since AND sku IN {in} GROUP BY sku",
        skus,
        since=since_ms,
    )
    return {row["sku"]: (int(row["n"]), int(row["money"])) for row in rows}


def hour_of_buyers(db: Db, channel: str, since_ms: int) -> dict[str, int]:
    """Return buyer (the channel's id, else the name) → pieces that would have left."""
    rows = db.all(
        "SELECT CASE WHEN o.buyer_ref <> '' THEN o.buyer_ref ELSE o.buyer_name END AS buyer,"
        " CAST(sum(w.n) AS BIGINT) AS n FROM watched w JOIN orders o ON o.id = w.order_id"
        " WHERE w.channel = :c AND w.verdict = 'send' AND w.at_ms >= :since GROUP BY 1",
        c=channel,
        since=since_ms,
    )
    return {row["buyer"]: int(row["n"]) for row in rows}


def seen(db: Db, channel: str, since_ms: int) -> list[Row]:
    """Return watched lines with what the channel says of their orders now, oldest first."""
    return db.all(
        "SELECT w.line_id, w.order_id, w.sku, w.n, w.amount_minor, w.verdict, w.gate, w.reason,"
        " w.first_ms, o.number, o.status, o.refund, o.currency, o.facts_ms, l.title,"
        " l.state, l.reserved_ms FROM watched w JOIN orders o ON o.id = w.order_id"
        " JOIN lines l ON l.id = w.line_id WHERE w.channel = :c AND w.first_ms >= :since"
        " ORDER BY w.first_ms, w.line_id",
        c=channel,
        since=since_ms,
    )


def left_alone(db: Db, channel: str, before_ms: int) -> list[Row]:
    """Return per currency what would have been sent long ago and nobody has shipped."""
    return db.all(
        "SELECT o.currency, count(DISTINCT o.id) AS orders, min(w.first_ms) AS since_ms,"
        " CAST(sum(w.amount_minor) AS BIGINT) AS amount_minor FROM watched w"
        " JOIN orders o ON o.id = w.order_id JOIN lines l ON l.id = w.line_id"
        " WHERE w.channel = :c AND w.verdict = 'send' AND w.first_ms < :before"
        f" AND l.state IN {_WAITING} AND o.status IN ('paid', 'review') AND o.refund = 'none'"
        " GROUP BY o.currency ORDER BY o.currency",
        c=channel,
        before=before_ms,
    )
