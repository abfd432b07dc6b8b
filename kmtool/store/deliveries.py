"""SQL of the delivery ledger: taking keys, allocations, parcels.

Every change of state is a compare-and-set and says so by its result; the operation decides what a
lost race means.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import KeyId, LineId, OrderId, ParcelId
from kmtool.store.db import Db, Row, in_clause


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
        " RETURNING id, fingerprint, sealed, data_key_id, tail, batch_id, line_no, expires_ms",
        s=sku,
        n=n,
        now=now_ms,
    )
    rows.sort(key=lambda row: (row["expires_ms"], row["batch_id"], row["line_no"]))
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
        return None
    db.run("UPDATE stock SET free = free + 1 WHERE sku = :s", s=sku)
    return str(sku)


def expire(db: Db, sku: str, now_ms: int) -> int:
    """Move free keys whose day has passed to `expired`; return how many."""
    gone = db.run(
        "UPDATE keys SET state = 'expired', state_ms = :now"
        " WHERE sku = :s AND state = 'free' AND expires_ms <= :now",
        s=sku,
        now=now_ms,
    )
    if gone:
        db.run("UPDATE stock SET free = free - :n WHERE sku = :s", n=gone, s=sku)
    return gone


def free_counts(db: Db, skus: Sequence[str]) -> dict[str, int]:
    """Return the stock counters of some SKUs."""
    if not skus:
        return {}
    marks, params = in_clause(skus)
    rows = db.all(f"SELECT sku, free FROM stock WHERE sku IN {marks}", **params)
    return {row["sku"]: row["free"] for row in rows}


def dearest_next(db: Db, sku: str, n: int, now_ms: int) -> int:
    """Return the highest unit cost (e5) among the next n keys to leave.

    Without stock it is the cost of the newest batch, so that a price typed wrong is still seen.
    """
    value = db.value(
        "SELECT max(b.cost_e5) FROM (SELECT batch_id FROM keys WHERE sku = :s AND state = 'free'"
        " AND expires_ms > :now ORDER BY expires_ms, batch_id, line_no LIMIT :n) k"
        " JOIN batches b ON b.id = k.batch_id",
        s=sku,
        n=n,
        now=now_ms,
    )
    if value is None:
        value = db.value(
            "SELECT cost_e5 FROM batches WHERE sku = :s ORDER BY id DESC LIMIT 1", s=sku
        )
    return int(value or 0)


def batches(db: Db, batch_ids: Sequence[int]) -> dict[int, Row]:
    """Return batches by id."""
    if not batch_ids:
        return {}
    marks, params = in_clause(sorted(set(batch_ids)))
    rows = db.all(f"SELECT * FROM batches WHERE id IN {marks}", **params)
    return {row["id"]: row for row in rows}


def add_allocation(db: Db, values: Row) -> None:
    """Bind a key to a line. The unique index refuses a second buyer."""
    db.run(
        "INSERT INTO allocations (line_id, key_id, batch_id, sku, state, exclusive, mode, cost_e5,"
        " currency, reserved_ms) VALUES (:line_id, :key_id, :batch_id, :sku, 'reserved', 1, :mode,"
        " :cost_e5, :currency, :reserved_ms)",
        **values,
    )


def allocations(db: Db, line_ids: Sequence[int]) -> list[Row]:
    """Return the live allocations of lines with what is needed to open and to journal the keys."""
    if not line_ids:
        return []
    marks, params = in_clause(line_ids)
    return db.all(
        "SELECT a.*, k.fingerprint, k.sealed, k.data_key_id, k.tail, k.state AS key_state,"
        " k.expires_ms, k.line_no AS key_line_no FROM allocations a JOIN keys k ON k.id = a.key_id"
        f" WHERE a.line_id IN {marks} AND a.state <> 'withdrawn' AND a.state <> 'replaced'"
        " ORDER BY a.line_id, a.id",
        **params,
    )


def expose(db: Db, line_ids: Sequence[int], now_ms: int) -> None:
    """Record that the keys of lines may be seen from now on."""
    marks, params = in_clause(line_ids)
    db.run(
        "UPDATE keys SET state = 'exposed', state_ms = :now WHERE state = 'reserved' AND id IN"
        " (SELECT key_id FROM allocations WHERE state = 'reserved' AND line_id IN " + marks + ")",
        now=now_ms,
        **params,
    )
    db.run(
        "UPDATE allocations SET state = 'exposed', exposed_ms = :now"
        f" WHERE state = 'reserved' AND line_id IN {marks}",
        now=now_ms,
        **params,
    )


def withdraw(db: Db, allocation_id: int) -> bool:
    """Undo a bond that nobody can have seen."""
    return (
        db.run(
            "UPDATE allocations SET state = 'withdrawn' WHERE id = :id AND state = 'reserved'",
            id=allocation_id,
        )
        == 1
    )


def deliver_allocation(db: Db, allocation_id: int, amount_minor: int, now_ms: int) -> bool:
    """Fix cost and amount of a key that has reached its buyer; False when that was done before."""
    return (
        db.run(
            "UPDATE allocations SET state = 'delivered', amount_minor = :amount,"
            " delivered_ms = :now WHERE id = :id AND state = 'exposed'",
            id=allocation_id,
            amount=amount_minor,
            now=now_ms,
        )
        == 1
    )


def deliver_key(db: Db, key_id: KeyId, now_ms: int) -> None:
    """Set an exposed key to delivered (a defective or quarantined one stays what it is)."""
    db.run(
        "UPDATE keys SET state = 'delivered', state_ms = :now WHERE id = :id AND state = 'exposed'",
        id=key_id,
        now=now_ms,
    )


def add_parcel(db: Db, values: Row, line_ids: Sequence[int]) -> ParcelId:
    """Insert a parcel with its lines; its number is the next of the order."""
    parcel = ParcelId(
        int(
            db.value(
                "INSERT INTO parcels (order_id, n, courier, address_digest, sealed, data_key_id,"
                " created_ms) VALUES (:order_id, :n, :courier, :address_digest, :sealed,"
                " :data_key_id, :created_ms) RETURNING id",
                **values,
            )
        )
    )
    db.many(
        "INSERT INTO parcel_lines (parcel_id, line_id) VALUES (:p, :l)",
        [{"p": parcel, "l": line} for line in line_ids],
    )
    return parcel


def next_parcel(db: Db, order_id: OrderId) -> int:
    """Return the number the next parcel of an order gets."""
    return 1 + int(
        db.value("SELECT coalesce(max(n), 0) FROM parcels WHERE order_id = :o", o=order_id)
    )


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


def hour_figures(db: Db, sku: str, since_ms: int) -> tuple[int, int]:
    """Return (keys, money in minor units) of a SKU reserved since a moment (burst brake)."""
    row = db.one(
        "SELECT CAST(coalesce(sum(needed), 0) AS BIGINT) AS pieces,"
        " CAST(coalesce(sum(amount_minor), 0) AS BIGINT) AS money"
        " FROM lines WHERE sku = :s AND reserved_ms >= :since",
        s=sku,
        since=since_ms,
    )
    assert row is not None
    return int(row["pieces"]), int(row["money"])


def buyer_pieces(db: Db, channel: str, buyer: str, since_ms: int) -> int:
    """Return how many keys went to one buyer since a moment."""
    return int(
        db.value(
            "SELECT CAST(coalesce(sum(l.needed), 0) AS BIGINT) FROM lines l"
            " JOIN orders o ON o.id = l.order_id WHERE o.channel = :c AND l.reserved_ms >= :since"
            " AND (o.buyer_ref = :b OR (o.buyer_ref = '' AND o.buyer_name = :b))",
            c=channel,
            b=buyer,
            since=since_ms,
        )
    )


def open_lines_left(db: Db, order_id: OrderId) -> int:
    """Count lines of an order that are neither delivered nor ended."""
    return int(
        db.value(
            "SELECT count(*) FROM lines WHERE order_id = :o"
            " AND state NOT IN ('delivered', 'cancelled', 'closed')",
            o=order_id,
        )
    )


def stamp_sent(db: Db, line_ids: Sequence[LineId], column: str, now_ms: int) -> None:
    """Stamp several lines at once, the first time only."""
    assert column in {"reserved_ms", "sent_ms", "acknowledged_ms"}
    marks, params = in_clause(line_ids)
    db.run(
        f"UPDATE lines SET {column} = :now WHERE {column} IS NULL AND id IN {marks}",
        now=now_ms,
        **params,
    )


def bundle_parts(db: Db, sku: str) -> list[Row]:
    """Return what a bundle is made of."""
    return db.all("SELECT sku, units FROM bundle_items WHERE bundle_sku = :s ORDER BY sku", s=sku)


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
    for start in range(0, len(order_ids), 500):
        marks, params = in_clause(order_ids[start : start + 500])
        for row in db.all(
            f"SELECT state, count(*) AS n FROM lines WHERE order_id IN {marks} GROUP BY state",
            **params,
        ):
            found[row["state"]] = found.get(row["state"], 0) + row["n"]
    return found
