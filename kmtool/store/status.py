"""SQL of the morning screen: the last day, what waits for a person, what runs out, what is due."""

from __future__ import annotations

from kmtool.store.db import Db, Row


def day(db: Db, since_ms: int) -> list[Row]:
    """Return per currency: orders paid since then, how many went out whole, net money."""
    return db.all(
        "SELECT o.currency, count(*) AS orders,"
        " CAST(sum(o.total_minor - o.refunded_minor) AS BIGINT) AS net_minor,"
        " CAST(sum(CASE WHEN EXISTS (SELECT 1 FROM lines l WHERE l.order_id = o.id"
        "  AND l.state = 'delivered') AND NOT EXISTS (SELECT 1 FROM lines l WHERE"
        "  l.order_id = o.id AND l.state NOT IN ('delivered', 'cancelled', 'closed'))"
        " THEN 1 ELSE 0 END) AS BIGINT) AS delivered"
        " FROM orders o WHERE o.paid_ms >= :since AND o.history = 0 AND o.status <> 'closed'"
        " GROUP BY o.currency ORDER BY count(*) DESC, o.currency",
        since=since_ms,
    )


def waiting(db: Db) -> list[Row]:
    """Return the lines that a person may have to look at, oldest first."""
    return db.all(
        "SELECT o.id AS order_id, o.channel, o.number, o.currency, l.state, l.gate, l.reason,"
        " l.sku, l.title, l.needed, l.amount_minor, l.since_ms"
        " FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE l.state NOT IN ('delivered', 'cancelled', 'closed')"
        " AND l.state IN ('held', 'unmapped', 'human', 'unknown', 'refund_case')"
        " AND o.history = 0 ORDER BY l.since_ms, l.id"
    )


def unmarked(db: Db) -> list[Row]:
    """Return orders that are delivered but could not be marked shipped by themselves."""
    return db.all(
        "SELECT o.channel, o.number, o.currency, o.total_minor, e.reason, e.created_ms AS since_ms"
        " FROM effects e JOIN orders o ON o.id = e.order_id"
        " WHERE e.state = 'human' AND e.kind = 'mark_shipped' ORDER BY e.created_ms"
    )


def unanswered(db: Db) -> list[Row]:
    """Return orders whose answer to a refund could not be given by itself."""
    return db.all(
        "SELECT o.channel, o.number, o.currency, o.total_minor, e.reason, e.created_ms AS since_ms"
        " FROM effects e JOIN orders o ON o.id = e.order_id"
        " WHERE e.state = 'human' AND e.kind = 'refund_reply' ORDER BY e.created_ms"
    )


def exceptions(db: Db) -> list[Row]:
    """Return what reconciliation left open, per code and currency."""
    return db.all(
        "SELECT code, currency, count(*) AS n, CAST(sum(amount_minor) AS BIGINT) AS amount_minor,"
        " min(opened_ms) AS since_ms FROM exceptions WHERE state <> 'resolved'"
        " GROUP BY code, currency ORDER BY code, currency"
    )


def sold(db: Db, since_ms: int) -> list[Row]:
    """Return products that sold since then: keys delivered, free now."""
    return db.all(
        "SELECT a.sku, p.title, count(*) AS sold, coalesce(s.free, 0) AS free"
        " FROM allocations a JOIN products p ON p.sku = a.sku LEFT JOIN stock s ON s.sku = a.sku"
        " WHERE a.state = 'delivered' AND a.delivered_ms >= :since AND p.state = 'on'"
        " GROUP BY a.sku, p.title, s.free ORDER BY a.sku",
        since=since_ms,
    )


def clearing(db: Db) -> list[Row]:
    """Return what channels and wallets still owe, per account and currency."""
    return db.all(
        "SELECT account, currency, CAST(sum(amount_minor) AS BIGINT) AS amount_minor"
        " FROM ledger_postings WHERE account LIKE 'clearing:%'"
        " GROUP BY account, currency HAVING sum(amount_minor) <> 0 ORDER BY account, currency"
    )
