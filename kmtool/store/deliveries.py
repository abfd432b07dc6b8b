"""SQL of the delivery ledger: taking keys, allocations, parcels, effects, attempts.

Every change of state is a compare-and-set and says so by its result; the operation decides what a
lost race means.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, KeyId, LineId, OrderId, ParcelId, SessionId
from kmtool.domain.states import EffectState
from kmtool.store.db import Db, Row, in_clause


def take_free(db: Db, sku: str, n: int, now_ms: int) -> list[Row]:
    """Move n free keys of a SKU to `reserved`, first expiring first, then oldest; [] when short.

    The stock counter is the gate: with skipped locks «no key seen» would not mean «no stock».
    """
    if (
        db.run("UPDATE stock SET free = free - :n WHERE sku = :s AND free >= :n", n=n, s=sku)
        != 1
    ):
        return []
    rows = db.all(
        "UPDATE keys SET state = 'reserved', uses_left = uses_left - 1, state_ms = :now"
        " WHERE id IN (SELECT id FROM keys WHERE sku = :s AND state = 'free'"
        " AND expires_ms > :now ORDER BY expires_ms, id LIMIT :n {skip_locked})"
        " AND state = 'free'"
        " RETURNING id, fingerprint, sealed, data_key_id, tail, batch_id, line_no, expires_ms",
        s=sku,
        n=n,
        now=now_ms,
    )
    rows.sort(key=lambda row: (row["expires_ms"], row["id"]))
    return rows


def put_back(db: Db, key_id: KeyId, now_ms: int) -> str | None:
    """Set a reserved key free again (never an exposed one) and return its SKU; None when it moved."""
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
    """Return the highest unit cost (e5) among the next n keys to leave; 0 when there are none."""
    value = db.value(
        "SELECT max(b.cost_e5) FROM (SELECT batch_id FROM keys WHERE sku = :s AND state = 'free'"
        " AND expires_ms > :now ORDER BY expires_ms, id LIMIT :n) k"
        " JOIN batches b ON b.id = k.batch_id",
        s=sku,
        n=n,
        now=now_ms,
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
        " k.line_no AS key_line_no FROM allocations a JOIN keys k ON k.id = a.key_id"
        f" WHERE a.line_id IN {marks} AND a.state NOT IN ('withdrawn', 'replaced')"
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


def parcel_lines(db: Db, parcel_id: ParcelId) -> list[Row]:
    """Return the lines of a parcel."""
    return db.all(
        "SELECT l.* FROM lines l JOIN parcel_lines p ON p.line_id = l.id WHERE p.parcel_id = :p"
        " ORDER BY l.id",
        p=parcel_id,
    )


def add_effect(db: Db, values: Row) -> EffectId | None:
    """Write down one thing to happen outside; None when it is written already."""
    found = db.value(
        "INSERT INTO effects (order_id, parcel_id, parcel_n, kind, generation, channel, route,"
        " state, due_ms, tries, reason, created_ms) VALUES (:order_id, :parcel_id, :parcel_n,"
        " :kind, :generation, :channel, :route, 'pending', :due_ms, 0, '', :created_ms)"
        " ON CONFLICT (order_id, parcel_n, kind, generation) DO NOTHING RETURNING id",
        **values,
    )
    return None if found is None else EffectId(int(found))


def effect(db: Db, effect_id: EffectId) -> Row:
    """Return an effect."""
    row = db.one("SELECT * FROM effects WHERE id = :id", id=effect_id)
    assert row is not None
    return row


def effects_of(db: Db, order_id: OrderId) -> list[Row]:
    """Return all effects of an order, oldest first."""
    return db.all("SELECT * FROM effects WHERE order_id = :o ORDER BY id", o=order_id)


def due_effects(
    db: Db, now_ms: int, limit: int, routes_out: Sequence[str] = (), only: Sequence[int] = ()
) -> list[Row]:
    """Return effects whose time has come, with their last attempt, earliest first."""
    where, params = "", {}
    if routes_out:
        marks, out = in_clause(routes_out, "r")
        where += f" AND e.route NOT IN {marks}"
        params.update(out)
    if only:
        marks, chosen = in_clause(only, "o")
        where += f" AND e.order_id IN {marks}"
        params.update(chosen)
    return db.all(
        "SELECT e.*, a.id AS attempt_id, a.state AS attempt_state, a.started_ms AS attempt_ms,"
        " a.n AS attempt_n, a.detail AS attempt_detail, a.reference AS attempt_reference"
        " FROM effects e LEFT JOIN attempts a ON a.effect_id = e.id AND a.n = e.tries"
        f" WHERE e.state IN ('pending', 'retry_at') AND e.due_ms <= :now{where}"
        " ORDER BY e.due_ms, e.id LIMIT :limit",
        now=now_ms,
        limit=limit,
        **params,
    )


def move_effect(
    db: Db,
    effect_id: EffectId,
    sources: Sequence[EffectState],
    target: EffectState,
    now_ms: int,
    *,
    due_ms: int | None = None,
    reason: str = "",
) -> bool:
    """Compare-and-set the state of an effect."""
    marks, params = in_clause(sources)
    return (
        db.run(
            "UPDATE effects SET state = :target, reason = :reason,"
            " due_ms = coalesce(CAST(:due AS BIGINT), due_ms),"
            " done_ms = CASE WHEN :target = 'done' THEN CAST(:now AS BIGINT) ELSE done_ms END"
            f" WHERE id = :id AND state IN {marks}",
            id=effect_id,
            target=target,
            reason=reason[:300],
            due=due_ms,
            now=now_ms,
            **params,
        )
        == 1
    )


def begin_effect(db: Db, effect_id: EffectId, sources: Sequence[EffectState]) -> int | None:
    """Take an effect for a try and return the number of that try; None when somebody else did."""
    marks, params = in_clause(sources)
    value = db.value(
        "UPDATE effects SET state = 'inflight', tries = tries + 1, reason = ''"
        f" WHERE id = :id AND state IN {marks} RETURNING tries",
        id=effect_id,
        **params,
    )
    return None if value is None else int(value)


def add_attempt(db: Db, values: Row) -> int:
    """Put an attempt on record before anything leaves."""
    return int(
        db.value(
            "INSERT INTO attempts (effect_id, n, session_id, state, digest, started_ms, reference,"
            " detail) VALUES (:effect_id, :n, :session_id, 'intent', :digest, :started_ms, '', '')"
            " RETURNING id",
            **values,
        )
    )


def move_attempt(
    db: Db, attempt_id: int, source: str, target: str, now_ms: int, reference: str, detail: str
) -> bool:
    """Compare-and-set an attempt."""
    return (
        db.run(
            "UPDATE attempts SET state = :target, ended_ms = :now, reference = :ref,"
            " detail = :detail WHERE id = :id AND state = :source",
            id=attempt_id,
            source=source,
            target=target,
            now=now_ms,
            ref=reference[:200],
            detail=detail[:300],
        )
        == 1
    )


def attempt(db: Db, attempt_id: int) -> Row:
    """Return an attempt."""
    row = db.one("SELECT * FROM attempts WHERE id = :id", id=attempt_id)
    assert row is not None
    return row


def attempts_of(db: Db, effect_ids: Sequence[int]) -> list[Row]:
    """Return the attempts of some effects, in order."""
    if not effect_ids:
        return []
    marks, params = in_clause(effect_ids)
    return db.all(
        f"SELECT * FROM attempts WHERE effect_id IN {marks} ORDER BY effect_id, n", **params
    )


def note_evidence(db: Db, attempt_id: int, text: str) -> None:
    """Store what a fenced-off sender learned too late, for recovery to use."""
    db.run(
        "UPDATE attempts SET reference = :text WHERE id = :id AND state = 'unknown'",
        text=text[:200],
        id=attempt_id,
    )


def orphans(db: Db, session: SessionId) -> list[Row]:
    """Return the attempts a dead session left open, with their effects."""
    return db.all(
        "SELECT a.id, a.effect_id, a.n, a.started_ms, e.kind, e.parcel_id, e.order_id"
        " FROM attempts a JOIN effects e ON e.id = a.effect_id"
        " WHERE a.session_id = :s AND a.state = 'intent' ORDER BY a.id",
        s=session,
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
