"""Sends what is due: intent, journal, network, outcome (transactions 3 and 4 of the ledger).

Intent commits before the journal, the journal before the first byte. A try whose outcome is unclear
is resolved by asking; only routes that bear it get the same text again. Nothing here picks a key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from kmtool.domain.ids import EffectId, KeyId, LineId, OrderId, ParcelId
from kmtool.domain.money import e5_to_minor, split
from kmtool.domain.states import AttemptState, EffectKind, EffectState, LineState
from kmtool.errors import Broken, told
from kmtool.journal import JournalEntry
from kmtool.operations.pack import message_of, parcel_label
from kmtool.operations.permit import (
    disk_must_have_room,
    lines_of,
    may_leave,
    must_be_live,
    stopped_by,
    to_human,
)
from kmtool.operations.refunds import CHANGED, apply_refund, reason_of, refund_blocks
from kmtool.operations.routes import Outcome, Parcel, Result, features_of
from kmtool.operations.shipped import mark_when_done
from kmtool.ports import OrderRef
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, ledger, orders, sessions
from kmtool.store.db import Row

WAITING = (EffectState.PENDING, EffectState.RETRY_AT)
STOPPED_MS = 15_000
GIVE_UP_MS = 24 * 3_600_000
BACKOFF_S = (5, 15, 60, 300, 900, 3600)


@dataclass
class Sent:
    """Counts of one round: lines delivered, unclear, for a person, failed for now."""

    delivered: int = 0
    unknown: int = 0
    needs_you: int = 0
    failed: int = 0
    shipped: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt on record, ready for the network."""

    effect: Row
    attempt_id: int
    n: int
    parcel: Parcel
    line_ids: tuple[LineId, ...]


def begin(shop: Shop, due: Sequence[Row]) -> list[Begun]:
    """Write the intents of effects in one transaction, then the journal; only then may bytes leave.

    An effect whose order was refunded or stopped, whose lines moved, or that somebody else took is
    left out. Raises `Broken` when this session was fenced off or the disk has no room.
    """
    assert shop.session is not None, "only a session sends"
    assert not shop.db.rehearsing, "a rehearsal sends nothing"
    disk_must_have_room(shop)
    begun: list[Begun] = []
    entries: list[JournalEntry] = []
    with shop.db.tx():
        must_be_live(shop)
        orders.lock(shop.db, [effect["order_id"] for effect in due])
        paused = house.pauses(shop.db)
        for effect in due:
            one = _begin_one(shop, effect, paused, entries)
            if one is not None:
                begun.append(one)
    shop.journal.append(entries)
    return begun


def _begin_one(
    shop: Shop, effect: Row, paused: dict[str, Row], entries: list[JournalEntry]
) -> Begun | None:
    db, now = shop.db, shop.now_ms()
    order = orders.get(db, OrderId(effect["order_id"]), lock=True)
    effect = {**effect, **effects.effect(db, EffectId(effect["id"]))}
    if effect["state"] not in WAITING or (effect["attempt_n"] or 0) != effect["tries"]:
        return None  # another session was faster
    if refund_blocks(order):
        apply_refund(shop, OrderId(order["id"]))
        return None
    lines = lines_of(shop, effect)
    stopped = stopped_by(shop, order, lines, paused)
    if stopped:
        _put_off(shop, effect, stopped)
        return None
    if lines and not may_leave(shop, effect, order, lines):
        return None
    try:
        parcel = parcel_of(shop, effect, order)
    except Broken as error:
        to_human(shop, effect, lines, error.message())
        return None
    n = effects.begin_effect(db, EffectId(effect["id"]), WAITING)
    if n is None:
        return None
    if lines:
        _expose(shop, order, lines, entries)
    payload = parcel.message.text.reveal() if parcel.message else str(parcel.order).encode()
    attempt_id = effects.add_attempt(
        db,
        {
            "effect_id": effect["id"],
            "n": n,
            "session_id": shop.session,
            "digest": shop.vault.digest(payload),
            "started_ms": now,
        },
    )
    shop.audit("intent", f"order:{order['channel']}:{order['number']}", f"{effect['kind']} {n}")
    return Begun(effect, attempt_id, n, parcel, tuple(LineId(line["id"]) for line in lines))


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


def _expose(shop: Shop, order: Row, lines: list[Row], entries: list[JournalEntry]) -> None:
    db, now = shop.db, shop.now_ms()
    ids = [line["id"] for line in lines]
    deliveries.expose(db, ids, now)
    for line in lines:
        if line["state"] in {LineState.RESERVED, LineState.UNKNOWN}:
            orders.move_line(
                db, LineId(line["id"]), LineState(line["state"]), LineState.SENDING, now
            )
    deliveries.stamp_sent(db, ids, "sent_ms", now)
    by_id = {line["id"]: line for line in lines}
    assert shop.session is not None
    entries.extend(
        JournalEntry(
            kind="SEND",
            channel=order["channel"],
            order=order["number"],
            line=by_id[row["line_id"]]["line_no"],
            fingerprint=bytes(row["fingerprint"]).hex(),
            session=int(shop.session),
        )
        for row in deliveries.allocations(db, ids)
    )


def parcel_of(shop: Shop, effect: Row, order: Row) -> Parcel:
    """Return what the network needs for an effect: the opened message, or the order's name."""
    kind = EffectKind(effect["kind"])
    if kind is EffectKind.MARK_SHIPPED:
        ref = OrderRef(order["number"], f"{order['code']}-S")
        return Parcel(effect["id"], kind, effect["channel"], effect["route"], None, ref)
    parcel = deliveries.parcel(shop.db, ParcelId(effect["parcel_id"]))
    body = shop.vault.open(
        parcel["sealed"], parcel["data_key_id"], parcel_label(order, parcel["n"])
    )
    written = json.loads(body.text())
    marker = f"{order['code']}-{parcel['n']}"
    if effect["generation"] > 1:
        marker += f"-{effect['generation']}"
    lines = [line["id"] for line in lines_of(shop, effect)]
    keys = tuple(
        shop.vault.open(row["sealed"], row["data_key_id"], bytes(row["fingerprint"]))
        for row in deliveries.allocations(shop.db, lines)
    )
    if not all(key.text() in written["text"] for key in keys):
        raise Broken(detail="the sealed text does not hold the keys that are bound now")
    message = message_of(order, marker, written["subject"], written["text"], keys)
    return Parcel(effect["id"], kind, effect["channel"], effect["route"], message, None)


def finish(shop: Shop, done: Sequence[tuple[Begun, Outcome]], tally: Sent) -> None:
    """Write the outcomes of attempts in one transaction."""
    with shop.db.tx():
        assert shop.session is not None
        live = sessions.is_live(shop.db, shop.session, lock=True)
        orders.lock(shop.db, [begun.effect["order_id"] for begun, _ in done])
        for begun, outcome in done:
            if live:
                _finish_one(shop, begun, outcome, tally)
            else:
                _too_late(shop, begun, outcome)
    if not live:
        must_be_live(shop)


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
        succeed(shop, begun.effect, tally)
    elif outcome.result is Result.UNKNOWN:
        _unclear(shop, begun, outcome, tally)
    else:
        _not_done(shop, begun, outcome, tally)


def succeed(shop: Shop, effect: Row, tally: Sent) -> None:
    """The effect happened: close it, deliver its lines, fix cost and amount, order the next."""
    db, now = shop.db, shop.now_ms()
    sources = [EffectState.INFLIGHT, EffectState.RETRY_AT, EffectState.HUMAN, EffectState.CANCELLED]
    effects.move_effect(db, EffectId(effect["id"]), sources, EffectState.DONE, now)
    order = orders.get(db, OrderId(effect["order_id"]))
    name = f"order:{order['channel']}:{order['number']}"
    shop.audit("done", name, f"{effect['kind']} {effect['generation']}")
    if effect["kind"] == EffectKind.MARK_SHIPPED:
        orders.set_marked(db, OrderId(order["id"]), now)
        tally.shipped += 1
        return
    for line in lines_of(shop, effect):
        deliver_line(shop, order, line)
        tally.delivered += 1
    if refund_blocks(order):
        apply_refund(shop, OrderId(order["id"]))
    else:
        mark_when_done(shop, order)


def deliver_line(shop: Shop, order: Row, line: Row) -> None:
    """Set a line and its keys to delivered and book their cost, once (rounded once per batch)."""
    db, now = shop.db, shop.now_ms()
    for source in (LineState.SENDING, LineState.UNKNOWN, LineState.HUMAN):
        orders.move_line(db, LineId(line["id"]), source, LineState.DELIVERED, now)
    if line["reason"].startswith(CHANGED):
        orders.move_line(
            db,
            LineId(line["id"]),
            LineState.DELIVERED,
            LineState.HUMAN,
            now,
            reason=line["reason"],
        )
    deliveries.stamp_sent(db, [LineId(line["id"])], "acknowledged_ms", now)
    by_batch: dict[int, list[Row]] = {}
    for row in deliveries.allocations(db, [line["id"]]):
        deliveries.deliver_key(db, KeyId(row["key_id"]), now)
        if row["state"] == "exposed":
            by_batch.setdefault(row["batch_id"], []).append(row)
    found = deliveries.batches(db, list(by_batch))
    for batch_id, rows in by_batch.items():
        batch = found[batch_id]
        amount = e5_to_minor(rows[0]["cost_e5"] * len(rows), rows[0]["currency"])
        for row, part in zip(rows, split(amount, [1] * len(rows)), strict=True):
            deliveries.deliver_allocation(db, row["id"], part, now)
        credit = (
            "asset:stock"
            if rows[0]["mode"] == "buyout"
            else f"payable:supplier:{batch['supplier']}"
        )
        ledger.post(
            db,
            now,
            "delivered",
            f"{order['channel']}:{order['number']}:{line['line_no']}:{batch['number']}",
            f"{len(rows)} keys of {batch['number']}",
            [("cost:keys", batch["currency"], amount), (credit, batch["currency"], -amount)],
        )


def _unclear(shop: Shop, begun: Begun, outcome: Outcome, tally: Sent) -> None:
    db, now = shop.db, shop.now_ms()
    effects.move_effect(
        db,
        EffectId(begun.effect["id"]),
        [EffectState.INFLIGHT],
        EffectState.RETRY_AT,
        now,
        due_ms=now + 2_000,
        reason=outcome.detail,
    )
    for line in lines_of(shop, begun.effect):
        reason = reason_of(line, outcome.detail)
        orders.move_line(
            db, LineId(line["id"]), LineState.SENDING, LineState.UNKNOWN, now, reason=reason
        )
    tally.unknown += len(begun.line_ids) or 1


def _not_done(shop: Shop, begun: Begun, outcome: Outcome, tally: Sent) -> None:
    """Definitely not sent: try again later, or ask a person when it will never work by itself."""
    lines = lines_of(shop, begun.effect)
    for line in lines:
        orders.move_line(
            shop.db,
            LineId(line["id"]),
            LineState.SENDING,
            LineState.RESERVED,
            shop.now_ms(),
            reason=reason_of(line, outcome.detail),
        )
    if outcome.result is Result.REJECTED or _tried_enough(shop, begun):
        moved = [{**line, "state": LineState.RESERVED} for line in lines]
        to_human(shop, begun.effect, moved, outcome.detail)
        tally.needs_you += len(lines) or 1
        return
    wait_s = max(outcome.after_s, BACKOFF_S[min(begun.n - 1, len(BACKOFF_S) - 1)])
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


def _tried_enough(shop: Shop, begun: Begun) -> bool:
    """Tell whether a route that is down deserves a person: many tries, and for a whole day."""
    age_ms = shop.now_ms() - begun.effect["created_ms"]
    if features_of(shop, begun.parcel.kind, begun.parcel.route, begun.parcel.channel).by_hand:
        return False
    return bool(begun.n >= shop.config.deliver.tries_max and age_ms >= GIVE_UP_MS)
