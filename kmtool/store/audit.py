"""SQL of the audit: chains of rows that can be added to and never changed unseen.

- A row's hash is an HMAC over `content`: its place (chain, n), what it tells, and the hash of the
  row before it. So a changed, moved, missing or added row breaks the chain at its place.
- A chain per session, chain 0 for commands without one: on PostgreSQL senders do not wait for each
  other. The head (count, last hash) is locked and read once per `append` and written once; a cut
  tail with a cut head is found by the anchors outside (`operations.audit`).
- Rows from before the chain (`chain` is NULL) are sealed together by the first row of chain 0: its
  detail holds their count and one HMAC over all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from kmtool.store.db import Db, Row

COMMANDS = 0
"""The chain of whatever has no session."""
GENESIS = "audit.genesis"
PAGE = 10_000
Mac = Callable[[bytes], bytes]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def content(
    chain: int,
    n: int,
    at_ms: int,
    session: int | None,
    actor: str,
    action: str,
    subject: str,
    detail: str,
    prev: bytes,
) -> bytes:
    """Return the canonical bytes of a row: a JSON array, so no two rows share their bytes."""
    row = [chain, n, at_ms, session, actor, action, subject, detail, prev.hex()]
    return _encode(row).encode("utf-8", "surrogatepass")


def append(
    db: Db,
    session: int | None,
    at_ms: int,
    actor: str,
    rows: Sequence[tuple[str, str, str]],
    mac: Mac,
) -> None:
    """Add rows (action, object, detail) to a session's chain; call it in their transaction."""
    if not rows:
        return
    chain = COMMANDS if session is None else session
    head = _locked_head(db, chain, at_ms, mac)
    n, prev = int(head["count"]), bytes(head["hash"])
    values = []
    for action, subject, detail in rows:
        n += 1
        found = mac(content(chain, n, at_ms, session, actor, action, subject, detail, prev))
        values.append(
            {
                "at": at_ms,
                "session": session,
                "actor": actor,
                "action": action,
                "object": subject,
                "detail": detail,
                "chain": chain,
                "n": n,
                "prev": prev,
                "hash": found,
            }
        )
        prev = found
    sql = (
        "INSERT INTO audit"
        " (at_ms, session_id, actor, action, object, detail, chain, n, prev, hash) VALUES"
        " (:at, :session, :actor, :action, :object, :detail, :chain, :n, :prev, :hash)"
    )
    if len(values) == 1:
        db.run(sql, **values[0])
    else:
        db.many(sql, values)
    db.run(
        "UPDATE audit_heads SET count = :n, hash = :hash, at_ms = :at WHERE chain = :chain",
        n=n,
        hash=prev,
        at=at_ms,
        chain=chain,
    )


def old_rows(db: Db) -> Iterator[Row]:
    """Yield the rows from before the chain, oldest first."""
    last = 0
    while True:
        rows = db.all(
            "SELECT seq, at_ms, session_id, actor, action, object, detail FROM audit"
            " WHERE chain IS NULL AND seq > :last ORDER BY seq LIMIT :page",
            last=last,
            page=PAGE,
        )
        if not rows:
            return
        yield from rows
        last = rows[-1]["seq"]


def old_rows_digest(rows: Iterable[Row], mac: Mac) -> tuple[int, bytes]:
    """Return how many rows there are and one HMAC over all of them, each with its `seq`."""
    count, digest = 0, b""
    for row in rows:
        count += 1
        digest = mac(
            content(
                -1,
                row["seq"],
                row["at_ms"],
                row["session_id"],
                row["actor"],
                row["action"],
                row["object"],
                row["detail"],
                digest,
            )
        )
    return count, digest


def _locked_head(db: Db, chain: int, at_ms: int, mac: Mac) -> Row:
    sql = "SELECT count, hash FROM audit_heads WHERE chain = :chain {lock}"
    head = db.one(sql, chain=chain)
    if head is not None:
        return head
    if chain != COMMANDS:
        _locked_head(db, COMMANDS, at_ms, mac)  # whoever comes first seals the old rows
    db.run(
        "INSERT INTO audit_heads (chain, count, hash, at_ms) VALUES (:chain, 0, :empty, :at)"
        " ON CONFLICT (chain) DO NOTHING",
        chain=chain,
        empty=b"",
        at=at_ms,
    )
    if chain == COMMANDS:
        _seal_old_rows(db, at_ms, mac)
    head = db.one(sql, chain=chain)
    assert head is not None, "the head of a chain was just made"
    return head


def _seal_old_rows(db: Db, at_ms: int, mac: Mac) -> None:
    """Write the first row of chain 0 when the audit is older than the chain; once only."""
    head = db.one("SELECT count FROM audit_heads WHERE chain = 0 {lock}")
    assert head is not None, "chain 0 has a head"
    if head["count"] or db.value("SELECT 1 FROM audit WHERE chain IS NULL LIMIT 1") is None:
        return
    count, digest = old_rows_digest(old_rows(db), mac)
    append(db, None, at_ms, "kmtool", [(GENESIS, "audit", f"{count} {digest.hex()}")], mac)
