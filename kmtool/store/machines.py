"""SQL of homes, of what sessions journalled, and of what a restore took out of sale."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.clock import NEVER_MS
from kmtool.domain.ids import SessionId
from kmtool.errors import Refused
from kmtool.store.db import Db, Row, in_clause
from kmtool.store.seen_keys import RETURNED

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


def given_up(db: Db) -> list[Row]:
    """Return the keys that others were sent in place of: fingerprint, place and parcel of these."""
    waiting = db.all(
        "SELECT fingerprint, channel, number, line_no, parcel_n FROM seen_keys"
        " WHERE state = 'waiting' AND replaced = 1 ORDER BY id"
    )
    return waiting + db.all(
        "SELECT k.fingerprint, o.channel, o.number, l.line_no, p.n AS parcel_n"
        " FROM replacements r JOIN allocations b ON b.id = r.new_allocation_id"
        " JOIN allocations a ON a.id = r.old_allocation_id JOIN keys k ON k.id = a.key_id"
        " JOIN lines l ON l.id = r.line_id JOIN orders o ON o.id = r.order_id"
        " LEFT JOIN parcels p ON p.id = r.parcel_id"
        " WHERE b.exposed_ms IS NOT NULL ORDER BY r.id"
    )


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


def last_journalled(db: Db, after: int, limit: int = 8) -> dict[int, int]:
    """Return the newest ended sessions that journalled (above a number) → how many records."""
    rows = db.all(
        "SELECT id, journalled FROM sessions WHERE state <> 'live' AND journalled > 0"
        " AND id > :after ORDER BY id DESC LIMIT :n",
        after=after,
        n=limit,
    )
    return {int(row["id"]): int(row["journalled"]) for row in rows}


def sendings(db: Db, pool: str) -> list[Row]:
    """Return every key that may have left and was not proved unsent, with its place, as sent.

    The place of a lent key is its lending, whose channel begins with `pool`. What a replay told of
    is among them, though its order or its file is not here yet.
    """
    rows = db.all(
        "SELECT k.fingerprint, o.channel, o.number, l.line_no, p.n AS parcel_n, a.exposed_ms"
        " FROM allocations a"
        " JOIN keys k ON k.id = a.key_id JOIN lines l ON l.id = a.line_id"
        " JOIN orders o ON o.id = l.order_id LEFT JOIN parcels p ON p.id = a.parcel_id"
        " WHERE a.exposed_ms IS NOT NULL AND a.state NOT IN ('reserved', 'withdrawn')"
        " AND NOT EXISTS (SELECT 1 FROM lent_keys t WHERE t.key_id = a.key_id"
        " AND t.line_id = a.line_id) ORDER BY a.exposed_ms, a.id"
    )
    lent = db.all(
        "SELECT k.fingerprint, d.pool, d.number, d.file_name, t.n AS line_no FROM lent_keys t"
        " JOIN lendings d ON d.id = t.lending_id JOIN keys k ON k.id = t.key_id"
        " WHERE t.state <> 'returned' ORDER BY t.lending_id, t.n"
    )
    waiting = db.all(
        "SELECT fingerprint, channel, number, line_no, parcel_n, 0 AS exposed_ms FROM seen_keys"
        " WHERE state = 'waiting' AND channel NOT LIKE :p ORDER BY id",
        p=RETURNED + "%",
    )
    return [
        *rows,
        *waiting,
        *(
            {
                **row,
                "channel": pool + row["pool"],
                "parcel_n": 0,
                "exposed_ms": 0 if row["file_name"] else NEVER_MS,  # no file yet: they are here
            }
            for row in lent
        ),
    ]


def come_back(db: Db, pool: str) -> list[Row]:
    """Return the keys that came back from a pool unused, with their place there.

    Some are not in this database (any more): a replay of the journal told of them.
    """
    rows = db.all(
        "SELECT k.fingerprint, d.pool, d.number, t.n AS line_no FROM lent_keys t"
        " JOIN lendings d ON d.id = t.lending_id JOIN keys k ON k.id = t.key_id"
        " WHERE t.state = 'returned' ORDER BY t.lending_id, t.n"
    )
    gone = db.all(
        "SELECT s.fingerprint, s.channel, s.number, s.line_no FROM seen_keys s"
        " WHERE s.channel LIKE :p AND NOT EXISTS (SELECT 1 FROM lent_keys t"
        "  JOIN lendings d ON d.id = t.lending_id JOIN keys k ON k.id = t.key_id"
        "  WHERE k.fingerprint = s.fingerprint AND d.number = s.number) ORDER BY s.id",
        p=RETURNED + pool + "%",
    )
    return [
        *({**row, "channel": pool + row["pool"], "parcel_n": 0} for row in rows),
        *({**row, "channel": row["channel"].removeprefix(RETURNED), "parcel_n": 0} for row in gone),
    ]


def delivered_keys(db: Db) -> set[bytes]:
    """Return the keys that a parcel brought to a buyer: each was journalled before."""
    rows = db.all(
        "SELECT k.fingerprint FROM allocations a JOIN keys k ON k.id = a.key_id"
        " WHERE a.state = 'delivered' AND a.parcel_id IS NOT NULL"
    )
    return {bytes(row["fingerprint"]) for row in rows}


UNPROVED = "stock_unproved"
"""Meta: a restore without a journal whose stock nobody has reconciled yet."""


def exposed_ever(db: Db) -> int:
    """Return how many keys were ever sent."""
    return int(db.value("SELECT count(*) FROM allocations WHERE exposed_ms IS NOT NULL"))


# ------------------------------------------------------------------ quarantine


def untried(db: Db) -> list[Row]:
    """Return the hand-overs and replacements that nobody has tried yet."""
    return db.all(
        "SELECT * FROM effects WHERE kind IN ('hand_over', 'replace') AND tries = 0"
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


def quarantine_batch(db: Db, batch_id: int, now_ms: int) -> int:
    """Take the free keys of a batch out of sale and remember which; return how many."""
    db.run(
        "INSERT INTO quarantined (key_id, at_ms) SELECT id, CAST(:now AS BIGINT) FROM keys"
        " WHERE state = 'free' AND batch_id = :batch ON CONFLICT (key_id) DO NOTHING",
        now=now_ms,
        batch=batch_id,
    )
    rows = db.all(
        "UPDATE keys SET state = 'quarantine', state_ms = :now"
        " WHERE state = 'free' AND batch_id = :batch RETURNING sku, uses_left",
        now=now_ms,
        batch=batch_id,
    )
    for sku in sorted({row["sku"] for row in rows}):
        n = sum(row["uses_left"] for row in rows if row["sku"] == sku)
        db.run("UPDATE stock SET free = free - :n WHERE sku = :s", n=n, s=sku)
    return len(rows)


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
