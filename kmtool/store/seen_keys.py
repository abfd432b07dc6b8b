"""SQL of keys that were sent before a restore: where they are, and back to their lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kmtool.store.db import Db, Row, in_clause

RETURNED = "returned:"
"""How the place begins from which a key came back that is not in this database."""
_ASK = 500
"""How many keys one question names."""


def keys_of(db: Db, fingerprints: Sequence[bytes]) -> dict[bytes, Row]:
    """Return fingerprint → the key with what is needed to bind it."""
    found: dict[bytes, Row] = {}
    for start in range(0, len(fingerprints), _ASK):
        marks, params = in_clause(fingerprints[start : start + _ASK])
        for row in db.all(
            "SELECT k.id, k.fingerprint, k.sealed, k.data_key_id, k.tail, k.sku, k.batch_id,"
            " k.state, k.uses, k.uses_left, b.mode, b.cost_e5, b.currency"
            " FROM keys k JOIN batches b ON b.id = k.batch_id"
            f" WHERE k.fingerprint IN {marks}",
            **params,
        ):
            found[bytes(row["fingerprint"])] = row
    return found


def bonds(db: Db, key_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Return key → its bonds that were not undone, with the place of each."""
    found: dict[int, list[Row]] = {}
    for start in range(0, len(key_ids), _ASK):
        marks, params = in_clause(key_ids[start : start + _ASK])
        for row in db.all(
            "SELECT a.id, a.key_id, a.line_id, a.state, a.exclusive, a.parcel_id, l.line_no,"
            " l.order_id, l.state AS line_state, o.channel, o.number, p.n AS parcel_n"
            " FROM allocations a"
            " JOIN lines l ON l.id = a.line_id JOIN orders o ON o.id = l.order_id"
            " LEFT JOIN parcels p ON p.id = a.parcel_id"
            f" WHERE a.state <> 'withdrawn' AND a.key_id IN {marks} ORDER BY a.id",
            **params,
        ):
            found.setdefault(int(row["key_id"]), []).append(row)
    return found


def take_out(db: Db, key_id: int, now_ms: int) -> None:
    """Take a key that was sent off the shelf: `exposed`, and the counter knows."""
    sku = db.value("SELECT sku FROM keys WHERE id = :id AND state = 'free'", id=key_id)
    db.run(
        "UPDATE keys SET state = 'exposed', uses_left = 0, state_ms = :now WHERE id = :id"
        " AND state IN ('free', 'reserved', 'expired', 'quarantine', 'lent')",
        now=now_ms,
        id=key_id,
    )
    if sku is not None:
        db.run("UPDATE stock SET free = free - 1 WHERE sku = :s", s=sku)
    db.run("DELETE FROM quarantined WHERE key_id = :id", id=key_id)


def use_once(db: Db, key_id: int, now_ms: int) -> None:
    """Count one more use of a shared key, in sale or out of it; the last one in sale ends it."""
    row = db.one(
        "SELECT sku, state, uses_left FROM keys WHERE id = :id AND uses_left > 0", id=key_id
    )
    if row is None:
        return
    is_over = row["uses_left"] == 1 and row["state"] in {"free", "quarantine", "expired"}
    db.run(
        "UPDATE keys SET uses_left = uses_left - 1, state = :state, state_ms = :now WHERE id = :id",
        state="delivered" if is_over else row["state"],
        now=now_ms,
        id=key_id,
    )
    if row["state"] == "free":
        db.run("UPDATE stock SET free = free - 1 WHERE sku = :s", s=row["sku"])
    elif is_over:
        db.run("DELETE FROM quarantined WHERE key_id = :id", id=key_id)


def bind(db: Db, values: Row) -> None:
    """Bind a key that was sent to its line again."""
    db.run(
        "INSERT INTO allocations (line_id, key_id, batch_id, sku, state, exclusive, mode, cost_e5,"
        " currency, reserved_ms, exposed_ms) VALUES (:line_id, :key_id, :batch_id, :sku,"
        " 'exposed', :exclusive, :mode, :cost_e5, :currency, :now, :now)",
        **values,
    )


def carried_by(db: Db, line_id: int, key_ids: Sequence[int], parcel: int) -> None:
    """Say which parcel carries the keys that were bound to a line again."""
    marks, params = in_clause(key_ids)
    db.run(
        "UPDATE allocations SET parcel_id = :p WHERE state = 'exposed' AND line_id = :l"
        f" AND key_id IN {marks}",
        p=parcel,
        l=line_id,
        **params,
    )


def has_parcel(db: Db, order_id: int, n: int) -> bool:
    """Tell whether an order has a parcel of that number here."""
    found = db.value("SELECT 1 FROM parcels WHERE order_id = :o AND n = :n", o=order_id, n=n)
    return found is not None


def expose_bond(db: Db, allocation_id: int, now_ms: int) -> None:
    """A bond that was reserved when the copy was made had its key sent since."""
    db.run(
        "UPDATE allocations SET state = 'exposed', exposed_ms = :now"
        " WHERE id = :id AND state = 'reserved'",
        now=now_ms,
        id=allocation_id,
    )


def undo_bond(db: Db, allocation_id: int) -> None:
    """End a bond that the journal proves was given up before the key went elsewhere."""
    db.run("UPDATE allocations SET state = 'withdrawn' WHERE id = :id", id=allocation_id)


def replace_bond(db: Db, allocation_id: int, key_id: int, now_ms: int) -> None:
    """Mark a key of a line as replaced: a later one was sent in its place."""
    db.run("UPDATE allocations SET state = 'replaced' WHERE id = :id", id=allocation_id)
    db.run(
        "UPDATE keys SET state = 'defective', state_ms = :now WHERE id = :id"
        " AND state IN ('exposed', 'delivered') AND uses <= 1",
        now=now_ms,
        id=key_id,
    )


def set_line_keys(db: Db, line_id: int, sku: str, needed: int) -> None:
    """Give a line the product and the number of keys that were sent for it."""
    db.run(
        "UPDATE lines SET sku = :sku, needed = :n,"
        " kind = (SELECT kind FROM products WHERE sku = :sku) WHERE id = :id",
        sku=sku,
        n=needed,
        id=line_id,
    )


def remember_seen(db: Db, rows: Iterable[Row]) -> None:
    """Remember keys as sent for a line; one that is known as such stays as it is."""
    db.many(
        "INSERT INTO seen_keys (fingerprint, channel, number, line_no, parcel_n, session_id,"
        " state, replaced, seen_ms) VALUES (:fingerprint, :channel, :number, :line_no, :parcel_n,"
        " :session_id, 'waiting', :replaced, :seen_ms)"
        " ON CONFLICT (fingerprint, channel, number, line_no) DO NOTHING",
        rows,
    )


def remember_returned(db: Db, rows: Iterable[Row]) -> None:
    """Remember that keys came back from their places (fingerprint, channel, number, line_no, now).

    Nothing waits for them: such a place is an order of no channel, its name has a colon.
    """
    db.many(
        "INSERT INTO seen_keys (fingerprint, channel, number, line_no, parcel_n, session_id,"
        " state, replaced, seen_ms, bound_ms) VALUES (:fingerprint, :channel, :number, :line_no,"
        " 0, 0, 'bound', 0, :now, :now)"
        " ON CONFLICT (fingerprint, channel, number, line_no) DO NOTHING",
        [{**row, "channel": RETURNED + row["channel"]} for row in rows],
    )


def forget_seen(db: Db, fingerprint: bytes) -> int:
    """Forget a key whose release was proved."""
    return db.run(
        "DELETE FROM seen_keys WHERE fingerprint = :f AND state = 'waiting'", f=fingerprint
    )


def any_seen(db: Db) -> bool:
    """Tell whether a key sent before a restore still waits for its order."""
    return db.value("SELECT 1 FROM seen_keys WHERE state = 'waiting' LIMIT 1") is not None


def seen_of_order(db: Db, channel: str, number: str) -> list[Row]:
    """Return the keys that were sent for an order and wait for it, as they were sent."""
    return db.all(
        "SELECT * FROM seen_keys WHERE channel = :c AND number = :n AND state = 'waiting'"
        " ORDER BY id",
        c=channel,
        n=number,
    )


def seen_orders(db: Db, channel: str = "") -> list[Row]:
    """Return the orders that keys wait for: channel, number, keys, since, is the order here."""
    return db.all(
        "SELECT s.channel, s.number, count(*) AS keys, min(s.seen_ms) AS since_ms,"
        " max(CASE WHEN o.id IS NULL THEN 0 ELSE 1 END) AS here,"
        " CAST(sum(CASE WHEN k.id IS NULL THEN 1 ELSE 0 END) AS BIGINT) AS unknown"
        " FROM seen_keys s LEFT JOIN orders o ON o.channel = s.channel AND o.number = s.number"
        " LEFT JOIN keys k ON k.fingerprint = s.fingerprint"
        " WHERE s.state = 'waiting' AND (s.channel = :c OR :c = '')"
        " GROUP BY s.channel, s.number ORDER BY s.channel, s.number",
        c=channel,
    )


def seen_in_batch(db: Db, batch_id: int) -> list[Row]:
    """Return the keys of a batch that were sent before a restore."""
    return db.all(
        "SELECT DISTINCT k.id, k.uses, s.channel, s.number FROM keys k"
        " JOIN seen_keys s ON s.fingerprint = k.fingerprint AND s.state = 'waiting'"
        " WHERE k.batch_id = :b ORDER BY k.id, s.channel, s.number",
        b=batch_id,
    )


def seen_fingerprints(db: Db) -> set[bytes]:
    """Return the keys that wait for their order or their file."""
    rows = db.all("SELECT DISTINCT fingerprint FROM seen_keys WHERE state = 'waiting'")
    return {bytes(row["fingerprint"]) for row in rows}


def waiting_places(db: Db) -> set[tuple[bytes, str, str, str]]:
    """Return (fingerprint, channel, number, line) of the keys that wait."""
    rows = db.all("SELECT * FROM seen_keys WHERE state = 'waiting'")
    return {
        (bytes(row["fingerprint"]), row["channel"], row["number"], row["line_no"]) for row in rows
    }


def shared_keys(db: Db) -> set[bytes]:
    """Return the keys that serve several buyers: they stay for sale after they were sent."""
    rows = db.all("SELECT fingerprint FROM keys WHERE uses > 1")
    return {bytes(row["fingerprint"]) for row in rows}


def seen_bound(db: Db, ids: Sequence[int], now_ms: int) -> None:
    """The keys have their line again."""
    for start in range(0, len(ids), _ASK):
        marks, params = in_clause(ids[start : start + _ASK])
        db.run(
            f"UPDATE seen_keys SET state = 'bound', bound_ms = :now WHERE id IN {marks}",
            now=now_ms,
            **params,
        )


def seen_figures(db: Db) -> tuple[int, int]:
    """Return (keys that wait for their order, keys that are not in this database)."""
    row = db.one(
        "SELECT count(*) AS n, CAST(coalesce(sum(CASE WHEN k.id IS NULL THEN 1 ELSE 0 END), 0)"
        " AS BIGINT) AS unknown FROM seen_keys s"
        " LEFT JOIN keys k ON k.fingerprint = s.fingerprint WHERE s.state = 'waiting'"
    )
    assert row is not None
    return int(row["n"]), int(row["unknown"])
