"""SQL of effects (one thing to happen outside) and their attempts.

Every change of state is a compare-and-set and says so by its result; the operation decides what a
lost race means.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, OrderId, SessionId
from kmtool.domain.states import EffectState
from kmtool.store.db import Db, Row, all_in, in_clause, run_in


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


def add_effects(db: Db, rows: Sequence[Row]) -> int:
    """Write down several things to happen outside; return how many were not written before."""
    return db.insert(
        "INSERT INTO effects (order_id, parcel_id, parcel_n, kind, generation, channel, route,"
        " state, due_ms, tries, reason, created_ms)",
        "(:order_id, :parcel_id, :parcel_n, :kind, :generation, :channel, :route, 'pending',"
        " :due_ms, 0, '', :created_ms)",
        rows,
        "ON CONFLICT (order_id, parcel_n, kind, generation) DO NOTHING",
    )


def some(db: Db, effect_ids: Sequence[int]) -> dict[int, Row]:
    """Return effects by id."""
    rows = all_in(db, "SELECT * FROM effects WHERE id IN {in}", effect_ids)
    return {row["id"]: row for row in rows}


def moves(db: Db, effect_ids: Sequence[int]) -> dict[int, Row]:
    """Return what changes of effects (state, tries), by id."""
    rows = all_in(db, "SELECT id, state, tries FROM effects WHERE id IN {in}", effect_ids)
    return {row["id"]: row for row in rows}


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
    """Return effects whose time has come, with their last attempt, earliest first.

    What is paused is left out, but for tries whose outcome is unclear: asking sends nothing.
    """
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
        " AND (coalesce(a.state, '') = 'unknown' OR (NOT EXISTS (SELECT 1 FROM pauses p"
        "  WHERE p.scope = 'all' OR p.scope = 'channel:' || e.channel)"
        " AND NOT EXISTS (SELECT 1 FROM pauses p JOIN lines l ON p.scope = 'sku:' || l.sku"
        "  JOIN parcel_lines c ON c.line_id = l.id WHERE c.parcel_id = e.parcel_id)))"
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
    """Put one attempt on record (its columns by name; the route may be missing)."""
    return add_attempts(db, [{"route": "", **values}])[values["effect_id"]]


def begin_effects(
    db: Db, effect_ids: Sequence[int], sources: Sequence[EffectState], tries: int
) -> int:
    """Take effects that were tried so often for one more try; return how many were still there."""
    marks, params = in_clause(sources, "s")
    return run_in(
        db,
        "UPDATE effects SET state = 'inflight', tries = tries + 1, reason = ''"
        f" WHERE tries = :tries AND state IN {marks} AND id IN {{in}}",
        effect_ids,
        tries=tries,
        **params,
    )


def finish_effects(db: Db, effect_ids: Sequence[int], now_ms: int) -> int:
    """Close effects under way that happened; return how many were still under way."""
    return run_in(
        db,
        "UPDATE effects SET state = 'done', reason = '', done_ms = :now WHERE state = 'inflight'"
        " AND id IN {in}",
        effect_ids,
        now=now_ms,
    )


def add_attempts(db: Db, rows: Sequence[Row]) -> dict[int, int]:
    """Put attempts on record before anything leaves; return effect → attempt."""
    found = db.insert_all(
        "INSERT INTO attempts (effect_id, n, session_id, state, digest, started_ms, reference,"
        " detail, route)",
        "(:effect_id, :n, :session_id, 'intent', :digest, :started_ms, '', '', :route)",
        rows,
        "RETURNING id, effect_id",
    )
    return {row["effect_id"]: row["id"] for row in found}


def succeed_attempts(db: Db, rows: Sequence[Row], now_ms: int) -> int:
    """Compare-and-set attempts (id, reference, detail) from intent to ok; return how many moved."""
    return db.many(
        "UPDATE attempts SET state = 'ok', ended_ms = :now, reference = :reference,"
        " detail = :detail WHERE id = :id AND state = 'intent'",
        [
            {
                "id": row["id"],
                "reference": row["reference"][:200],
                "detail": row["detail"][:300],
                "now": now_ms,
            }
            for row in rows
        ],
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


def count_inflight(db: Db, order_ids: Sequence[int]) -> int:
    """Count the effects of some orders that are being sent right now."""
    if not order_ids:
        return 0
    marks, params = in_clause(order_ids)
    return int(
        db.value(
            f"SELECT count(*) FROM effects WHERE state = 'inflight' AND order_id IN {marks}",
            **params,
        )
    )


def due_now(db: Db, order_id: OrderId, now_ms: int) -> int:
    """Let what waits of an order be due at once; return how many effects."""
    return db.run(
        "UPDATE effects SET due_ms = :now WHERE order_id = :o"
        " AND state IN ('pending', 'retry_at') AND due_ms > :now",
        o=order_id,
        now=now_ms,
    )


def with_late_proof(db: Db) -> list[Row]:
    """Return effects that wait for a person although a fenced-off sender proved them done."""
    return db.all(
        "SELECT e.*, a.id AS attempt_id, a.state AS attempt_state, a.started_ms AS attempt_ms,"
        " a.n AS attempt_n, a.detail AS attempt_detail, a.reference AS attempt_reference"
        " FROM effects e JOIN attempts a ON a.effect_id = e.id"
        " WHERE e.state = 'human' AND a.state = 'unknown' AND a.reference LIKE 'late ok%'"
        " ORDER BY e.id"
    )


def waiting_of_kind(db: Db, kind: str, *, at_person: bool = False) -> list[Row]:
    """Return every effect of a kind that waits for a try, or for a person."""
    states = "('human')" if at_person else "('pending', 'retry_at')"
    return db.all(
        f"SELECT * FROM effects WHERE kind = :kind AND state IN {states} ORDER BY id", kind=kind
    )


def settle_unknown(db: Db, effect_id: EffectId, detail: str, now_ms: int) -> None:
    """Close attempts nobody can clear up, because a person decided to send the same text again."""
    db.run(
        "UPDATE attempts SET state = 'rejected', detail = :detail, ended_ms = :now"
        " WHERE effect_id = :id AND state = 'unknown'",
        id=effect_id,
        detail=detail,
        now=now_ms,
    )


def waiting_on(
    db: Db, routes: Sequence[str], kind: str, limit: int, only: Sequence[int] = ()
) -> list[Row]:
    """Return effects of some routes that wait, due or not, paused or not, with their last try."""
    marks, params = in_clause(routes, "r")
    chosen = ""
    if only:
        some, more = in_clause(only, "o")
        chosen = f" AND e.order_id IN {some}"
        params.update(more)
    return db.all(
        "SELECT e.*, a.state AS attempt_state, a.n AS attempt_n FROM effects e"
        " LEFT JOIN attempts a ON a.effect_id = e.id AND a.n = e.tries"
        f" WHERE e.state IN ('pending', 'retry_at') AND e.kind = :kind AND e.route IN {marks}"
        f"{chosen} ORDER BY e.id LIMIT :limit",
        kind=kind,
        limit=limit,
        **params,
    )
