"""Sends what is due: intent, journal, network, outcome (transactions 3 and 4 of the ledger).

Intent commits before the journal, the journal before the first byte. A try whose outcome is unclear
is resolved by asking; only routes that bear it get the same text again. Nothing here picks a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.domain.ids import EffectId, LineId, OrderId
from kmtool.domain.states import AllocationState, EffectKind, EffectState, KeyState, LineState
from kmtool.errors import Broken, Locked, told
from kmtool.journal import JournalEntry
from kmtool.operations import chain, parts, waited
from kmtool.operations.kinds import KINDS
from kmtool.operations.outcome import finish as finish
from kmtool.operations.permit import (
    disk_must_have_room,
    may_leave,
    may_tell,
    must_be_live,
    stopped_by,
    to_human,
)
from kmtool.operations.quotas import Rooms
from kmtool.operations.refunds import apply_refund, is_first, refund_blocks
from kmtool.operations.routes import Parcel
from kmtool.operations.tries import WAITING, Begun, Slice, look
from kmtool.operations.tries import Sent as Sent
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, line_moves, machines, orders, refunds
from kmtool.store.db import Moved, Row, all_moved
from kmtool.store.unswept import unswept

STOPPED_MS = 15_000
AGAIN_MAX = 3
MOVING = (LineState.RESERVED, LineState.UNKNOWN)


@dataclass(slots=True)  # one for each effect: a frozen one takes four times as long to make
class _Leaving:
    """An effect that may leave, before it is on record."""

    effect: Row
    order: Row
    lines: list[Row]
    parcel: Parcel


def begin(shop: Shop, due: Sequence[Row], again: int = AGAIN_MAX) -> list[Begun]:
    """Write the intents of effects in one transaction, then the journal; only then may bytes leave.

    An effect whose order was refunded or stopped, whose lines moved, or that somebody else took is
    left out. Raises `Broken` when this session was fenced off or the disk has no room.
    """
    assert shop.session is not None, "only a session sends"
    assert not shop.db.rehearsing, "a rehearsal sends nothing"
    disk_must_have_room(shop)
    try:
        with unswept():
            begun, entries = _intend(shop, due)
    except Locked:
        if not again or shop.db.dialect != "postgresql":
            raise
        return begin(shop, due, again - 1)  # two workers quarrelled over rows; nothing was written
    except Moved:
        if len(due) == 1:
            return []  # somebody is at work on it right now
        return [one for effect in due for one in begin(shop, [effect])]
    shop.journal.append(entries)
    return begun


def _intend(shop: Shop, due: Sequence[Row]) -> tuple[list[Begun], list[JournalEntry]]:
    with shop.db.tx():
        must_be_live(shop)
        orders.lock(shop.db, [effect["order_id"] for effect in due])
        paused = house.pauses(shop.db)
        seen = look(shop, due)
        rooms = Rooms(shop, seen.orders)
        rooms.hold((row["route"], row["channel"]) for row in due if row["parcel_id"] is not None)
        found = (_permitted(shop, seen, rooms, effect, paused) for effect in due)
        leaving = [one for one in found if one is not None]
        rooms.write()
        if not leaving:
            return [], []
        waited.look(shop)  # a clock that is wrong only now would not be noticed later
        return _record(shop, seen, leaving), _entries(shop, seen, leaving)


def _permitted(
    shop: Shop, seen: Slice, rooms: Rooms, effect: Row, paused: dict[str, Row]
) -> _Leaving | None:
    order, route = seen.order(effect), effect["route"]
    effect = {**effect, **seen.effects[effect["id"]]}
    if effect["route"] != route:
        return None  # it goes by another route now
    if effect["state"] not in WAITING or (effect["attempt_n"] or 0) != effect["tries"]:
        return None  # another session was faster
    if refund_blocks(order) and effect["kind"] != EffectKind.REFUND_REPLY:
        apply_refund(shop, OrderId(order["id"]))
        return None
    lines = seen.lines_of(effect)
    stopped = stopped_by(order, lines, seen.keys_of(effect), paused)
    if stopped:
        _put_off(shop, effect, stopped)
        return None
    may_go = may_leave if lines else may_tell
    if parts.waits(shop, seen, effect) or not may_go(shop, seen, effect):
        return None
    try:
        parcel = KINDS[EffectKind(effect["kind"])].compose(shop, seen, effect)
    except Broken as error:
        to_human(shop, effect, lines, error.message())
        return None
    if parcel.message is not None:
        turned = chain.take_room(shop, rooms, effect, parcel.message)
        if turned is not None:
            if turned.opens_ms is None and not turned.moved:
                to_human(shop, effect, lines, turned.reason)
            return None
    return _Leaving(effect, order, lines, parcel)


def _put_off(shop: Shop, effect: Row, stopped: str) -> None:
    now = shop.now_ms()
    effects.move_effect(
        shop.db,
        EffectId(effect["id"]),
        WAITING,
        EffectState.RETRY_AT,
        now,
        due_ms=now + STOPPED_MS,
        reason=told("stopped: {stopped}", stopped=stopped),
    )


def _record(shop: Shop, seen: Slice, leaving: Sequence[_Leaving]) -> list[Begun]:
    """Put the attempts on record: effects under way, keys exposed, lines sending, audit.

    Where all of it is a first hand-over in one piece, the facts of the slice are brought to what
    was just written, and are good for the outcome too.
    """
    db, now = shop.db, shop.now_ms()
    by_tries: dict[int, list[int]] = {}
    for one in leaving:
        by_tries.setdefault(one.effect["tries"], []).append(one.effect["id"])
    for tries, ids in by_tries.items():
        all_moved(effects.begin_effects(db, ids, WAITING, tries), len(ids))
    _expose(shop, seen, leaving)
    attempts = effects.add_attempts(
        db,
        [
            {
                "effect_id": one.effect["id"],
                "n": one.effect["tries"] + 1,
                "session_id": shop.session,
                "digest": shop.vault.digest(_payload(one.parcel)),
                "started_ms": now,
                "route": one.effect["route"],
            }
            for one in leaving
        ],
    )
    shop.audit_many(
        [
            (
                "intent",
                f"order:{one.order['channel']}:{one.order['number']}",
                f"{one.effect['kind']} {one.effect['tries'] + 1}",
            )
            for one in leaving
        ]
    )
    good = _bring_up(seen, leaving) if all(_is_plain(seen, one) for one in leaving) else None
    return [
        Begun(
            one.effect,
            attempts[one.effect["id"]],
            one.effect["tries"] + 1,
            one.parcel,
            tuple(LineId(line["id"]) for line in one.lines),
            good,
        )
        for one in leaving
    ]


def _is_plain(seen: Slice, one: _Leaving) -> bool:
    """Tell whether an effect hands over its lines for the first time, in one piece."""
    kind, generation = one.effect["kind"], one.effect["generation"]
    return (
        kind == EffectKind.HAND_OVER
        and generation == 1
        and not parts.is_part(seen, one.effect)
        and all(line["state"] in MOVING for line in one.lines)
    )


def _bring_up(seen: Slice, leaving: Sequence[_Leaving]) -> Slice:
    """Bring the facts of a slice to what its intents wrote."""
    for one in leaving:
        effect = seen.effects[one.effect["id"]]
        seen.effects[effect["id"]] = {
            **effect,
            "state": EffectState.INFLIGHT,
            "tries": effect["tries"] + 1,
        }
        for line in one.lines:
            line["state"], line["reason"] = LineState.SENDING, ""
        for key in seen.keys_of(one.effect):
            if key["state"] == AllocationState.RESERVED:
                key["state"] = AllocationState.EXPOSED
            if key["key_state"] == KeyState.RESERVED:
                key["key_state"] = KeyState.EXPOSED
    return seen


def _payload(parcel: Parcel) -> bytes:
    if parcel.message:
        return parcel.message.text.reveal()
    return f"{parcel.order}{parcel.reply or ''}".encode()


def _expose(shop: Shop, seen: Slice, leaving: Sequence[_Leaving]) -> None:
    """Keys may be seen from now on; lines that wait for this are under way."""
    db, now = shop.db, shop.now_ms()
    deliveries.expose(
        db, [key for one in leaving for key in parts.keys_shown(seen, one.effect)], now
    )
    lines = {line["id"]: line for one in leaving for line in one.lines}.values()
    waiting = {
        line["id"]
        for one in leaving
        if is_first(one.effect)
        for line in one.lines
        if not one.effect["tries"] or not parts.waits_for_another(shop, seen, one.effect, line)
    }
    for source in MOVING:
        ids = [line["id"] for line in lines if line["state"] == source and line["id"] in waiting]
        moved = line_moves.move_lines(db, ids, source, LineState.SENDING, now, stamp="sent_ms")
        all_moved(moved, len(ids))
    others = [
        line["id"] for line in lines if line["state"] not in MOVING or line["id"] not in waiting
    ]
    deliveries.stamp_sent(db, others, "sent_ms", now)


def _entries(shop: Shop, seen: Slice, leaving: Sequence[_Leaving]) -> list[JournalEntry]:
    """Return the journal's records, numbered by what this session will have journalled with them:
    a database that knows fewer is an old copy."""
    assert shop.session is not None
    found: list[tuple[_Leaving, Row, Row, int, str]] = []
    again = [one.effect["parcel_id"] for one in leaving if one.effect["kind"] == EffectKind.REPLACE]
    bad = refunds.given_up(shop.db, again) if again else {}
    for one in leaving:
        lines = {line["id"]: line for line in one.lines}
        keys = [(key, "SEND") for key in seen.keys_of(one.effect)]
        keys += [(key, "BAD") for key in bad.get(one.effect["parcel_id"], ())]
        upto = len(found) + len(keys)
        found += [(one, lines[key["line_id"]], key, upto, kind) for key, kind in keys]
    before = machines.count_journalled(shop.db, shop.session, len(found)) if found else 0
    return [
        JournalEntry(
            kind=kind,
            channel=one.order["channel"],
            order=one.order["number"],
            line=line["line_no"],
            fingerprint=bytes(key["fingerprint"]).hex(),
            session=int(shop.session),
            n=n,
            parcel=one.effect["parcel_n"],
            upto=before + upto,
        )
        for n, (one, line, key, upto, kind) in enumerate(found, before + 1)
    ]
