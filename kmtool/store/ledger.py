"""SQL of the double-entry ledger: append-only, every entry sums to zero per currency.

A positive posting is a debit. An entry has an identity (event, ref), so posting the same business
fact twice changes nothing; a correction is a reversing entry of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.store.db import Db, Row

Posting = tuple[str, str, int]
"""(account, currency, amount in minor units; debit positive)"""


def post(db: Db, at_ms: int, event: str, ref: str, note: str, postings: Sequence[Posting]) -> bool:
    """Post one entry inside the open transaction; False when (event, ref) is posted already."""
    sums: dict[str, int] = {}
    for _, currency, amount in postings:
        sums[currency] = sums.get(currency, 0) + amount
    assert not any(sums.values()), f"entry {event} {ref} does not sum to zero: {sums}"
    entry = db.value(
        "INSERT INTO ledger_entries (at_ms, event, ref, note) VALUES (:at, :event, :ref, :note)"
        " ON CONFLICT (event, ref) DO NOTHING RETURNING id",
        at=at_ms,
        event=event,
        ref=ref,
        note=note,
    )
    if entry is None:
        return False
    db.many(
        "INSERT INTO ledger_postings (entry_id, account, currency, amount_minor)"
        " VALUES (:entry, :account, :currency, :amount)",
        [
            {"entry": entry, "account": account, "currency": currency, "amount": amount}
            for account, currency, amount in postings
            if amount
        ],
    )
    return True


def balance(db: Db, account: str, currency: str) -> int:
    """Return the balance of one account (debit positive)."""
    return int(
        db.value(
            "SELECT CAST(coalesce(sum(amount_minor), 0) AS BIGINT) FROM ledger_postings"
            " WHERE account = :a AND currency = :c",
            a=account,
            c=currency,
        )
    )


def balances(db: Db) -> list[Row]:
    """Return all balances, by account."""
    return db.all(
        "SELECT account, currency, CAST(sum(amount_minor) AS BIGINT) AS balance_minor"
        " FROM ledger_postings GROUP BY account, currency ORDER BY account, currency"
    )
