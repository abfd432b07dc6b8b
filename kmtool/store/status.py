"""SQL of the morning screen: the last day, what waits for a person, what runs out, what is due."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.store.db import Db, Row, all_in, in_clause

_LINE = (
    "o.id AS order_id, o.channel, o.number, o.currency, o.refund, l.id, l.line_no, l.state, l.gate,"
    " l.sku, l.title, l.item_id, l.variant_id, l.quantity, l.needed, l.amount_minor,"
    " o.note"
)
_SENDING = (
    " FROM effects e JOIN orders o ON o.id = e.order_id"
    " JOIN parcel_lines p ON p.parcel_id = e.parcel_id JOIN lines l ON l.id = p.line_id"
    " WHERE e.kind IN ('hand_over', 'replace')"
)
_TWICE = "(SELECT count(*) - 1 FROM orders x WHERE x.number = o.number)"


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
        f"SELECT {_LINE}, l.reason, l.since_ms, l.kind,"
        " CASE WHEN p.state = 'on' THEN 1 ELSE 0 END AS on_sale"
        " FROM lines l JOIN orders o ON o.id = l.order_id LEFT JOIN products p ON p.sku = l.sku"
        " WHERE l.state NOT IN ('delivered', 'cancelled', 'closed')"
        " AND l.state IN ('held', 'unmapped', 'human', 'unknown', 'refund_case')"
        " AND o.history = 0 ORDER BY l.since_ms, l.id"
    )


def by_hand(db: Db, routes: Sequence[str]) -> list[Row]:
    """Return lines whose hand-over waits for a person to paste it, oldest first."""
    marks, params = in_clause(routes)
    return db.all(
        f"SELECT {_LINE}, e.reason, e.created_ms AS since_ms{_SENDING}"
        " AND e.state IN ('pending', 'retry_at') AND l.state IN ('reserved', 'unknown', 'human')"
        f" AND e.route IN {marks} ORDER BY e.created_ms, l.id",
        **params,
    )


def stopped(db: Db) -> list[Row]:
    """Return bound lines whose sending a pause or a hold stopped; `reason` says which."""
    return db.all(
        f"SELECT {_LINE}, e.reason, e.created_ms AS since_ms{_SENDING}"
        " AND e.state = 'retry_at' AND l.state = 'reserved' AND e.reason LIKE 'stopped: %'"
        " ORDER BY e.id"
    )


def asking(db: Db, channel: str, gate: str) -> list[Row]:
    """Return the orders of a channel with lines that one gate holds: number, what they paid."""
    return db.all(
        "SELECT o.number, o.currency, CAST(sum(l.amount_minor) AS BIGINT) AS amount_minor"
        " FROM lines l JOIN orders o ON o.id = l.order_id WHERE o.channel = :c AND o.history = 0"
        " AND l.state = 'held' AND l.gate = :g AND o.hold_reason IS NULL"  # held by word since
        " GROUP BY o.id, o.number, o.currency ORDER BY o.id",
        c=channel,
        g=gate,
    )


def untold(db: Db) -> list[Row]:
    """Return orders whose buyer could not be told of what was done (a top-up's proof)."""
    return db.all(
        "SELECT o.channel, o.number, o.currency, o.total_minor, e.reason, e.created_ms AS since_ms,"
        f" {_TWICE} AS twice"
        " FROM effects e JOIN orders o ON o.id = e.order_id"
        " WHERE e.state = 'human' AND e.kind = 'notify' ORDER BY e.created_ms"
    )


def twice(db: Db, numbers: Sequence[str]) -> set[str]:
    """Return the order numbers that several channels have."""
    rows = all_in(
        db,
        "SELECT number FROM orders WHERE number IN {in} GROUP BY number HAVING count(*) > 1",
        sorted(set(numbers)),
    )
    return {row["number"] for row in rows}


def unrepeated(db: Db) -> list[Row]:
    """Return orders whose keys arrived and were to be sent once more, and could not be."""
    return db.all(
        "SELECT o.channel, o.number, o.currency, o.total_minor, e.reason, e.created_ms AS since_ms,"
        f" {_TWICE} AS twice"
        " FROM effects e JOIN orders o ON o.id = e.order_id"
        " WHERE e.state = 'human' AND e.kind IN ('hand_over', 'replace')"
        " AND EXISTS (SELECT 1 FROM allocations a WHERE a.parcel_id = e.parcel_id"
        "  AND a.state IN ('exposed', 'delivered'))"
        " AND NOT EXISTS (SELECT 1 FROM parcel_lines p JOIN lines l ON l.id = p.line_id"
        "  WHERE p.parcel_id = e.parcel_id AND l.state <> 'delivered') ORDER BY e.created_ms"
    )


def unmarked(db: Db) -> list[Row]:
    """Return orders that are delivered but could not be marked shipped by themselves."""
    return db.all(
        "SELECT o.channel, o.number, o.currency, o.total_minor, e.reason, e.created_ms AS since_ms,"
        f" {_TWICE} AS twice"
        " FROM effects e JOIN orders o ON o.id = e.order_id"
        " WHERE e.state = 'human' AND e.kind = 'mark_shipped' AND e.route <> 'ship_file'"
        " ORDER BY e.created_ms"
    )


def unanswered(db: Db) -> list[Row]:
    """Return orders whose answer to a refund could not be given by itself."""
    return db.all(
        "SELECT o.channel, o.number, o.currency, o.total_minor, e.reason, e.created_ms AS since_ms,"
        f" {_TWICE} AS twice"
        " FROM effects e JOIN orders o ON o.id = e.order_id"
        " WHERE e.state = 'human' AND e.kind = 'refund_reply' ORDER BY e.created_ms"
    )


def exceptions(db: Db) -> list[Row]:
    """Return what reconciliation left open, the largest amounts first."""
    return db.all(
        "SELECT id, code, currency, amount_minor, opened_ms AS since_ms FROM exceptions"
        " WHERE state <> 'resolved' ORDER BY abs(amount_minor) DESC, id"
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
