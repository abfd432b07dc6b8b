"""SQL of homes, of keys seen before a restore, and of what a restore took out of sale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kmtool.domain.ids import SessionId
from kmtool.errors import Refused
from kmtool.store.db import Db, Row, in_clause

REPLAYED = "replayed_session"
"""Meta: sessions up to this one were compared with the journal by a replay."""
EPOCH = "sender_epoch"
"""Meta: how often a sender was taken over; the name of the sender lock holds it."""
_ASK = 500


# ------------------------------------------------------------------ homes


def home(db: Db, machine: str = "") -> Row | None:
    """Return the newest home, or the newest one of a machine."""
    return db.one(
        "SELECT * FROM homes WHERE machine = :m OR :m = '' ORDER BY id DESC LIMIT 1", m=machine
    )


def add_home(db: Db, **values: object) -> None:
    """Write down where the database is at home from now on."""
    db.run(
        "INSERT INTO homes (token, machine, system, host, place, state, moved_to, since_ms)"
        " VALUES (:token, :machine, :system, :host, :place, 'live', '', :since_ms)",
        **values,
    )


def take_token(db: Db, token: str) -> None:
    """Give the newest home the token that the home file holds (a copy has an older one)."""
    db.run("DELETE FROM homes WHERE token = :t AND id <> (SELECT max(id) FROM homes)", t=token)
    db.run(
        "UPDATE homes SET token = :t, state = 'live', moved_to = '', retired_ms = NULL"
        " WHERE id = (SELECT max(id) FROM homes)",
        t=token,
    )


def retire_homes(db: Db, moved_to: str, now_ms: int, machine: str = "") -> int:
    """End all living homes (or those of one machine); return how many."""
    return db.run(
        "UPDATE homes SET state = 'retired', moved_to = :to, retired_ms = :now"
        " WHERE state = 'live' AND (machine = :m OR :m = '')",
        to=moved_to,
        now=now_ms,
        m=machine,
    )


def server_identity(db: Db) -> str:
    """Return what tells one PostgreSQL database from a copy of it."""
    row = db.one(
        "SELECT CAST(oid AS TEXT) AS oid, datname AS name FROM pg_database"
        " WHERE datname = current_database()"
    )
    assert row is not None
    cluster = db.value("SELECT CAST(system_identifier AS TEXT) FROM pg_control_system()")
    return f"postgresql:{cluster}:{row['oid']}:{row['name']}"


def create_database(db: Db, name: str) -> None:
    """Make an empty PostgreSQL database beside this one; `Refused` without the right to."""
    assert name.isidentifier()
    try:
        db.run(f'CREATE DATABASE "{name}"')
    except Exception as error:
        if type(error).__name__ != "InsufficientPrivilege":
            raise
        raise Refused(
            detail="a backup is tried in a database of its own, and this user may not make one",
            mend="ALTER ROLE … CREATEDB, or restore on another server with pg_restore",
        ) from None


def drop_database(db: Db, name: str) -> None:
    """Drop a database that was made for a while, whoever is still connected."""
    assert name.isidentifier()
    db.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


# ------------------------------------------------------------------ sessions and the journal


def sessions_known(db: Db, numbers: Sequence[int]) -> dict[int, int]:
    """Return session → how many records it may have written to the journal."""
    found: dict[int, int] = {}
    ordered = sorted(set(numbers))
    for start in range(0, len(ordered), _ASK):
        marks, params = in_clause(ordered[start : start + _ASK])
        for row in db.all(f"SELECT id, journalled FROM sessions WHERE id IN {marks}", **params):
            found[int(row["id"])] = int(row["journalled"])
    return found


def count_journalled(db: Db, session: SessionId, n: int) -> int:
    """Add n records to what a session journals; return the number before them."""
    return (
        int(
            db.value(
                "UPDATE sessions SET journalled = journalled + :n WHERE id = :id"
                " RETURNING journalled",
                n=n,
                id=session,
            )
        )
        - n
    )


def last_session(db: Db) -> int:
    """Return the highest session number, 0 when there was none."""
    return int(db.value("SELECT coalesce(max(id), 0) FROM sessions"))


def skip_sessions(db: Db, number: int, token: int, host: str, now_ms: int) -> None:
    """Insert an ended session under a given number, so that no lower one is given out again."""
    db.run(
        "INSERT INTO sessions (id, kind, token, host, pid, state, started_ms, heartbeat_ms,"
        " ended_ms) VALUES (:id, 'replay', :token, :host, 0, 'ended', :now, :now, :now)",
        id=number,
        token=token,
        host=host,
        now=now_ms,
    )
    if db.dialect == "postgresql":
        db.value(
            "SELECT setval(pg_get_serial_sequence('sessions', 'id'), CAST(:id AS BIGINT))",
            id=number,
        )


def exposed_ever(db: Db) -> int:
    """Return how many keys were ever sent."""
    return int(db.value("SELECT count(*) FROM allocations WHERE exposed_ms IS NOT NULL"))


# ------------------------------------------------------------------ replay


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
            "SELECT a.id, a.key_id, a.line_id, a.state, a.exclusive, l.line_no, l.order_id,"
            " l.state AS line_state, o.channel, o.number FROM allocations a"
            " JOIN lines l ON l.id = a.line_id JOIN orders o ON o.id = l.order_id"
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
    """Count one more use of a shared key; the last one ends it."""
    row = db.one(
        "UPDATE keys SET uses_left = uses_left - 1, state_ms = :now,"
        " state = CASE WHEN uses_left <= 1 THEN 'delivered' ELSE state END"
        " WHERE id = :id AND state = 'free' AND uses_left > 0 RETURNING sku",
        now=now_ms,
        id=key_id,
    )
    if row is not None:
        db.run("UPDATE stock SET free = free - 1 WHERE sku = :s", s=row["sku"])


def bind(db: Db, values: Row) -> None:
    """Bind a key that was sent to its line again."""
    db.run(
        "INSERT INTO allocations (line_id, key_id, batch_id, sku, state, exclusive, mode, cost_e5,"
        " currency, reserved_ms, exposed_ms) VALUES (:line_id, :key_id, :batch_id, :sku,"
        " 'exposed', :exclusive, :mode, :cost_e5, :currency, :now, :now)",
        **values,
    )


def carried_by(db: Db, line_ids: Sequence[int], parcel: int) -> None:
    """Say which parcel carries the keys that were bound to lines again."""
    marks, params = in_clause(line_ids)
    db.run(
        "UPDATE allocations SET parcel_id = :p WHERE parcel_id IS NULL"
        f" AND state = 'exposed' AND line_id IN {marks}",
        p=parcel,
        **params,
    )


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
        " AND state IN ('exposed', 'delivered')",
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
        " state, seen_ms) VALUES (:fingerprint, :channel, :number, :line_no, :parcel_n,"
        " :session_id, 'waiting', :seen_ms)"
        " ON CONFLICT (fingerprint, channel, number, line_no) DO NOTHING",
        rows,
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
        "SELECT DISTINCT k.id, s.channel, s.number FROM keys k"
        " JOIN seen_keys s ON s.fingerprint = k.fingerprint AND s.state = 'waiting'"
        " WHERE k.batch_id = :b ORDER BY k.id",
        b=batch_id,
    )


def seen_fingerprints(db: Db) -> set[bytes]:
    """Return the keys that wait for their order or their file."""
    rows = db.all("SELECT DISTINCT fingerprint FROM seen_keys WHERE state = 'waiting'")
    return {bytes(row["fingerprint"]) for row in rows}


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


# ------------------------------------------------------------------ quarantine


def untried(db: Db) -> list[Row]:
    """Return the hand-overs that nobody has tried yet."""
    return db.all(
        "SELECT * FROM effects WHERE kind = 'hand_over' AND tries = 0"
        " AND state IN ('pending', 'retry_at', 'human') ORDER BY id"
    )


def quarantine_free(db: Db, now_ms: int) -> int:
    """Take every free key out of sale and remember which; return how many."""
    db.run(
        "INSERT INTO quarantined (key_id, at_ms) SELECT id, CAST(:now AS BIGINT) FROM keys"
        " WHERE state = 'free' ON CONFLICT (key_id) DO NOTHING",
        now=now_ms,
    )
    db.run("UPDATE stock SET free = 0")
    return db.run(
        "UPDATE keys SET state = 'quarantine', state_ms = :now WHERE state = 'free'", now=now_ms
    )


def quarantined(db: Db, sku: str = "", batch: str = "") -> list[Row]:
    """Return the keys that a restore took out of sale, by batch and row."""
    return db.all(
        "SELECT k.id, k.fingerprint, k.sku, k.tail, b.number AS batch FROM quarantined q"
        " JOIN keys k ON k.id = q.key_id JOIN batches b ON b.id = k.batch_id"
        " WHERE k.state = 'quarantine' AND (k.sku = :s OR :s = '')"
        " AND (b.number = :b OR :b = '') ORDER BY k.batch_id, k.line_no",
        s=sku,
        b=batch,
    )


def quarantined_count(db: Db) -> int:
    """Return how many keys a restore keeps out of sale."""
    return int(
        db.value(
            "SELECT count(*) FROM quarantined q JOIN keys k ON k.id = q.key_id"
            " WHERE k.state = 'quarantine'"
        )
    )


def unquarantine(db: Db, key_ids: Sequence[int], state: str, now_ms: int) -> int:
    """Set keys free again, or void; the counters follow. Return how many."""
    assert state in {"free", "void"}
    done = 0
    for start in range(0, len(key_ids), _ASK):
        marks, params = in_clause(key_ids[start : start + _ASK])
        rows = db.all(
            "UPDATE keys SET state = :state, state_ms = :now"
            f" WHERE state = 'quarantine' AND id IN {marks} RETURNING sku, uses_left",
            state=state,
            now=now_ms,
            **params,
        )
        db.run(f"DELETE FROM quarantined WHERE key_id IN {marks}", **params)
        done += len(rows)
        if state == "free":
            for sku in sorted({row["sku"] for row in rows}):
                n = sum(row["uses_left"] for row in rows if row["sku"] == sku)
                db.run("UPDATE stock SET free = free + :n WHERE sku = :s", n=n, s=sku)
    return done


# ------------------------------------------------------------------ figures for questions


def figures(db: Db) -> Row:
    """Return what a person knows a shop by: orders, keys, free keys, the last change."""
    row = db.one(
        "SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM keys) AS keys,"
        " (SELECT count(*) FROM keys WHERE state = 'free') AS free,"
        " (SELECT coalesce(max(at_ms), 0) FROM audit) AS last_ms"
    )
    assert row is not None
    return row
