"""Writes what became of attempts (transaction 4 of the ledger).

What happened is written in bulk; what is unclear or was refused, one by one. When a row of a slice
was no longer where it had been read, the slice is undone and its outcomes are written one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, LineId
from kmtool.domain.states import COUNTER, AttemptState, EffectKind, EffectState, LineState
from kmtool.operations import chain, quotas
from kmtool.operations.kinds import KINDS
from kmtool.operations.permit import moved_by, must_be_live, to_human
from kmtool.operations.refunds import reason_of
from kmtool.operations.routes import Outcome, Result, features_of
from kmtool.operations.tries import Begun, Sent, Slice, look, remembered
from kmtool.shop import Shop
from kmtool.store import effects, orders, sessions
from kmtool.store.db import Moved, Row, all_moved
from kmtool.store.unswept import unswept

UNCLEAR_ASK_MS = 2_000
GIVE_UP_MS = 24 * 3_600_000
BACKOFF_S = (5, 15, 60, 300, 900, 3600)
AGAIN_MAX = 3


def finish(shop: Shop, done: Sequence[tuple[Begun, Outcome]], tally: Sent) -> None:
    """Write the outcomes of attempts in one transaction; `Broken` when this session is over."""
    for again in range(AGAIN_MAX):
        part = Sent()
        try:
            with unswept():
                live = _finish(shop, done, part)
        except Moved:
            if len(done) > 1:
                for one in done:
                    finish(shop, [one], tally)
                return
            if again + 1 == AGAIN_MAX:
                raise
            continue
        tally.add(part)
        if not live:
            must_be_live(shop)
        return


def _finish(shop: Shop, done: Sequence[tuple[Begun, Outcome]], tally: Sent) -> bool:
    with shop.db.tx():
        assert shop.session is not None
        live = sessions.is_live(shop.db, shop.session, lock=True)
        orders.lock(shop.db, [begun.effect["order_id"] for begun, _ in done])
        if not live:
            for begun, outcome in done:
                _too_late(shop, begun, outcome)
            return False
        happened = [one for one in done if one[1].result is Result.OK]
        if len(happened) > 1:
            _all_happened(shop, happened, tally)
        for begun, outcome in done if len(happened) <= 1 else ():
            _finish_one(shop, begun, outcome, tally)
        for begun, outcome in done if len(happened) > 1 else ():
            if outcome.result is not Result.OK:
                _finish_one(shop, begun, outcome, tally)
    return True


def _all_happened(shop: Shop, done: Sequence[tuple[Begun, Outcome]], tally: Sent) -> None:
    rows = [
        {"id": begun.attempt_id, "reference": outcome.reference, "detail": outcome.detail}
        for begun, outcome in done
    ]
    all_moved(effects.succeed_attempts(shop.db, rows, shop.now_ms()), len(rows))
    seen = remembered(shop, [begun for begun, _ in done])
    succeed(shop, [begun.effect for begun, _ in done], tally, seen)


def _too_late(shop: Shop, begun: Begun, outcome: Outcome) -> None:
    """A fenced-off sender only leaves its evidence; recovery uses it."""
    if outcome.result is Result.OK:
        effects.note_evidence(shop.db, begun.attempt_id, f"late ok: {outcome.reference}")
    shop.audit("late_outcome", f"effect:{begun.effect['id']}", outcome.result)


def _finish_one(shop: Shop, begun: Begun, outcome: Outcome, tally: Sent) -> None:
    state = {
        Result.OK: AttemptState.OK,
        Result.UNKNOWN: AttemptState.UNKNOWN,
    }.get(outcome.result, AttemptState.REJECTED)
    moved = effects.move_attempt(
        shop.db,
        begun.attempt_id,
        AttemptState.INTENT,
        state,
        shop.now_ms(),
        outcome.reference,
        outcome.detail,
    )
    if not moved:
        _too_late(shop, begun, outcome)
        return
    if outcome.result is Result.OK:
        succeed(shop, [begun.effect], tally)
    elif outcome.result is Result.UNKNOWN:
        _unclear(shop, begun, outcome, tally)
    else:
        _not_done(shop, begun, outcome, tally)


def succeed(shop: Shop, done: Sequence[Row], tally: Sent, seen: Slice | None = None) -> None:
    """Effects happened: close them, write what follows from each kind, order the next.

    `seen` are their facts where they are known; they are read else.
    """
    db, now = shop.db, shop.now_ms()
    seen = seen or look(shop, done, sealed=False)
    under_way = []
    sources = [EffectState.RETRY_AT, EffectState.HUMAN, EffectState.CANCELLED]
    for effect in (seen.effects[one["id"]] for one in done):
        if effect["state"] == EffectState.INFLIGHT:
            under_way.append(effect["id"])
        else:
            effects.move_effect(db, EffectId(effect["id"]), sources, EffectState.DONE, now)
    all_moved(effects.finish_effects(db, under_way, now), len(under_way))
    named = [(seen.order(effect), effect) for effect in done]
    shop.audit_many(
        [
            (
                "done",
                f"order:{order['channel']}:{order['number']}",
                f"{effect['kind']} {effect['generation']}",
            )
            for order, effect in named
        ]
    )
    by_kind: dict[str, list[Row]] = {}
    for effect in done:
        by_kind.setdefault(effect["kind"], []).append(effect)
    for kind, rows in by_kind.items():
        KINDS[EffectKind(kind)].happened(shop, seen, rows, tally)


def _unclear(shop: Shop, begun: Begun, outcome: Outcome, tally: Sent) -> None:
    """Ask soon (`resolve` gives what is repeated without asking more and more time)."""
    db, now = shop.db, shop.now_ms()
    effects.move_effect(
        db,
        EffectId(begun.effect["id"]),
        [EffectState.INFLIGHT],
        EffectState.RETRY_AT,
        now,
        due_ms=now + UNCLEAR_ASK_MS,
        reason=outcome.detail,
    )
    for line in moved_by(shop, begun.effect):
        reason = reason_of(line, outcome.detail)
        orders.move_line(
            db, LineId(line["id"]), LineState.SENDING, LineState.UNKNOWN, now, reason=reason
        )
    tally.unknown += len(begun.line_ids) or 1


def _not_done(shop: Shop, begun: Begun, outcome: Outcome, tally: Sent) -> None:
    """Definitely not sent: the next route, again later, or a person when it will never work."""
    quotas.give_back(shop, begun.effect, begun.n)
    message, detail = begun.parcel.message, outcome.detail
    onward = chain.gives_way(shop, begun.effect, message, outcome.result, detail)
    lines = moved_by(shop, begun.effect)
    for line in lines:
        orders.move_line(
            shop.db,
            LineId(line["id"]),
            LineState.SENDING,
            LineState.RESERVED,
            shop.now_ms(),
            reason=reason_of(line, onward or outcome.detail),
        )
    if onward:
        tally.notes.append(onward)
        return
    if outcome.result is Result.REJECTED or _tried_enough(shop, begun):
        moved = [{**line, "state": LineState.RESERVED} for line in lines]
        to_human(shop, begun.effect, moved, outcome.detail)
        tally.needs_you += len(lines) or 1
        return
    wait_s = max(outcome.after_s, backoff_s(begun.n))
    effects.move_effect(
        shop.db,
        EffectId(begun.effect["id"]),
        [EffectState.INFLIGHT],
        EffectState.RETRY_AT,
        shop.now_ms(),
        due_ms=shop.now_ms() + round(wait_s * 1000),
        reason=outcome.detail,
    )
    tally.failed += len(lines) or 1
    tally.notes.append(outcome.detail)


def backoff_s(tries: int) -> int:
    """Return how long to wait after the n-th try in a row."""
    return BACKOFF_S[min(tries - 1, len(BACKOFF_S) - 1)]


def _tried_enough(shop: Shop, begun: Begun) -> bool:
    """Tell whether a route that is down deserves a person: many tries, and for a whole day."""
    age_ms = shop.now_ms() - begun.effect["created_ms"]
    if begun.effect["channel"] == COUNTER:  # the owner's own screen is no route that is down
        return False
    if features_of(shop, begun.parcel.kind, begun.parcel.route, begun.parcel.channel).by_hand:
        return False
    return bool(begun.n >= shop.config.deliver.tries_max and age_ms >= GIVE_UP_MS)
