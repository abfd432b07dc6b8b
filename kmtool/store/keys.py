"""SQL of keys and batches: bring in, find, list, remove. Giving keys to lines is in deliveries.py.

A fingerprint is unique over all history, whatever the state and the product. The free counter of a
product is kept in `stock` and changed in the transaction that changes the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kmtool.store.db import Db, Row, in_clause

_ASK = 500
"""How many fingerprints one look-up names."""

_BATCH = (
    "SELECT b.id, b.number, b.sku, b.supplier, b.mode, b.kind, b.state, b.cost_e5, b.currency,"
    " b.file_name, b.file_sha256, b.rows, b.accepted, b.duplicates, b.rejected, b.removed,"
    " b.expires_ms, b.imported_ms FROM batches b"
)
_KEY = (
    "SELECT k.id, k.tail, k.sku, k.state, k.line_no, k.uses_left, k.uses, k.media, k.expires_ms,"
    " k.state_ms,"
    " k.batch_id, b.number AS batch, b.supplier, b.file_name, b.cost_e5, b.currency,"
    " b.imported_ms FROM keys k JOIN batches b ON b.id = k.batch_id"
)


def lock_imports(db: Db) -> None:
    """Let one import at a time pass (SQLite has one writer anyway)."""
    db.value("SELECT value FROM meta WHERE name = 'database_id' {lock}")


def fingerprints_known(db: Db, fingerprints: Sequence[bytes]) -> dict[bytes, Row]:
    """Return fingerprint → where that key lies (batch, line_no, state, sku), for those we know."""
    known: dict[bytes, Row] = {}
    ordered = sorted(fingerprints)
    for start in range(0, len(ordered), _ASK):
        clause, params = in_clause(ordered[start : start + _ASK])
        rows = db.all(
            "SELECT k.fingerprint, k.id, k.line_no, k.state, k.sku, b.number AS batch"
            f" FROM keys k JOIN batches b ON b.id = k.batch_id WHERE k.fingerprint IN {clause}",
            **params,
        )
        known.update((bytes(row["fingerprint"]), row) for row in rows)
    return known


def next_id(db: Db) -> int | None:
    """Return the number of the next key; None where rows lie as they are inserted (PostgreSQL).

    SQLite lays rows down by their number. Keys leave in the order of their file: numbered so, those
    that leave together lie together, and few pages are written for them.
    """
    if db.dialect == "postgresql":
        return None
    last = db.value("SELECT max(seq) FROM sqlite_sequence WHERE name = 'keys'")
    return int(last or 0) + 1


def insert_keys(db: Db, rows: Iterable[dict[str, object]], *, first_id: int | None = None) -> None:
    """Insert keys; one that is known by now is left out, so count afterwards.

    A row holds fingerprint, sealed, data_key_id, tail, sku, batch_id, line_no, state, uses_left,
    expires_ms, state_ms. Give them sorted by fingerprint: the index is then written in order. With
    `first_id` (see `next_id`) a row also has its place among them, counted from 0.
    """
    number, place = ("", "") if first_id is None else ("id, ", f"{first_id} + :place, ")
    db.many(
        f"INSERT INTO keys ({number}fingerprint, sealed, data_key_id, tail, sku, batch_id, line_no,"
        f" state, uses_left, expires_ms, state_ms) VALUES ({place}:fingerprint, :sealed,"
        " :data_key_id, :tail, :sku, :batch_id, :line_no, :state, :uses_left, :expires_ms,"
        " :state_ms)"
        " ON CONFLICT (fingerprint) DO NOTHING",
        rows,
    )


def insert_special(db: Db, rows: Iterable[dict[str, object]]) -> None:
    """Insert keys that serve several buyers, or pictures: as `insert_keys`, with uses and media."""
    db.many(
        "INSERT INTO keys (fingerprint, sealed, data_key_id, tail, sku, batch_id, line_no, state,"
        " uses_left, expires_ms, state_ms, uses, media) VALUES (:fingerprint, :sealed,"
        " :data_key_id, :tail, :sku, :batch_id, :line_no, :state, :uses_left, :expires_ms,"
        " :state_ms, :uses, :media) ON CONFLICT (fingerprint) DO NOTHING",
        rows,
    )


def count_of_batch(db: Db, batch_id: int) -> int:
    """Return how many keys a batch holds now."""
    return int(db.value("SELECT count(*) FROM keys WHERE batch_id = :id", id=batch_id))


def next_batch_number(db: Db, day: str) -> str:
    """Return the next free batch number of a day given as yyyymmdd. Call `lock_imports` first."""
    so_far = db.value("SELECT count(*) FROM batches WHERE number LIKE :p", p=f"B{day}-%")
    return f"B{day}-{so_far + 1:02d}"


def add_batch(db: Db, **values: object) -> int:
    """Insert a batch (its columns by name, but state and removed) and return its id."""
    return int(
        db.value(
            "INSERT INTO batches (number, sku, supplier, mode, kind, state, cost_e5, currency,"
            " file_name, file_sha256, rows, accepted, duplicates, rejected, removed, expires_ms,"
            " imported_ms) VALUES (:number, :sku, :supplier, :mode, :kind, 'accepted', :cost_e5,"
            " :currency, :file_name, :file_sha256, :rows, :accepted, :duplicates, :rejected, 0,"
            " :expires_ms, :imported_ms) RETURNING id",
            **values,
        )
    )


def batch(db: Db, number: str) -> Row | None:
    """Return a batch by its number."""
    return db.one(f"{_BATCH} WHERE b.number = :n", n=number)


def batch_of_file(db: Db, sha256: str) -> Row | None:
    """Return the newest batch that came from exactly this file."""
    return db.one(f"{_BATCH} WHERE b.file_sha256 = :s ORDER BY b.id DESC LIMIT 1", s=sha256)


def batches(db: Db, limit: int, sku: str = "", supplier: str = "") -> list[Row]:
    """Return batches, newest first."""
    return db.all(
        f"{_BATCH} WHERE (:sku = '' OR b.sku = :sku) AND (:supplier = '' OR b.supplier = :supplier)"
        " ORDER BY b.id DESC LIMIT :n",
        sku=sku,
        supplier=supplier,
        n=limit,
    )


def batch_states(db: Db, batch_id: int) -> dict[str, int]:
    """Return state → how many keys of a batch are in it."""
    rows = db.all(
        "SELECT state, count(*) AS n FROM keys WHERE batch_id = :id GROUP BY state ORDER BY state",
        id=batch_id,
    )
    return {row["state"]: row["n"] for row in rows}


def lock_stock_of_batch(db: Db, batch_id: int) -> None:
    """Lock the counters of the products whose keys a batch holds, always in the same order."""
    db.all(
        "SELECT sku, free FROM stock WHERE sku IN"
        " (SELECT DISTINCT sku FROM keys WHERE batch_id = :id) ORDER BY sku {lock}",
        id=batch_id,
    )


_UNTOUCHED = (
    "batch_id = :id AND state = :state"
    " AND NOT EXISTS (SELECT 1 FROM allocations a WHERE a.key_id = keys.id)"
    " AND NOT EXISTS (SELECT 1 FROM lent_keys t WHERE t.key_id = keys.id)"
    " AND NOT EXISTS (SELECT 1 FROM seen_keys s WHERE s.fingerprint = keys.fingerprint)"
)
"""No buyer may have it: not even one whose order is not here yet, but whose key was sent before a
restore (of a shared key only some uses went there, and it stays for sale)."""


def untouched(db: Db, batch_id: int, state: str) -> dict[str, int]:
    """Return SKU → how many keys of a batch are in `state` and were never given to anybody."""
    rows = db.all(
        f"SELECT sku, count(*) AS n FROM keys WHERE {_UNTOUCHED} GROUP BY sku ORDER BY sku",
        id=batch_id,
        state=state,
    )
    return {row["sku"]: row["n"] for row in rows}


def untouched_uses(db: Db, batch_id: int, state: str) -> dict[str, int]:
    """Return SKU → how many uses what `untouched` counts still has."""
    rows = db.all(
        f"SELECT sku, CAST(sum(uses_left) AS BIGINT) AS n FROM keys WHERE {_UNTOUCHED}"
        " GROUP BY sku ORDER BY sku",
        id=batch_id,
        state=state,
    )
    return {row["sku"]: row["n"] for row in rows}


def remove_untouched(db: Db, batch_id: int, state: str) -> int:
    """Delete what `untouched` counts and return how many that were."""
    return db.run(f"DELETE FROM keys WHERE {_UNTOUCHED}", id=batch_id, state=state)


def note_removed(db: Db, batch_id: int, removed: int, state: str) -> bool:
    """Write down that keys of an accepted batch were taken out; tell whether it was accepted."""
    return (
        db.run(
            "UPDATE batches SET removed = removed + :n, state = :to"
            " WHERE id = :id AND state = 'accepted'",
            n=removed,
            to=state,
            id=batch_id,
        )
        == 1
    )


def find_by_fingerprint(db: Db, fingerprint: bytes) -> Row | None:
    """Return the key with this fingerprint and where it lies."""
    return db.one(f"{_KEY} WHERE k.fingerprint = :f", f=fingerprint)


def find_by_tail(db: Db, tail: str, limit: int) -> list[Row]:
    """Return keys whose shown ending is `tail`, newest first."""
    return db.all(f"{_KEY} WHERE k.tail = :t ORDER BY k.id DESC LIMIT :n", t=tail, n=limit)


def key(db: Db, key_id: int) -> Row | None:
    """Return a key by its id, never its text."""
    return db.one(f"{_KEY} WHERE k.id = :id", id=key_id)


def sealed(db: Db, key_id: int) -> Row | None:
    """Return what the vault needs to open a key."""
    return db.one("SELECT fingerprint, sealed, data_key_id FROM keys WHERE id = :id", id=key_id)


def keys(
    db: Db, limit: int, *, sku: str = "", state: str = "", batch_id: int | None = None
) -> list[Row]:
    """Return keys by batch and row."""
    where = ["(:sku = '' OR k.sku = :sku)", "(:state = '' OR k.state = :state)"]
    if batch_id is not None:
        where.append("k.batch_id = :batch_id")
    return db.all(
        f"{_KEY} WHERE {' AND '.join(where)} ORDER BY k.batch_id, k.line_no LIMIT :n",
        sku=sku,
        state=state,
        n=limit,
        **({} if batch_id is None else {"batch_id": batch_id}),
    )


def count_keys(db: Db, *, sku: str = "", state: str = "") -> int:
    """Return how many keys `keys` would list without a limit."""
    return int(
        db.value(
            "SELECT count(*) FROM keys WHERE (:sku = '' OR sku = :sku)"
            " AND (:state = '' OR state = :state)",
            sku=sku,
            state=state,
        )
    )


def lines_of_key(db: Db, key_id: int) -> list[Row]:
    """Return the order lines a key was given to, oldest first."""
    return db.all(
        "SELECT o.channel, o.number, l.line_no, a.state, a.reserved_ms, a.exposed_ms,"
        " a.delivered_ms FROM allocations a JOIN lines l ON l.id = a.line_id"
        " JOIN orders o ON o.id = l.order_id WHERE a.key_id = :id ORDER BY a.id",
        id=key_id,
    )


def text_in_sale(db: Db, sku: str) -> Row | None:
    """Return the text that new orders of a product get."""
    return db.one(
        "SELECT id, fingerprint, sealed, data_key_id, uses_left, tail FROM keys"
        " WHERE sku = :sku AND state = 'free' ORDER BY id DESC LIMIT 1",
        sku=sku,
    )


def move_text(db: Db, key_id: int, source: str, target: str, now_ms: int) -> bool:
    """Take a text out of sale, or put it back, and keep the counter; compare-and-set."""
    row = db.one(
        "UPDATE keys SET state = :target, state_ms = :now WHERE id = :id AND state = :source"
        " RETURNING sku, uses_left",
        id=key_id,
        source=source,
        target=target,
        now=now_ms,
    )
    if row is None:
        return False
    add_stock(db, row["sku"], row["uses_left"] if target == "free" else -row["uses_left"])
    return True


def add_stock(db: Db, sku: str, n: int) -> None:
    """Change the free counter of a product by `n` (it never falls below zero)."""
    db.run(
        "INSERT INTO stock (sku, free) VALUES (:sku, 0) ON CONFLICT (sku) DO NOTHING",
        sku=sku,
    )
    db.run("UPDATE stock SET free = free + :n WHERE sku = :sku", n=n, sku=sku)


def stock(db: Db, sku: str = "") -> list[Row]:
    """Return the free counter of every product (or one), with its low-stock limit."""
    return db.all(
        "SELECT p.sku, p.title, p.kind, p.state, p.low_stock, coalesce(s.free, 0) AS free,"
        " coalesce(s.held, 0) AS held FROM products p LEFT JOIN stock s ON s.sku = p.sku"
        " WHERE :sku = '' OR p.sku = :sku ORDER BY p.sku",
        sku=sku,
    )


def stock_states(db: Db, sku: str) -> dict[str, int]:
    """Return state → how many keys of a product are in it (counts rows: not for hot paths)."""
    rows = db.all(
        "SELECT state, count(*) AS n FROM keys WHERE sku = :sku GROUP BY state ORDER BY state",
        sku=sku,
    )
    return {row["state"]: row["n"] for row in rows}


def first_expiry(db: Db, sku: str) -> int | None:
    """Return when the first free key of a product expires; None when none is free."""
    found = db.value(
        "SELECT min(expires_ms) FROM keys WHERE sku = :sku AND state = 'free'", sku=sku
    )
    return None if found is None else int(found)
