"""SQL over all channels: what waits at each of them."""

from __future__ import annotations

from kmtool.store.db import Db


def unmapped(db: Db) -> dict[str, int]:
    """Return channel → order lines that have no product yet and still could be delivered."""
    rows = db.all(
        "SELECT o.channel, count(*) AS lines FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE l.sku IS NULL AND l.state IN ('new', 'ready', 'held', 'unmapped')"
        " GROUP BY o.channel"
    )
    return {str(row["channel"]): int(row["lines"]) for row in rows}
