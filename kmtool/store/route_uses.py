"""SQL of routes: how often each was used, and the parts of a message that was split.

Counting and using happen in one transaction under the lock of the route's row: two senders never
both take the last use.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, OrderId, ParcelId
from kmtool.store.db import Db, Row, in_clause


def lock(db: Db, names: Sequence[str], now_ms: int) -> None:
    """Hold the rows of routes until the transaction ends, always in the same order."""
    for name in sorted(set(names)):
        db.run(
            "INSERT INTO routes (name, created_ms) VALUES (:name, :now)"
            " ON CONFLICT (name) DO NOTHING",
            name=name,
            now=now_ms,
        )
        db.all("SELECT name FROM routes WHERE name = :name {lock}", name=name)


def add(db: Db, uses: Sequence[Row]) -> None:
    """Write down uses: `route, order_id, effect_id, n, at_ms`; the same one counts once."""
    if uses:
        db.many(
            "INSERT INTO route_uses (route, order_id, effect_id, n, at_ms, state)"
            " VALUES (:route, :order_id, :effect_id, :n, :at_ms, 'used')"
            " ON CONFLICT (effect_id, n) DO NOTHING",
            list(uses),
        )


def give_back(db: Db, effect_id: EffectId, n: int) -> bool:
    """Give back the use of a try that certainly did not send; False when it counted for nothing."""
    return (
        db.run(
            "UPDATE route_uses SET state = 'given_back'"
            " WHERE effect_id = :effect AND n = :n AND state = 'used'",
            effect=effect_id,
            n=n,
        )
        == 1
    )


def of_route(db: Db, route: str, since_ms: int, limit: int) -> list[int]:
    """Return when a route was used since a moment, newest first, at most `limit` times."""
    rows = db.all(
        "SELECT at_ms FROM route_uses WHERE route = :route AND at_ms > :since AND state = 'used'"
        " ORDER BY at_ms DESC LIMIT :limit",
        route=route,
        since=since_ms,
        limit=limit,
    )
    return [int(row["at_ms"]) for row in rows]


def of_orders(db: Db, route: str, order_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return when a route was used for orders, newest first: order id → moments."""
    found: dict[int, list[int]] = {}
    for start in range(0, len(order_ids), 500):
        marks, params = in_clause(order_ids[start : start + 500], "o")
        for row in db.all(
            "SELECT order_id, at_ms FROM route_uses WHERE route = :route AND state = 'used'"
            f" AND order_id IN {marks} ORDER BY at_ms DESC, id DESC",
            route=route,
            **params,
        ):
            found.setdefault(row["order_id"], []).append(int(row["at_ms"]))
    return found


def bound(db: Db, route: str) -> list[Row]:
    """Return the orders of messages that wait to leave by a route and did not use it yet."""
    return db.all(
        "SELECT e.order_id FROM effects e WHERE e.state IN ('pending', 'retry_at')"
        " AND e.route = :route AND e.parcel_id IS NOT NULL AND NOT EXISTS (SELECT 1"
        "  FROM route_uses u WHERE u.effect_id = e.id AND u.state = 'used') ORDER BY e.id",
        route=route,
    )


def set_route(db: Db, effect_id: EffectId, source: str, target: str, due_ms: int) -> bool:
    """Let an effect that waits go by another route; False when somebody else moved it."""
    return (
        db.run(
            "UPDATE effects SET route = :target, due_ms = :due"
            " WHERE id = :id AND route = :source AND state <> 'done'",
            id=effect_id,
            source=source,
            target=target,
            due=due_ms,
        )
        == 1
    )


def tries(db: Db, effect_id: EffectId) -> list[Row]:
    """Return the tries of an effect with the routes they took, oldest first."""
    return db.all(
        "SELECT n, state, route, started_ms FROM attempts WHERE effect_id = :e ORDER BY n",
        e=effect_id,
    )


def set_parts(db: Db, parcel_id: ParcelId, part: int, parts: int) -> None:
    """Say which part of a split message a parcel is."""
    db.run(
        "UPDATE parcels SET part = :part, parts = :parts WHERE id = :id",
        id=parcel_id,
        part=part,
        parts=parts,
    )


def put_in_parcel(db: Db, parcel_id: ParcelId, pairs: Sequence[tuple[int, int]]) -> None:
    """Say in which parcel the keys of lines are: pairs of (line, key) that are bound."""
    db.many(
        "UPDATE allocations SET parcel_id = :parcel WHERE line_id = :line AND key_id = :key"
        " AND state <> 'withdrawn'",
        [{"parcel": parcel_id, "line": line, "key": key} for line, key in pairs],
    )


def parts_of(db: Db, parcel: Row) -> list[Row]:
    """Return the parts a parcel belongs to, itself too, with their first hand-over.

    The parts of one message were numbered one after the other when they were packed.
    """
    return db.all(
        "SELECT p.id, p.n, p.part, p.parts, e.id AS effect_id, e.state, e.due_ms FROM parcels p"
        " JOIN effects e ON e.parcel_id = p.id AND e.kind = 'hand_over' AND e.generation = 1"
        " WHERE p.order_id = :o AND p.n > :base AND p.n <= :base + :parts ORDER BY p.n",
        o=parcel["order_id"],
        base=parcel["n"] - parcel["part"],
        parts=parcel["parts"],
    )


def of_line(db: Db, line_id: int) -> list[Row]:
    """Return the effects that wait and carry a line."""
    return db.all(
        "SELECT e.id, e.route, e.channel FROM effects e"
        " JOIN parcel_lines p ON p.parcel_id = e.parcel_id"
        " WHERE p.line_id = :l AND e.state IN ('pending', 'retry_at') ORDER BY e.id",
        l=line_id,
    )


def due_in(db: Db, effect_id: EffectId, due_ms: int) -> None:
    """Set when an effect that waits is due."""
    db.run(
        "UPDATE effects SET due_ms = :due WHERE id = :id AND state IN ('pending', 'retry_at')",
        id=effect_id,
        due=due_ms,
    )


def cancel_parts(db: Db, parcel_ids: Sequence[int], reason: str) -> int:
    """Cancel the hand-overs of parts that were never tried; return how many."""
    marks, params = in_clause(parcel_ids)
    return db.run(
        "UPDATE effects SET state = 'cancelled', reason = :reason WHERE tries = 0"
        f" AND state IN ('pending', 'retry_at', 'human') AND parcel_id IN {marks}",
        reason=reason[:300],
        **params,
    )


def of_order(db: Db, order_id: OrderId) -> list[Row]:
    """Return the uses of an order, oldest first."""
    return db.all(
        "SELECT route, n, at_ms, state FROM route_uses WHERE order_id = :o ORDER BY id",
        o=order_id,
    )
