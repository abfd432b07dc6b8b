"""SQL of orders as people look for them: lists with a summary of their lines, and their count."""

from __future__ import annotations

from kmtool.store.db import Db, Row


def listing(
    db: Db,
    *,
    channel: str | None = None,
    state: str | None = None,
    text: str | None = None,
    limit: int = 51,
) -> list[Row]:
    """Return orders for people, newest first, with a summary of their lines."""
    where = ["1 = 1"]
    params: Row = {"limit": limit}
    if channel:
        where.append("o.channel = :channel")
        params["channel"] = channel
    if text:
        where.append("(o.number = :text OR o.code = :text OR o.buyer_name = :text)")
        params["text"] = text
    if state:
        where.append("EXISTS (SELECT 1 FROM lines x WHERE x.order_id = o.id AND x.state = :state)")
        params["state"] = state
    return db.all(
        "SELECT o.id, o.channel, o.number, o.status, o.refund, o.total_minor, o.currency,"
        " o.buyer_name, o.paid_ms, o.created_ms, o.history, o.note, count(l.id) AS lines,"
        " CAST(sum(l.quantity) AS BIGINT) AS quantity,"
        " min(l.title) AS title, min(l.state) AS state_low, max(l.state) AS state_high,"
        " max(l.gate) AS gate"
        " FROM (SELECT * FROM orders o WHERE "
        + " AND ".join(where)
        + " ORDER BY coalesce(o.paid_ms, o.created_ms) DESC, o.id DESC LIMIT :limit) o"
        " LEFT JOIN lines l ON l.order_id = o.id"
        " GROUP BY o.id, o.channel, o.number, o.status, o.refund, o.total_minor, o.currency,"
        " o.buyer_name, o.paid_ms, o.created_ms, o.history, o.note"
        " ORDER BY coalesce(o.paid_ms, o.created_ms) DESC, o.id DESC",
        **params,
    )


def count(
    db: Db, *, channel: str | None = None, state: str | None = None, text: str | None = None
) -> int:
    """Count the orders that `listing` would show without a limit."""
    return int(
        db.value(
            "SELECT count(*) FROM orders o WHERE (:channel = '' OR o.channel = :channel)"
            " AND (:text = '' OR o.number = :text OR o.code = :text OR o.buyer_name = :text)"
            " AND (:state = '' OR EXISTS (SELECT 1 FROM lines x WHERE x.order_id = o.id"
            " AND x.state = :state))",
            channel=channel or "",
            state=state or "",
            text=text or "",
        )
    )
