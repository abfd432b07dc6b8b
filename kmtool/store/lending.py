"""SQL of keys lent to a platform's own pool, and of what its exports said.

Only whole keys (of one use, no picture) are lent. Every change of a key's state is a
compare-and-set and says so by its result.
"""

from __future__ import annotations

from collections.abc import Iterable

from kmtool.store.db import Db, Row

POOL = "pool-"
"""How the channel that stands for a pool begins, in orders and in the journal."""
_LENT = (
    "SELECT t.lending_id, t.key_id, t.n, t.state, d.number AS lending, d.pool, d.channel, d.sku,"
    " d.lent_ms, k.fingerprint, k.sealed, k.data_key_id, k.tail, k.batch_id, k.state AS key_state,"
    " b.number AS batch, b.mode, b.cost_e5, b.currency"
    " FROM lent_keys t JOIN lendings d ON d.id = t.lending_id JOIN keys k ON k.id = t.key_id"
    " JOIN batches b ON b.id = k.batch_id"
)


def take(db: Db, sku: str, n: int, now_ms: int) -> list[Row]:
    """Move n free keys of a product to `lent`, as they would be sold; [] when there are fewer.

    The counter is the gate, less what is held for unpaid orders.
    """
    counted = db.run(
        "UPDATE stock SET free = free - :n WHERE sku = :s AND free - held >= :n", n=n, s=sku
    )
    if counted != 1:
        return []
    rows = db.all(
        "WITH next AS MATERIALIZED (SELECT id FROM keys WHERE sku = :s AND state = 'free'"
        " AND expires_ms > :now AND uses = 1 AND media = ''"
        " ORDER BY expires_ms, batch_id, line_no LIMIT :n {skip_locked})"
        " UPDATE keys SET state = 'lent', uses_left = uses_left - 1, state_ms = :now"
        " WHERE id IN (SELECT id FROM next) AND state = 'free'"
        " RETURNING id, fingerprint, sealed, data_key_id, tail, batch_id, line_no, expires_ms",
        s=sku,
        n=n,
        now=now_ms,
    )
    rows.sort(key=lambda row: (row["expires_ms"], row["batch_id"], row["line_no"]))
    if len(rows) == n:
        return rows
    for row in rows:
        back(db, row["id"], now_ms)
    db.run("UPDATE stock SET free = free + :n WHERE sku = :s", n=n - len(rows), s=sku)
    return []


def back(db: Db, key_id: int, now_ms: int) -> bool:
    """Set a lent key free again and count it."""
    sku = db.value(
        "UPDATE keys SET state = 'free', uses_left = uses_left + 1, state_ms = :now"
        " WHERE id = :id AND state = 'lent' RETURNING sku",
        id=key_id,
        now=now_ms,
    )
    if sku is None:
        return False
    db.run("UPDATE stock SET free = free + 1 WHERE sku = :s", s=sku)
    return True


def leave(db: Db, key_id: int, target: str, now_ms: int) -> bool:
    """Move a lent key to where it ends: `delivered`, or `quarantine` when it is lost."""
    assert target in {"delivered", "quarantine"}
    return (
        db.run(
            "UPDATE keys SET state = :target, state_ms = :now WHERE id = :id AND state = 'lent'",
            id=key_id,
            target=target,
            now=now_ms,
        )
        == 1
    )


def lock_numbers(db: Db) -> None:
    """Let one lending at a time take the next number."""
    db.value("SELECT value FROM meta WHERE name = 'database_id' {lock}")


def numbers(db: Db, prefix: str) -> list[str]:
    """Return the numbers of lendings that begin so."""
    rows = db.all("SELECT number FROM lendings WHERE number LIKE :p", p=prefix + "%")
    return [row["number"] for row in rows]


def add(db: Db, **values: object) -> int:
    """Insert a lending (number, pool, channel, sku, form, lent_ms) and return its id."""
    return int(
        db.value(
            "INSERT INTO lendings (number, pool, channel, sku, form, file_name, file_sha256,"
            " lent_ms) VALUES (:number, :pool, :channel, :sku, :form, '', '', :lent_ms)"
            " RETURNING id",
            **values,
        )
    )


def add_keys(db: Db, rows: Iterable[Row]) -> None:
    """Insert the keys of a lending (lending_id, key_id, n, now)."""
    db.many(
        "INSERT INTO lent_keys (lending_id, key_id, n, state, state_ms)"
        " VALUES (:lending_id, :key_id, :n, 'lent', :now)",
        rows,
    )


def add_returned(db: Db, rows: Iterable[Row]) -> None:
    """Insert keys that a lending had and that came back unused (lending_id, key_id, n, now)."""
    db.many(
        "INSERT INTO lent_keys (lending_id, key_id, n, state, state_ms)"
        " VALUES (:lending_id, :key_id, :n, 'returned', :now)",
        rows,
    )


def set_file(db: Db, lending_id: int, name: str, sha256: str) -> None:
    """Remember the file that was written last."""
    db.run(
        "UPDATE lendings SET file_name = :n, file_sha256 = :s WHERE id = :id",
        n=name,
        s=sha256,
        id=lending_id,
    )


def lending(db: Db, number: str) -> Row | None:
    """Return a lending by its number."""
    return db.one("SELECT * FROM lendings WHERE number = :n", n=number)


def every(db: Db, pool: str = "") -> list[Row]:
    """Return the lendings with their keys by state, oldest first."""
    return db.all(
        "SELECT d.id, d.number, d.pool, d.channel, d.sku, d.form, d.file_name, d.lent_ms,"
        " count(*) AS keys,"
        " CAST(sum(CASE WHEN t.state = 'lent' THEN 1 ELSE 0 END) AS BIGINT) AS lent,"
        " CAST(sum(CASE WHEN t.state = 'used' THEN 1 ELSE 0 END) AS BIGINT) AS used,"
        " CAST(sum(CASE WHEN t.state = 'returned' THEN 1 ELSE 0 END) AS BIGINT) AS returned,"
        " CAST(sum(CASE WHEN t.state = 'lost' THEN 1 ELSE 0 END) AS BIGINT) AS lost,"
        " CAST(sum(CASE WHEN t.state = 'lent' THEN b.cost_e5 ELSE 0 END) AS BIGINT) AS cost_e5,"
        " min(b.currency) AS currency"
        " FROM lendings d JOIN lent_keys t ON t.lending_id = d.id JOIN keys k ON k.id = t.key_id"
        " JOIN batches b ON b.id = k.batch_id WHERE d.pool = :p OR :p = ''"
        " GROUP BY d.id, d.number, d.pool, d.channel, d.sku, d.form, d.file_name, d.lent_ms"
        " ORDER BY d.id",
        p=pool,
    )


def keys_of(db: Db, lending_id: int) -> list[Row]:
    """Return the keys of a lending that are still lent, in the order they were taken."""
    return db.all(
        f"{_LENT} WHERE t.lending_id = :id AND t.state = 'lent' ORDER BY t.n", id=lending_id
    )


def keys_in(db: Db, pool: str) -> list[Row]:
    """Return every key that a pool ever had (the latest lending of each), oldest first."""
    return db.all(f"{_LENT} WHERE d.pool = :p ORDER BY t.lending_id, t.n", p=pool)


def move(
    db: Db, row: Row, target: str, now_ms: int, *, read_id: int | None, line_id: int | None = None
) -> bool:
    """Compare-and-set a lent key's own state."""
    return (
        db.run(
            "UPDATE lent_keys SET state = :to, state_ms = :now, read_id = CAST(:r AS BIGINT),"
            " line_id = CAST(:l AS BIGINT)"
            " WHERE lending_id = :d AND key_id = :k AND state = 'lent'",
            to=target,
            now=now_ms,
            r=read_id,
            l=line_id,
            d=row["lending_id"],
            k=row["key_id"],
        )
        == 1
    )


def add_read(db: Db, **values: object) -> int:
    """Remember an export by its content (pool, file_name, file_sha256, file_ms, at_ms)."""
    return int(
        db.value(
            "INSERT INTO pool_reads (pool, file_name, file_sha256, file_ms, at_ms)"
            " VALUES (:pool, :file_name, :file_sha256, :file_ms, :at_ms)"
            " ON CONFLICT (pool, file_sha256) DO UPDATE SET at_ms = excluded.at_ms RETURNING id",
            **values,
        )
    )


def pools(db: Db) -> list[str]:
    """Return the pools that keys were ever lent to."""
    return [row["pool"] for row in db.all("SELECT DISTINCT pool FROM lendings ORDER BY pool")]


def expose(db: Db, values: Row) -> None:
    """Bind a key that a pool gave out to its line; it was seen before we knew of it."""
    db.run(
        "INSERT INTO allocations (line_id, key_id, batch_id, sku, state, exclusive, mode, cost_e5,"
        " currency, reserved_ms, exposed_ms, parcel_id) VALUES (:line_id, :key_id, :batch_id,"
        " :sku, 'exposed', 1, :mode, :cost_e5, :currency, :now, :now, :parcel_id)",
        **values,
    )


def old(db: Db, before_ms: int) -> list[Row]:
    """Return per pool what is lent since before a moment: keys, cost, since, product."""
    return db.all(
        "SELECT d.pool, count(*) AS keys, CAST(sum(b.cost_e5) AS BIGINT) AS cost_e5, b.currency,"
        " min(d.lent_ms) AS since_ms FROM lent_keys t JOIN lendings d ON d.id = t.lending_id"
        " JOIN keys k ON k.id = t.key_id JOIN batches b ON b.id = k.batch_id"
        " WHERE t.state = 'lent' AND d.lent_ms < :before"
        " AND NOT EXISTS (SELECT 1 FROM pool_reads r WHERE r.pool = d.pool"
        "  AND r.at_ms >= :before)"
        " GROUP BY d.pool, b.currency ORDER BY d.pool, b.currency",
        before=before_ms,
    )


def stop_selling(db: Db, key_id: int, now_ms: int) -> bool:
    """Take a free key out of sale: somebody has it."""
    sku = db.value(
        "UPDATE keys SET state = 'quarantine', state_ms = :now WHERE id = :id AND state = 'free'"
        " RETURNING sku",
        id=key_id,
        now=now_ms,
    )
    if sku is None:
        return False
    db.run("UPDATE stock SET free = free - 1 WHERE sku = :s", s=sku)
    return True


def of_key(db: Db, number: str, key_id: int) -> Row | None:
    """Return a key's row in a lending, whatever became of it."""
    return db.one(
        "SELECT t.* FROM lent_keys t JOIN lendings d ON d.id = t.lending_id"
        " WHERE d.number = :n AND t.key_id = :k",
        n=number,
        k=key_id,
    )


def lent_rows(db: Db, key_id: int) -> list[Row]:
    """Return the lendings that a key is in now."""
    return db.all(
        "SELECT t.lending_id, t.key_id, t.n, d.pool, d.number FROM lent_keys t"
        " JOIN lendings d ON d.id = t.lending_id WHERE t.key_id = :k AND t.state = 'lent'",
        k=key_id,
    )


def lend_again(db: Db, key_id: int, now_ms: int) -> bool:
    """Take a key that the journal knows as lent off the shelf."""
    row = db.one("SELECT sku, state FROM keys WHERE id = :id {lock}", id=key_id)
    if row is None or row["state"] not in {"free", "exposed", "quarantine"}:
        return False
    db.run(
        "UPDATE keys SET state = 'lent', uses_left = 0, state_ms = :now WHERE id = :id",
        now=now_ms,
        id=key_id,
    )
    db.run("DELETE FROM quarantined WHERE key_id = :id", id=key_id)
    if row["state"] == "free":
        db.run("UPDATE stock SET free = free - 1 WHERE sku = :s", s=row["sku"])
    return True


def last_form(db: Db, pool: str) -> str:
    """Return the form of a pool's latest lending, empty when there is none."""
    found = db.value("SELECT form FROM lendings WHERE pool = :p ORDER BY id DESC LIMIT 1", p=pool)
    return str(found or "")


def stop_sending(db: Db, key_id: int, now_ms: int) -> bool:
    """Take a key out of sale that is bound to an order but was never shown to its buyer."""
    return (
        db.run(
            "UPDATE keys SET state = 'quarantine', state_ms = :now"
            " WHERE id = :id AND state = 'reserved'",
            id=key_id,
            now=now_ms,
        )
        == 1
    )


def delivered_line(db: Db, key_id: int) -> Row | None:
    """Return the line of our own whose buyer has a key, with its order's name."""
    return db.one(
        "SELECT l.id, l.state, k.tail, o.channel, o.number FROM allocations a"
        " JOIN keys k ON k.id = a.key_id JOIN lines l ON l.id = a.line_id"
        " JOIN orders o ON o.id = l.order_id"
        " WHERE a.key_id = :id AND a.state IN ('exposed', 'delivered')",
        id=key_id,
    )
