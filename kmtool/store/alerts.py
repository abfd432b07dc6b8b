"""SQL of alerts: at most one open alert per (code, subject), so one crossing tells once.

`told` names the notifiers that have it already: one that failed is tried again without telling
the others twice. `sent_ms` is set when all have it.
"""

from __future__ import annotations

from kmtool.store.db import Db, Row


def open_alert(db: Db, code: str, subject: str, text: str, now_ms: int) -> bool:
    """Open an alert; False when it is open already."""
    return (
        db.run(
            "INSERT INTO alerts (code, subject, state, text, raised_ms)"
            " VALUES (:code, :subject, 'open', :text, :now)"
            " ON CONFLICT (code, subject) WHERE state = 'open' DO NOTHING",
            code=code,
            subject=subject,
            text=text,
            now=now_ms,
        )
        == 1
    )


def clear(db: Db, code: str, subject: str, now_ms: int) -> bool:
    """Clear an open alert; False when there is none."""
    return (
        db.run(
            "UPDATE alerts SET state = 'cleared', cleared_ms = :now"
            " WHERE code = :code AND subject = :subject AND state = 'open'",
            code=code,
            subject=subject,
            now=now_ms,
        )
        == 1
    )


def open_subjects(db: Db, code: str) -> list[str]:
    """Return the subjects of the open alerts of one code."""
    rows = db.all(
        "SELECT subject FROM alerts WHERE code = :code AND state = 'open' ORDER BY subject",
        code=code,
    )
    return [str(row["subject"]) for row in rows]


def untold(db: Db, limit: int) -> list[Row]:
    """Return open alerts that not every notifier has, oldest first."""
    return db.all(
        "SELECT id, code, subject, text, raised_ms, told FROM alerts"
        " WHERE state = 'open' AND sent_ms IS NULL ORDER BY id LIMIT :n",
        n=limit,
    )


def note_told(db: Db, alert_id: int, told: str, sent_ms: int | None) -> None:
    """Remember who has an alert; `sent_ms` once all have it."""
    db.run(
        "UPDATE alerts SET told = :told, sent_ms = :sent WHERE id = :id AND sent_ms IS NULL",
        told=told,
        sent=sent_ms,
        id=alert_id,
    )


def listing(db: Db, limit: int, *, cleared: bool) -> list[Row]:
    """Return alerts, newest first: the open ones, or all."""
    return db.all(
        "SELECT id, code, subject, state, text, raised_ms, sent_ms, cleared_ms FROM alerts"
        " WHERE state = 'open' OR :cleared = 1 ORDER BY id DESC LIMIT :n",
        cleared=int(cleared),
        n=limit,
    )


def count(db: Db, *, cleared: bool) -> int:
    """Return how many `listing` would show."""
    return int(
        db.value(
            "SELECT count(*) FROM alerts WHERE state = 'open' OR :cleared = 1",
            cleared=int(cleared),
        )
    )


def low_stock(db: Db, limit: int) -> list[Row]:
    """Return products on sale with their free keys and their limit (their own, else `limit`)."""
    return db.all(
        "SELECT p.sku, p.title, coalesce(s.free, 0) AS free,"
        " coalesce(p.low_stock, CAST(:limit AS BIGINT)) AS wanted"
        " FROM products p LEFT JOIN stock s ON s.sku = p.sku"
        " WHERE p.state = 'on' AND p.kind = 'key' ORDER BY p.sku",
        limit=limit,
    )
