"""SQL of the double-entry ledger: append-only, every entry sums to zero per currency.

A positive posting is a debit. An entry has an identity (event, ref), so posting the same business
fact twice changes nothing; a correction is a reversing entry of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.store.db import Db, Row

Posting = tuple[str, str, int]
"""(account, currency, amount in minor units; debit positive)"""


@dataclass(slots=True)  # one for each order: a frozen one takes four times as long to make
class Entry:
    """An entry to be posted; its identity is (event, ref)."""

    event: str
    ref: str
    note: str
    postings: Sequence[Posting]


def post(db: Db, at_ms: int, event: str, ref: str, note: str, postings: Sequence[Posting]) -> bool:
    """Post one entry inside the open transaction; False when (event, ref) is posted already."""
    return post_many(db, at_ms, [Entry(event, ref, note, postings)]) == 1


def post_many(db: Db, at_ms: int, entries: Sequence[Entry]) -> int:
    """Post entries inside the open transaction; return how many were not posted before."""
    for entry in entries:
        sums: dict[str, int] = {}
        for _, currency, amount in entry.postings:
            sums[currency] = sums.get(currency, 0) + amount
        assert not any(sums.values()), f"{entry.event} {entry.ref} does not sum to zero: {sums}"
    fresh = db.insert_all(
        "INSERT INTO ledger_entries (at_ms, event, ref, note)",
        "(:at_ms, :event, :ref, :note)",
        [{"at_ms": at_ms, "event": e.event, "ref": e.ref, "note": e.note} for e in entries],
        "ON CONFLICT (event, ref) DO NOTHING RETURNING id, event, ref",
    )
    numbers = {(row["event"], row["ref"]): row["id"] for row in fresh}
    rows = [
        {"entry": number, "account": account, "currency": currency, "amount": amount}
        for entry in entries
        if (number := numbers.pop((entry.event, entry.ref), None)) is not None
        for account, currency, amount in entry.postings
        if amount
    ]
    db.insert(
        "INSERT INTO ledger_postings (entry_id, account, currency, amount_minor)",
        "(:entry, :account, :currency, :amount)",
        rows,
    )
    return len(fresh)


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
