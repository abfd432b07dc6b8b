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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as _quoted

from kmtool.store.db import Db, Row

COMMANDS = 0
"""The chain of whatever has no session."""
GENESIS = "audit.genesis"
SEEN = ("key.reveal", "key.export", "key.evidence", "key.shown", "key.lent")
"""A person saw the key that is the row's object, or it was placed into a platform's pool. All but
the last are counted as reveals (and named by the index `audit_seen`)."""
PAGE = 10_000
LOWEST = -(2**63)
COLUMNS = "seq, at_ms, session_id, actor, action, object, detail, chain, n, prev, hash"
Mac = Callable[[bytes], bytes]

_SEEN = "('key.reveal', 'key.export', 'key.evidence', 'key.shown')"


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
    """Return the canonical bytes of a row: a JSON array, so no two rows share their bytes.

    It is what `json.dumps` writes without spaces and escapes, in a third of the time.
    """
    by = "null" if session is None else session
    row = (
        f"[{chain},{n},{at_ms},{by},{_quoted(actor)},{_quoted(action)},{_quoted(subject)},"
        f'{_quoted(detail)},"{prev.hex()}"]'
    )
    return row.encode("utf-8", "surrogatepass")


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
    db.insert(
        "INSERT INTO audit (at_ms, session_id, actor, action, object, detail, chain, n, prev,"
        " hash)",
        "(:at, :session, :actor, :action, :object, :detail, :chain, :n, :prev, :hash)",
        values,
    )
    db.run(
        "UPDATE audit_heads SET count = :n, hash = :hash, at_ms = :at WHERE chain = :chain",
        n=n,
        hash=prev,
        at=at_ms,
        chain=chain,
    )


def heads(db: Db) -> list[Row]:
    """Return the heads of all chains."""
    return db.all("SELECT chain, count, hash, verified FROM audit_heads ORDER BY chain")


def heads_since(db: Db, since_ms: int) -> list[Row]:
    """Return the heads of chains that grew since a moment."""
    return db.all(
        "SELECT chain, count, hash FROM audit_heads WHERE at_ms >= :since AND count > 0"
        " ORDER BY chain",
        since=since_ms,
    )


def head(db: Db, chain: int) -> Row | None:
    """Return the head of a chain and hold it until the transaction ends."""
    sql = "SELECT chain, count, hash, verified FROM audit_heads WHERE chain = :chain {lock}"
    return db.one(sql, chain=chain)


def gaps(db: Db) -> list[int]:
    """Return chains whose rows are not numbered from 1 without a gap."""
    rows = db.all(
        "SELECT chain FROM audit WHERE chain IS NOT NULL GROUP BY chain"
        " HAVING min(n) <> 1 OR max(n) <> count(*) ORDER BY chain"
    )
    return [int(row["chain"]) for row in rows]


def walk(db: Db) -> Iterator[Row]:
    """Yield all chained rows by (chain, n)."""
    chain = n = LOWEST
    while True:
        rows = db.all(
            f"SELECT {COLUMNS} FROM audit WHERE (chain, n) > (:chain, :n)"
            " ORDER BY chain, n LIMIT :page",
            chain=chain,
            n=n,
            page=PAGE,
        )
        yield from rows
        if len(rows) < PAGE:
            return
        chain, n = rows[-1]["chain"], rows[-1]["n"]


def after(db: Db, chain: int, n: int) -> Iterator[Row]:
    """Yield the rows of one chain that follow its n-th."""
    while True:
        rows = db.all(
            f"SELECT {COLUMNS} FROM audit WHERE chain = :chain AND n > :n ORDER BY n LIMIT :page",
            chain=chain,
            n=n,
            page=PAGE,
        )
        yield from rows
        if len(rows) < PAGE:
            return
        n = rows[-1]["n"]


def hash_at(db: Db, chain: int, n: int) -> bytes | None:
    """Return the hash of a chain's n-th row, None when it is not there."""
    found = db.value("SELECT hash FROM audit WHERE chain = :chain AND n = :n", chain=chain, n=n)
    return None if found is None else bytes(found)


def note_verified(db: Db, chain: int, n: int) -> None:
    """Remember up to which row a chain was recomputed."""
    db.run("UPDATE audit_heads SET verified = :n WHERE chain = :chain", n=n, chain=chain)


def counts(db: Db) -> tuple[int, int]:
    """Return how many rows there are: in chains, and from before them."""
    row = db.one("SELECT count(*) AS rows, count(chain) AS chained FROM audit")
    assert row is not None
    return int(row["chained"]), int(row["rows"]) - int(row["chained"])


def genesis(db: Db) -> str:
    """Return what the first row of chain 0 says of the rows before the chains, or nothing."""
    found = db.value(
        "SELECT detail FROM audit WHERE chain = 0 AND n = 1 AND action = :action", action=GENESIS
    )
    return "" if found is None else str(found)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are asked for; empty means all. An action may end in `.*`."""

    object: str = ""
    actor: str = ""
    action: str = ""
    since_ms: int = 0


def listing(db: Db, wanted: Wanted, limit: int | None, *, newest: bool = True) -> list[Row]:
    """Return rows as they are asked for, newest first or in the order they were written."""
    where, params = _where(wanted)
    order = "DESC" if newest else "ASC"
    return db.all(
        f"SELECT {COLUMNS} FROM audit {where} ORDER BY seq {order} LIMIT :limit",
        limit=1_000_000_000 if limit is None else limit,
        **params,
    )


def count(db: Db, wanted: Wanted) -> int:
    """Return how many rows are asked for."""
    where, params = _where(wanted)
    return int(db.value(f"SELECT count(*) FROM audit {where}", **params))


def _where(wanted: Wanted) -> tuple[str, dict[str, object]]:
    parts: list[str] = []
    params: dict[str, object] = {}
    for name, value in (("object", wanted.object), ("actor", wanted.actor)):
        if value:
            parts.append(f"{name} = :{name}")
            params[name] = value
    if wanted.action.endswith(".*"):
        parts.append("action >= :low AND action < :high")
        params |= {"low": wanted.action[:-1], "high": wanted.action[:-2] + "/"}
    elif wanted.action:
        parts.append("action = :action")
        params["action"] = wanted.action
    if wanted.since_ms:
        parts.append("at_ms >= :since")
        params["since"] = wanted.since_ms
    return ("WHERE " + " AND ".join(parts) if parts else ""), params


def sightings(db: Db, key_id: int) -> list[Row]:
    """Return the rows that say who opened a key, oldest first."""
    return db.all(
        "SELECT at_ms, actor, action, detail, session_id FROM audit"
        f" WHERE object = :object AND (action IN {_SEEN} OR action = 'key.lent') ORDER BY seq",
        object=f"key:{key_id}",
    )


def seen_since(db: Db, since_ms: int) -> Row:
    """Return how many keys were opened since a moment, and the last of them: actor and action."""
    row = db.one(
        f"SELECT count(*) AS n FROM audit WHERE action IN {_SEEN} AND at_ms >= :since",
        since=since_ms,
    )
    last = db.one(
        f"SELECT actor, action FROM audit WHERE action IN {_SEEN} AND at_ms >= :since"
        " ORDER BY at_ms DESC, seq DESC LIMIT 1",
        since=since_ms,
    )
    return {"n": int(row["n"]) if row else 0, **(last or {"actor": "", "action": ""})}


def sends(db: Db, key_id: int) -> list[Row]:
    """Return the tries that may have shown a key to its buyer, with who sent, oldest first.

    Keys bound before parcels were noted at them count for every parcel of their line since then.
    """
    return db.all(
        "SELECT t.started_ms, t.state, t.session_id, e.route, e.kind, o.channel, o.number,"
        " s.kind AS session_kind, s.host, (SELECT min(x.actor) FROM audit x"
        "  WHERE x.object = 'order:' || o.channel || ':' || o.number"
        "  AND x.session_id = t.session_id) AS actor"
        " FROM allocations a JOIN parcel_lines l ON l.line_id = a.line_id"
        " JOIN parcels p ON p.id = l.parcel_id"
        " JOIN effects e ON e.parcel_id = p.id JOIN attempts t ON t.effect_id = e.id"
        " JOIN orders o ON o.id = e.order_id JOIN sessions s ON s.id = t.session_id"
        " WHERE a.key_id = :key AND a.exposed_ms IS NOT NULL AND (a.parcel_id = p.id"
        "  OR (a.parcel_id IS NULL AND p.created_ms >= a.reserved_ms))"
        " ORDER BY t.started_ms, t.id",
        key=key_id,
    )


def keys_of_order(db: Db, order_id: int) -> list[Row]:
    """Return all keys an order ever had."""
    return db.all(
        "SELECT DISTINCT k.id, k.tail, k.sku, k.state FROM lines l"
        " JOIN allocations a ON a.line_id = l.id JOIN keys k ON k.id = a.key_id"
        " WHERE l.order_id = :order ORDER BY k.id",
        order=order_id,
    )


def keys_with_tail(db: Db, tail: str) -> list[Row]:
    """Return keys with this ending as it is shown, at most a hundred."""
    return db.all(
        "SELECT id, tail, sku, state FROM keys WHERE tail = :tail ORDER BY id LIMIT 100", tail=tail
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
