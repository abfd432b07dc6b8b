"""SQL of a person's decisions about lines, and of the evidence they are taken on."""

from __future__ import annotations

from kmtool.store.db import Db, Row

AUTOMATIC = ("P1", "P2", "P3", "P4")
"""The passes of a run; every other match is a person's decision."""


def line(db: Db, line_id: int) -> Row | None:
    """Return a line with its bucket and match."""
    return db.one(
        "SELECT id, account, order_id, pass, bucket, code FROM statement_lines"
        " WHERE id = :id AND version_id IS NOT NULL {lock}",
        id=line_id,
    )


def decision(db: Db, line_id: int) -> Row | None:
    """Return the decision that holds for a line, whether or not a run has acted on it."""
    return db.one(
        "SELECT id, line_id, order_id, pass FROM line_matches WHERE line_id = :id"
        " AND ended_ms IS NULL AND pass IN ('manual', 'write_off', 'apart')",
        id=line_id,
    )


def end(db: Db, line_id: int, now_ms: int) -> int:
    """End the active match or decision of a line."""
    return db.run(
        "UPDATE line_matches SET ended_ms = :now WHERE line_id = :id AND ended_ms IS NULL",
        id=line_id,
        now=now_ms,
    )


def add(
    db: Db, line_id: int, order_id: int | None, how: str, actor: str, reason: str, now_ms: int
) -> None:
    """Write a decision: `manual` with an order, `apart` or `write_off` without."""
    db.run(
        "INSERT INTO line_matches (line_id, order_id, pass, evidence, actor, reason, at_ms)"
        " VALUES (:line, :order, :how, '', :actor, :reason, :now)",
        line=line_id,
        order=order_id,
        how=how,
        actor=actor,
        reason=reason,
        now=now_ms,
    )


def reverse(db: Db, undone: Row, actor: str, reason: str, now_ms: int) -> None:
    """Write the reversal of an ended decision: it names what it undoes and never holds itself."""
    db.run(
        "INSERT INTO line_matches (line_id, order_id, pass, evidence, actor, reason, at_ms,"
        " ended_ms) VALUES (:line, :order, :how, :evidence, :actor, :reason, :now, :now)",
        line=undone["line_id"],
        order=undone["order_id"],
        how=undone["pass"],
        evidence=f"undo:{undone['id']}",
        actor=actor,
        reason=reason,
        now=now_ms,
    )


def versions(db: Db, line_id: int) -> list[Row]:
    """Return what each file says of a line, the effective one first."""
    return db.all(
        "SELECT f.name AS file, fl.line_no, CASE WHEN l.version_id = v.id THEN 1 ELSE 0 END"
        " AS effective, v.occurred_ms, v.kind, v.gross_minor, v.adjust_minor, v.fee_minor,"
        " v.net_minor, v.currency, v.ext_txn_id, v.order_ref, v.refund_ref, v.note"
        " FROM file_lines fl JOIN statement_files f ON f.id = fl.file_id"
        " JOIN line_versions v ON v.id = fl.version_id JOIN statement_lines l ON l.id = fl.line_id"
        " WHERE fl.line_id = :id ORDER BY 3 DESC, f.rank DESC",
        id=line_id,
    )


def candidates(db: Db, line_id: int) -> list[Row]:
    """Return orders that may belong to a line: by a reference, or by amount and time (±15 min)."""
    return db.all(
        "SELECT o.channel || ':' || o.number AS \"order\", o.buyer_name AS buyer,"
        " coalesce((SELECT min(x.sku) FROM lines x WHERE x.order_id = o.id), '') AS sku,"
        " o.expected_gross_minor AS expected_minor, o.currency,"
        " CAST((v.occurred_ms - o.paid_ms) / 1000 AS BIGINT) AS gap_s"
        " FROM statement_lines l JOIN line_versions v ON v.id = l.version_id"
        " JOIN orders o ON o.account = l.account WHERE l.id = :id AND ("
        " (v.order_ref <> '' AND o.number = v.order_ref)"
        " OR (v.ext_txn_id <> '' AND o.ext_txn_id = v.ext_txn_id)"
        " OR (v.kind = 'SALE' AND o.expected_gross_minor = v.gross_minor"
        " AND o.paid_ms BETWEEN v.occurred_ms - 900000 AND v.occurred_ms + 900000))"
        " ORDER BY 1 LIMIT 20",
        id=line_id,
    )


def figures(db: Db, order_id: int) -> Row | None:
    """Return an order's figures beside those of its lines."""
    return db.one(
        "SELECT o.channel || ':' || o.number AS \"order\", b.bucket, b.reason, b.expected_minor,"
        " b.settled_minor, b.refunded_minor, b.recorded_minor, b.adjust_minor, b.fee_minor,"
        " b.currency FROM order_buckets b JOIN orders o ON o.id = b.order_id"
        " WHERE b.order_id = :id",
        id=order_id,
    )
