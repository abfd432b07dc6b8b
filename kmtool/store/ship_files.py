"""SQL of batch-ship files: which orders wait for one, which files wait to be confirmed."""

from __future__ import annotations

from collections.abc import Iterable

from kmtool.store.db import Db, Row

_OPEN = (
    "FROM effects e JOIN orders o ON o.id = e.order_id WHERE e.kind = 'mark_shipped'"
    " AND e.route = :route AND e.state IN ('pending', 'retry_at', 'human')"
)
_IN_FILE = "EXISTS (SELECT 1 FROM ship_file_effects f WHERE f.effect_id = e.id)"


def waiting(db: Db, route: str, channel: str, *, again: bool) -> list[Row]:
    """Return orders of a channel that are not confirmed: those in no file yet, or all."""
    fresh = "" if again else f" AND NOT {_IN_FILE}"
    return db.all(
        f"SELECT e.id, o.number {_OPEN} AND e.channel = :c{fresh} ORDER BY e.id",
        route=route,
        c=channel,
    )


def channels(db: Db, route: str) -> list[str]:
    """Return the channels with orders that are not confirmed."""
    rows = db.all(f"SELECT DISTINCT e.channel {_OPEN} ORDER BY e.channel", route=route)
    return [row["channel"] for row in rows]


def add(db: Db, effects: Iterable[int], **values: object) -> None:
    """Remember a file (channel, path, sha256, written_ms) and the effects it tells of."""
    file_id = db.value(
        "INSERT INTO ship_files (channel, path, sha256, written_ms)"
        " VALUES (:channel, :path, :sha256, :written_ms) RETURNING id",
        **values,
    )
    db.many(
        "INSERT INTO ship_file_effects (file_id, effect_id) VALUES (:f, :e)",
        [{"f": file_id, "e": effect} for effect in effects],
    )


def open_files(db: Db, route: str) -> list[Row]:
    """Return per channel, currency and file what is not confirmed; path is NULL for no file yet.

    An order counts for its newest file.
    """
    return db.all(
        "SELECT x.channel, x.currency, f.path, f.written_ms, count(*) AS orders,"
        " CAST(sum(x.total_minor) AS BIGINT) AS amount_minor, min(x.created_ms) AS since_ms"
        " FROM (SELECT e.channel, o.currency, o.total_minor, e.created_ms,"
        "  (SELECT max(g.file_id) FROM ship_file_effects g WHERE g.effect_id = e.id) AS file_id"
        f" {_OPEN}) x LEFT JOIN ship_files f ON f.id = x.file_id"
        " GROUP BY x.channel, x.currency, f.path, f.written_ms"
        " ORDER BY x.channel, f.written_ms NULLS FIRST",
        route=route,
    )
