"""SQL of the delivery ledger: taking keys, allocations, parcels.

Every change of state is a compare-and-set and says so by its result; the operation decides what a
lost race means.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from kmtool.domain.ids import NOTICES, KeyId, LineId, OrderId, ParcelId
from kmtool.store import uses
from kmtool.store.db import Db, Row, all_in, all_moved, in_clause, run_in


def take_free(db: Db, sku: str, n: int, now_ms: int) -> list[Row]:
    """Move n free keys of a SKU to `reserved`: first expiring, then as they came; [] when short.

    The stock counter is the gate: with skipped locks «no key seen» would not mean «no stock».
    What was counted but not got is given back. The next keys are a part of their own that is worked
    out once: PostgreSQL may run a subquery with locks again for every row, and takes more then.
    """
    assert n > 0, "a line takes at least one key"
    if db.run("UPDATE stock SET free = free - :n WHERE sku = :s AND free >= :n", n=n, s=sku) != 1:
        return []
    rows = db.all(
        "WITH next AS MATERIALIZED (SELECT id FROM keys WHERE sku = :s AND state = 'free'"
        " AND expires_ms > :now ORDER BY expires_ms, batch_id, line_no LIMIT :n {skip_locked})"
        " UPDATE keys SET state = 'reserved', uses_left = uses_left - 1, state_ms = :now"
        " WHERE id IN (SELECT id FROM next) AND state = 'free'"
        " RETURNING id, fingerprint, sealed, data_key_id, tail, batch_id, line_no, expires_ms, sku,"
        " 1 AS exclusive",
        s=sku,
        n=n,
        now=now_ms,
    )
    rows.sort(key=itemgetter("expires_ms", "batch_id", "line_no"))
    if len(rows) == n:
        return rows
    for row in rows:
        put_back(db, KeyId(row["id"]), now_ms)
    give_back(db, sku, n - len(rows))
    return []


def put_back(db: Db, key_id: KeyId, now_ms: int) -> str | None:
    """Set a reserved key free again (never an exposed one); return its SKU, None if it moved."""
    sku = db.value(
        "UPDATE keys SET state = 'free', uses_left = uses_left + 1, state_ms = :now"
        " WHERE id = :id AND state = 'reserved' RETURNING sku",
        id=key_id,
        now=now_ms,
    )
    if sku is None:
        return uses.give_back(db, key_id, now_ms)
    db.run("UPDATE stock SET free = free + 1 WHERE sku = :s", s=sku)
    return str(sku)


def expire(db: Db, sku: str, now_ms: int) -> int:
    """Move free keys whose day has passed to `expired`; return how many."""
    gone = db.all(
        "UPDATE keys SET state = 'expired', state_ms = :now"
        " WHERE sku = :s AND state = 'free' AND expires_ms <= :now RETURNING uses_left",
        s=sku,
        now=now_ms,
    )
    if gone:
        left = sum(row["uses_left"] for row in gone)
        db.run("UPDATE stock SET free = free - :n WHERE sku = :s", n=left, s=sku)
    return len(gone)


def free_counts(db: Db, skus: Sequence[str]) -> dict[str, int]:
    """Return the stock counters of some SKUs."""
    rows = all_in(db, "SELECT sku, free FROM stock WHERE sku IN {in}", skus)
    return {row["sku"]: row["free"] for row in rows}


def expire_all(db: Db, skus: Sequence[str], now_ms: int) -> None:
    """Move what has passed its day of several SKUs to `expired`."""
    old = all_in(
        db,
        "SELECT DISTINCT sku FROM keys WHERE state = 'free' AND expires_ms <= :now AND sku IN {in}",
        skus,
        now=now_ms,
    )
    for sku in sorted(row["sku"] for row in old):
        expire(db, sku, now_ms)


def next_batches(db: Db, sku: str, n: int, now_ms: int) -> list[int]:
    """Return the batch of each of the next n keys of a SKU, in the order in which they leave."""
    rows = db.all(
        "SELECT batch_id FROM keys WHERE sku = :s AND state = 'free' AND expires_ms > :now"
        " ORDER BY expires_ms, batch_id, line_no LIMIT :n",
        s=sku,
        n=n,
        now=now_ms,
    )
    return [row["batch_id"] for row in rows]


def dearest_next(db: Db, sku: str, n: int, now_ms: int) -> int:
    """Return the highest unit cost (e5) among the next n keys to leave, 0 without stock."""
    value = db.value(
        "SELECT max(b.cost_e5) FROM (SELECT batch_id FROM keys WHERE sku = :s AND state = 'free'"
        " AND expires_ms > :now ORDER BY expires_ms, batch_id, line_no LIMIT :n) k"
        " JOIN batches b ON b.id = k.batch_id",
        s=sku,
        n=n,
        now=now_ms,
    )
    return int(value or 0)


def newest_costs(db: Db, skus: Sequence[str]) -> dict[str, int]:
    """Return the unit cost (e5) of the newest batch of some SKUs."""
    rows = all_in(
        db,
        "SELECT sku, cost_e5 FROM batches WHERE id IN"
        " (SELECT max(id) FROM batches WHERE sku IN {in} GROUP BY sku)",
        skus,
    )
    return {row["sku"]: row["cost_e5"] for row in rows}


def batches(db: Db, batch_ids: Sequence[int]) -> dict[int, Row]:
    """Return batches by id."""
    rows = all_in(db, "SELECT * FROM batches WHERE id IN {in}", sorted(set(batch_ids)))
    return {row["id"]: row for row in rows}


def add_allocations(db: Db, rows: Sequence[Row]) -> None:
    """Bind keys to lines. The unique index refuses a second buyer."""
    db.insert(
        "INSERT INTO allocations (line_id, key_id, batch_id, sku, state, exclusive, mode,"
        " cost_e5, currency, reserved_ms, parcel_id)",
        "(:line_id, :key_id, :batch_id, :sku, 'reserved', :exclusive, :mode, :cost_e5, :currency,"
        " :reserved_ms, :parcel_id)",
        rows,
    )


_BOND = (
    "a.id, a.line_id, a.key_id, a.batch_id, a.sku, a.state, a.exclusive, a.mode, a.cost_e5,"
    " a.amount_minor, a.currency, a.parcel_id, k.state AS key_state"
)
_KEY = "k.fingerprint, k.sealed, k.data_key_id, k.tail, k.expires_ms"


def allocations(db: Db, line_ids: Sequence[int]) -> list[Row]:
    """Return the live allocations of lines with what is needed to open and to journal the keys."""
    return _live(db, f"a.*, {_KEY}, k.state AS key_state, k.line_no AS key_line_no", line_ids)


def carried(db: Db, line_ids: Sequence[int]) -> list[Row]:
    """Return the live allocations of lines with what sending and its outcome look at."""
    return _live(db, f"{_BOND}, {_KEY}", line_ids)


def bonds(db: Db, line_ids: Sequence[int]) -> list[Row]:
    """Return the live allocations of lines with the state of their keys, without the keys."""
    return _live(db, _BOND, line_ids)


def _live(db: Db, columns: str, line_ids: Sequence[int]) -> list[Row]:
    return all_in(
        db,
        f"SELECT {columns} FROM allocations a JOIN keys k ON k.id = a.key_id"
        " WHERE a.line_id IN {in} AND a.state <> 'withdrawn' AND a.state <> 'replaced'"
        " ORDER BY a.line_id, a.id",
        line_ids,
    )


def expose(db: Db, bound: Sequence[Row], now_ms: int) -> None:
    """Record that keys may be seen from now on (rows of `allocations`); `Moved` when one is not
    where it was read."""
    keys = [row["key_id"] for row in bound if row["key_state"] == "reserved"]
    bonds = [row["id"] for row in bound if row["state"] == "reserved"]
    count = run_in(
        db,
        "UPDATE keys SET state = 'exposed', state_ms = :now WHERE state = 'reserved'"
        " AND id IN {in}",
        keys,
        now=now_ms,
    )
    all_moved(count, len(keys))
    count = run_in(
        db,
        "UPDATE allocations SET state = 'exposed', exposed_ms = :now WHERE state = 'reserved'"
        " AND id IN {in}",
        bonds,
        now=now_ms,
    )
    all_moved(count, len(bonds))


def withdraw(db: Db, allocation_id: int) -> bool:
    """Undo a bond that nobody can have seen."""
    return (
        db.run(
            "UPDATE allocations SET state = 'withdrawn' WHERE id = :id AND state = 'reserved'",
            id=allocation_id,
        )
        == 1
    )


def deliver_allocations(db: Db, ids: Sequence[int], amount_minor: int, now_ms: int) -> int:
    """Fix cost and amount of keys that reached their buyers; return how many were not before."""
    return run_in(
        db,
        "UPDATE allocations SET state = 'delivered', amount_minor = :amount, delivered_ms = :now"
        " WHERE state = 'exposed' AND id IN {in}",
        ids,
        amount=amount_minor,
        now=now_ms,
    )


def deliver_keys(db: Db, key_ids: Sequence[int], now_ms: int) -> int:
    """Set exposed keys to delivered (a defective or quarantined one stays what it is)."""
    return run_in(
        db,
        "UPDATE keys SET state = 'delivered', state_ms = :now WHERE state = 'exposed'"
        " AND id IN {in}",
        key_ids,
        now=now_ms,
    )


def add_parcels(
    db: Db, rows: Sequence[Row], line_ids: Sequence[Sequence[int]]
) -> dict[tuple[int, int], ParcelId]:
    """Insert parcels, each with its lines; return (order, n) → parcel."""
    found = db.insert_all(
        "INSERT INTO parcels (order_id, n, courier, address_digest, sealed, data_key_id,"
        " created_ms)",
        "(:order_id, :n, :courier, :address_digest, :sealed, :data_key_id, :created_ms)",
        rows,
        "RETURNING id, order_id, n",
    )
    numbers = {(row["order_id"], row["n"]): ParcelId(row["id"]) for row in found}
    db.insert(
        "INSERT INTO parcel_lines (parcel_id, line_id)",
        "(:p, :l)",
        [
            {"p": numbers[row["order_id"], row["n"]], "l": line}
            for row, ids in zip(rows, line_ids, strict=True)
            for line in ids
        ],
    )
    return numbers


def next_parcels(db: Db, order_ids: Sequence[int], *, lost: bool = True) -> dict[int, int]:
    """Return the number that the next parcel of some orders gets.

    Past those that were sent before a restore, whether their keys are here or not (`lost`), short
    of the notices: by its number a message is found there, so no other message may have it.
    """
    rows = all_in(
        db,
        "SELECT order_id, max(n) AS n FROM parcels WHERE order_id IN {in}"
        f" AND n < {NOTICES} GROUP BY order_id",
        order_ids,
    )
    last = {row["order_id"]: row["n"] for row in rows}
    if lost and db.value("SELECT 1 FROM seen_keys LIMIT 1") is not None:
        for row in all_in(
            db,
            "SELECT o.id AS order_id, max(s.parcel_n) AS n FROM seen_keys s JOIN orders o"
            " ON o.channel = s.channel AND o.number = s.number"
            " WHERE o.id IN {in} GROUP BY o.id",
            order_ids,
        ):
            last[row["order_id"]] = max(last.get(row["order_id"], 0), row["n"])
    return {order: last.get(order, 0) + 1 for order in order_ids}


def parcels(db: Db, parcel_ids: Sequence[int]) -> dict[int, Row]:
    """Return parcels by id."""
    rows = all_in(db, "SELECT * FROM parcels WHERE id IN {in}", parcel_ids)
    return {row["id"]: row for row in rows}


def parcel_numbers(db: Db, parcel_ids: Sequence[int]) -> dict[int, Row]:
    """Return parcels by id, without their texts."""
    rows = all_in(
        db, "SELECT id, order_id, n, courier, part, parts FROM parcels WHERE id IN {in}", parcel_ids
    )
    return {row["id"]: row for row in rows}


def lines_of_parcels(db: Db, parcel_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Return the lines of some parcels: what they are and how far, not their money and stamps."""
    found: dict[int, list[Row]] = {}
    for row in all_in(
        db,
        "SELECT p.parcel_id, l.id, l.order_id, l.line_no, l.title, l.kind, l.sku, l.quantity,"
        " l.needed, l.state, l.gate, l.reason FROM parcel_lines p JOIN lines l ON l.id = p.line_id"
        " WHERE p.parcel_id IN {in} ORDER BY p.parcel_id, l.id",
        parcel_ids,
    ):
        found.setdefault(row["parcel_id"], []).append(row)
    return found


def parcel(db: Db, parcel_id: ParcelId) -> Row:
    """Return a parcel."""
    row = db.one("SELECT * FROM parcels WHERE id = :id", id=parcel_id)
    assert row is not None
    return row


def set_address(db: Db, parcel_id: ParcelId, digest: str) -> None:
    """Send a parcel to where the buyer is now (a person said so)."""
    db.run("UPDATE parcels SET address_digest = :d WHERE id = :id", d=digest, id=parcel_id)


def parcel_lines(db: Db, parcel_id: ParcelId) -> list[Row]:
    """Return the lines of a parcel."""
    return db.all(
        "SELECT l.* FROM lines l JOIN parcel_lines p ON p.line_id = l.id WHERE p.parcel_id = :p"
        " ORDER BY l.id",
        p=parcel_id,
    )


def open_lines_left(db: Db, order_id: OrderId) -> int:
    """Count lines of an order that are neither delivered nor ended."""
    return progress(db, [order_id]).get(order_id, (0, 0))[0]


def progress(db: Db, order_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return order → (lines neither delivered nor ended, lines delivered)."""
    rows = all_in(
        db,
        "SELECT order_id, CAST(sum(CASE WHEN state IN ('delivered', 'cancelled', 'closed') THEN 0"
        " ELSE 1 END) AS BIGINT) AS open, CAST(sum(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END)"
        " AS BIGINT) AS delivered FROM lines WHERE order_id IN {in} GROUP BY order_id",
        order_ids,
    )
    return {row["order_id"]: (row["open"], row["delivered"]) for row in rows}


def stamp_sent(db: Db, line_ids: Sequence[LineId], column: str, now_ms: int) -> None:
    """Stamp several lines at once, the first time only."""
    assert column in {"reserved_ms", "sent_ms", "acknowledged_ms"}
    run_in(
        db,
        f"UPDATE lines SET {column} = :now WHERE {column} IS NULL AND id IN {{in}}",
        line_ids,
        now=now_ms,
    )


def bundle_parts(db: Db, skus: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """Return what bundles are made of: (SKU, units) by bundle; a text has 0, it goes once."""
    found: dict[str, list[tuple[str, int]]] = {}
    for row in all_in(
        db,
        "SELECT bundle_sku, b.sku, CASE WHEN kind = 'text' THEN 0 ELSE units END AS units FROM"
        " bundle_items b JOIN products p ON p.sku = b.sku WHERE bundle_sku IN {in} ORDER BY 1, 2",
        skus,
    ):
        found.setdefault(row["bundle_sku"], []).append((row["sku"], row["units"]))
    return found


def lock_stock(db: Db, order_ids: Sequence[int]) -> None:
    """Hold the counters that lines of some orders take from, always in the same order."""
    if not order_ids or db.dialect != "postgresql":
        return
    marks, params = in_clause(order_ids)
    db.all(
        "SELECT sku FROM stock WHERE sku IN (SELECT sku FROM lines"
        f" WHERE order_id IN {marks} UNION SELECT b.sku FROM bundle_items b"
        f" JOIN lines l ON l.sku = b.bundle_sku WHERE l.order_id IN {marks})"
        " ORDER BY sku {lock}",
        **params,
    )


def give_back(db: Db, sku: str, n: int) -> None:
    """Give back to the counter what was counted but not taken."""
    if n:
        db.run("UPDATE stock SET free = free + :n WHERE sku = :s", n=n, s=sku)


def count_lines(db: Db, order_ids: Sequence[int]) -> dict[str, int]:
    """Count the lines of orders by state."""
    found: dict[str, int] = {}
    sql = "SELECT state, count(*) AS n FROM lines WHERE order_id IN {in} GROUP BY state"
    for row in all_in(db, sql, order_ids):
        found[row["state"]] = found.get(row["state"], 0) + row["n"]
    return found
