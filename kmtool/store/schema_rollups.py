"""Counters kept in the transaction of the facts: what left per minute.

The burst brakes read them instead of counting the lines of the last hour. A minute is named by its
first millisecond. What is older than a day is dropped (`store.rollups.prune`); an old database is
filled from the last day in which anything was reserved.
"""

from __future__ import annotations

_RECENT = (
    "l.reserved_ms IS NOT NULL AND l.reserved_ms >="
    " (SELECT coalesce(max(x.reserved_ms), 0) - 86400000 FROM lines x)"
)

ROLLUPS: tuple[str | dict[str, str], ...] = (
    """CREATE TABLE sku_minutes (
        sku {text} NOT NULL,
        minute_ms {int} NOT NULL,
        pieces {int} NOT NULL,
        amount_minor {int} NOT NULL,
        PRIMARY KEY (sku, minute_ms)
    ) {strict}""",
    "CREATE INDEX sku_minutes_age ON sku_minutes (minute_ms)",
    """CREATE TABLE buyer_minutes (
        channel {text} NOT NULL,
        buyer {text} NOT NULL,
        minute_ms {int} NOT NULL,
        pieces {int} NOT NULL,
        PRIMARY KEY (channel, buyer, minute_ms)
    ) {strict}""",
    "CREATE INDEX buyer_minutes_age ON buyer_minutes (minute_ms)",
    "INSERT INTO sku_minutes (sku, minute_ms, pieces, amount_minor)"
    " SELECT l.sku, l.reserved_ms - l.reserved_ms % 60000, CAST(sum(l.needed) AS BIGINT),"
    " CAST(sum(l.amount_minor) AS BIGINT) FROM lines l WHERE l.sku IS NOT NULL"
    f" AND {_RECENT} GROUP BY l.sku, l.reserved_ms - l.reserved_ms % 60000",
    "INSERT INTO buyer_minutes (channel, buyer, minute_ms, pieces)"
    " SELECT o.channel, CASE WHEN o.buyer_ref = '' THEN o.buyer_name ELSE o.buyer_ref END,"
    " l.reserved_ms - l.reserved_ms % 60000, CAST(sum(l.needed) AS BIGINT)"
    " FROM lines l JOIN orders o ON o.id = l.order_id"
    f" WHERE (o.buyer_ref <> '' OR o.buyer_name <> '') AND {_RECENT}"
    " GROUP BY o.channel, CASE WHEN o.buyer_ref = '' THEN o.buyer_name ELSE o.buyer_ref END,"
    " l.reserved_ms - l.reserved_ms % 60000",
    "DROP INDEX effects_order",  # the unique one begins with the order too
)
