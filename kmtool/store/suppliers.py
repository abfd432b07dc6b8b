"""SQL of suppliers: who keys come from, and on which terms."""

from __future__ import annotations

from kmtool.store.db import Db, Row

SUPPLIER_COLUMNS = ("name", "mode", "settle_days", "payee")
"""What `set_supplier` may change; terms of batches that are here already stay."""

_SUPPLIER = "SELECT code, name, mode, settle_days, currency, payee, created_ms FROM suppliers"


def supplier(db: Db, code: str) -> Row | None:
    """Return a supplier."""
    return db.one(f"{_SUPPLIER} WHERE code = :code", code=code)


def suppliers(db: Db) -> list[Row]:
    """Return all suppliers, by code."""
    return db.all(f"{_SUPPLIER} ORDER BY code")


def add_supplier(db: Db, **values: object) -> bool:
    """Insert a supplier (its columns, and now_ms); False when the code is taken."""
    return (
        db.run(
            "INSERT INTO suppliers (code, name, mode, settle_days, currency, payee, created_ms)"
            " VALUES (:code, :name, :mode, :settle_days, :currency, :payee, :now_ms)"
            " ON CONFLICT (code) DO NOTHING",
            **values,
        )
        == 1
    )


def set_supplier(db: Db, code: str, **changes: object) -> bool:
    """Change columns of a supplier (`SUPPLIER_COLUMNS`); tell whether there is one."""
    assert changes and set(changes) <= set(SUPPLIER_COLUMNS)
    sets = ", ".join(f"{name} = :{name}" for name in changes)
    return db.run(f"UPDATE suppliers SET {sets} WHERE code = :code", code=code, **changes) == 1


def posted(db: Db, event: str, ref: str, account: str) -> int:
    """Return what an entry of the ledger posted to an account."""
    return int(
        db.value(
            "SELECT CAST(coalesce(sum(p.amount_minor), 0) AS BIGINT) FROM ledger_entries e"
            " JOIN ledger_postings p ON p.entry_id = e.id"
            " WHERE e.event = :event AND e.ref = :ref AND p.account = :account",
            event=event,
            ref=ref,
            account=account,
        )
    )


def batch_totals(db: Db, code: str) -> Row:
    """Return how many batches and keys came from a supplier."""
    found = db.one(
        "SELECT count(*) AS batches, CAST(coalesce(sum(accepted - removed), 0) AS BIGINT) AS keys"
        " FROM batches WHERE supplier = :code AND state = 'accepted'",
        code=code,
    )
    assert found is not None
    return found
