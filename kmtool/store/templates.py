"""SQL of message templates."""

from __future__ import annotations

from kmtool.store.db import Db, Row


def best(db: Db, kind: str, channel: str, sku: str, language: str) -> Row | None:
    """Return the closest template: channel and SKU, SKU, channel, the shop's default."""
    return db.one(
        "SELECT body, channel, sku, language FROM templates"
        " WHERE kind = :kind AND language = :language"
        " AND channel IN (:channel, '') AND sku IN (:sku, '')"
        " ORDER BY CASE WHEN sku = '' THEN 1 ELSE 0 END, CASE WHEN channel = '' THEN 1 ELSE 0 END"
        " LIMIT 1",
        kind=kind,
        language=language,
        channel=channel,
        sku=sku,
    )


def exact(db: Db, kind: str, channel: str, sku: str, language: str) -> bool:
    """Tell whether there is a template of exactly that place."""
    return bool(
        db.value(
            "SELECT count(*) FROM templates WHERE kind = :kind AND channel = :channel"
            " AND sku = :sku AND language = :language",
            kind=kind,
            channel=channel,
            sku=sku,
            language=language,
        )
    )


def put(db: Db, kind: str, channel: str, sku: str, language: str, body: str, now_ms: int) -> None:
    """Store a template, replacing the one of the same place."""
    db.run(
        "INSERT INTO templates (kind, channel, sku, language, body, updated_ms)"
        " VALUES (:kind, :channel, :sku, :language, :body, :now)"
        " ON CONFLICT (kind, channel, sku, language) DO UPDATE SET body = excluded.body,"
        " updated_ms = excluded.updated_ms",
        kind=kind,
        channel=channel,
        sku=sku,
        language=language,
        body=body,
        now=now_ms,
    )


def remove(db: Db, kind: str, channel: str, sku: str, language: str) -> bool:
    """Delete a template; tell whether there was one."""
    return (
        db.run(
            "DELETE FROM templates WHERE kind = :kind AND channel = :channel AND sku = :sku"
            " AND language = :language",
            kind=kind,
            channel=channel,
            sku=sku,
            language=language,
        )
        == 1
    )


def listing(db: Db) -> list[Row]:
    """Return all templates."""
    return db.all("SELECT * FROM templates ORDER BY kind, channel, sku, language")
