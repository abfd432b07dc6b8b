"""What a refund, its withdrawal, or a change at the channel means for lines that hold keys.

A parcel that nobody can have seen is undone whole: its text holds the keys of all its lines, so
none of them may go back to the shelf while that text could still be sent. Once a key may have been
seen it stays bound, and a person decides; what was decided about a refund stands until the channel
tells of another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, KeyId, LineId, OrderId, ParcelId
from kmtool.domain.states import (
    AllocationState,
    EffectKind,
    EffectState,
    LineKind,
    LineState,
    OrderStatus,
    RefundState,
)
from kmtool.errors import marked, told
from kmtool.operations import topup
from kmtool.operations.split import undo as undo_parts
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders
from kmtool.store import refunds as store
from kmtool.store.db import Row

SEEN = (
    LineState.RESERVED,
    LineState.SENDING,
    LineState.UNKNOWN,
    LineState.HUMAN,
    LineState.DELIVERED,
)
"""Lines that are on their way or gone: a refund makes a case of them."""
WAITING = (LineState.NEW, LineState.READY, LineState.HELD, LineState.UNMAPPED)
ON_THE_WAY = (LineState.SENDING, LineState.UNKNOWN)
STILL = (EffectState.PENDING, EffectState.RETRY_AT, EffectState.HUMAN)
CHANGED = marked("changed at the channel after its keys were bound")
"""How the reason begins of a line that a person must look at for that."""
TWICE = marked("a pool gave a key of this order out too")
"""How the reason begins of a line whose key has two buyers."""
NO_GOOD = marked("a key that is bound to it is no longer good")
"""How the reason begins of a line that needs another key before its message can go."""
LOOK_AT = (CHANGED, TWICE)
"""Reasons that stay until a person answered, whatever becomes of a try meanwhile."""


def refund_blocks(order: Row) -> bool:
    """Tell whether nothing more may leave: a refund (a partial one until released), or closed."""
    if order["status"] == OrderStatus.CLOSED:
        return True
    if order["refund"] == RefundState.PARTIAL:
        return order["released_ms"] is None
    return bool(order["refund"] != RefundState.NONE)


def is_first(effect: Row) -> bool:
    """Tell whether lines wait for a message: what is sent once more moves none."""
    return int(effect["generation"]) == 1


def apply_refund(shop: Shop, order_id: OrderId) -> None:
    """Do what a refund or a closed order means for every line (the table in delivery.md)."""
    db, now = shop.db, shop.now_ms()
    order = orders.get(db, order_id, lock=True)
    if not refund_blocks(order):
        return
    refunds = orders.refunds(db, order_id)
    why = _why(order)
    unpack_all(shop, order_id, why)
    final = order["refund"] == RefundState.FULL or order["status"] == OrderStatus.CLOSED
    decided = is_decided(shop, order, refunds)
    for line in orders.lines(db, order_id):
        state = LineState(line["state"])
        line_id = LineId(line["id"])
        if state in WAITING and final:
            orders.move_line(db, line_id, state, LineState.CANCELLED, now, reason=why)
        elif state in SEEN and not (decided and state is LineState.DELIVERED):
            orders.move_line(db, line_id, state, LineState.REFUND_CASE, now, reason=why)
            told = "while sending" if state is LineState.SENDING else why
            shop.audit("refund_case", _name(order), told)
    stop_effects(shop, order_id)


def _why(order: Row) -> str:
    if order["refund"] == RefundState.OPEN:
        return marked("the buyer asks for a refund")
    if order["refund"] != RefundState.NONE:
        return marked("refunded")
    return marked("closed by the channel")


def refund_facts(order: Row, refunds: Sequence[Row]) -> list[Row]:
    """Return the refunds that a decision answers, as the channel tells of them now.

    A channel that names none has one without a number, in the state of the order.
    """
    named = [
        {"number": row["number"], "amount_minor": row["amount_minor"], "state": row["state"]}
        for row in refunds
        if row["state"] != "ended"
    ]
    if named:
        return named
    if order["refund"] != RefundState.NONE:
        return [{"number": "", "amount_minor": 0, "state": str(order["refund"])}]
    closed = order["status"] == OrderStatus.CLOSED
    return [{"number": "", "amount_minor": 0, "state": "closed"}] if closed else []


def is_decided(shop: Shop, order: Row, refunds: Sequence[Row]) -> bool:
    """Tell whether a person answered every refund as it stands.

    Agreeing also covers that the money went back afterwards; refusing only the request itself.
    """
    answered = {row["number"]: row for row in store.answers(shop.db, OrderId(order["id"]))}
    facts = refund_facts(order, refunds)
    return bool(facts) and all(_covers(answered.get(fact["number"]), fact) for fact in facts)


def was_refused(shop: Shop, order_id: OrderId) -> bool:
    """Tell whether a person refused what the channel still calls open: it waits for the channel."""
    answered = store.answers(shop.db, order_id)
    if not answered or answered[-1]["answer"] != "refuse":
        return False
    return is_decided(shop, orders.get(shop.db, order_id), orders.refunds(shop.db, order_id))


def _covers(answer: Row | None, fact: Row) -> bool:
    if answer is None or fact["amount_minor"] > answer["amount_minor"]:
        return False
    if answer["answer"] == "refuse":
        return bool(fact["state"] == answer["state"] == "open")
    return bool(fact["state"] == answer["state"] or answer["state"] == "open")


def refund_gone(shop: Shop, order_id: OrderId) -> None:
    """The refund was withdrawn or refused: what was delivered counts again, the rest is looked at.

    A line whose keys may have been seen is never sent by itself again. What was not refunded whole
    and went on is no withdrawal: its release said what counts again.
    """
    order = orders.get(shop.db, order_id, lock=True)
    if order["refund"] != RefundState.PARTIAL:
        count_again(shop, order, marked("the refund was withdrawn; its keys may have been seen"))


def count_again(shop: Shop, order: Row, why: str) -> None:
    """Let lines that a refund made a case of be what they were; `why` goes with unclear ones."""
    db, now, order_id = shop.db, shop.now_ms(), OrderId(order["id"])
    for line in orders.lines(db, order_id):
        if line["state"] != LineState.REFUND_CASE:
            continue
        target, reason = LineState.DELIVERED, ""
        if not all_delivered(shop, line):
            waits = _asked_about(shop, order_id, line) and not store.wanted(shop.db, line["id"])
            target, reason = LineState.UNKNOWN if waits else LineState.HUMAN, why
        orders.move_line(db, LineId(line["id"]), LineState.REFUND_CASE, target, now, reason=reason)
        shop.audit("refund_gone", _name(order), f"line {line['line_no']}: {target}")


def unpack_all(shop: Shop, order_id: OrderId, why: str) -> int:
    """Undo every parcel of an order that nobody can have seen; return how many lines are ready.

    Counters are locked in the order in which they are when keys are taken: no two wait in a ring.
    """
    deliveries.lock_stock(shop.db, [order_id])
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] == EffectKind.REPLACE:
            take_back(shop, effect, why)
    return sum(
        unpack(shop, effect, why)
        for effect in effects.effects_of(shop.db, order_id)
        if effect["kind"] in {EffectKind.HAND_OVER, EffectKind.PURCHASE}
    )


def unpack(shop: Shop, effect: Row, why: str) -> int:
    """Undo a parcel that nobody can have seen: keys to the shelf, all its lines `ready` again.

    Returns how many lines; 0 when it was tried, is on its way, or is over.
    """
    db, now = shop.db, shop.now_ms()
    lines = deliveries.parcel_lines(db, ParcelId(effect["parcel_id"]))
    bound = deliveries.allocations(db, [line["id"] for line in lines])
    if effect["tries"] or any(row["state"] != AllocationState.RESERVED for row in bound):
        return 0
    if not effects.move_effect(
        db, EffectId(effect["id"]), STILL, EffectState.CANCELLED, now, reason=why
    ):
        return 0
    undo_parts(shop, effect["parcel_id"], why)
    for row in bound:
        if deliveries.withdraw(db, row["id"]):
            deliveries.put_back(db, KeyId(row["key_id"]), now)
    topup.call_off(shop, lines)
    count = 0
    for line in lines:
        for source in (LineState.RESERVED, LineState.HUMAN):
            count += orders.move_line(
                db, LineId(line["id"]), source, LineState.READY, now, reason=why
            )
    return count


def take_back(shop: Shop, effect: Row, why: str) -> bool:
    """Undo a replacement that nobody can have seen: its keys to the shelf, a person is asked.

    The key that was bad stays bad, so its line lacks one: it waits for `kmtool order replace`.
    """
    db, now = shop.db, shop.now_ms()
    parcel = ParcelId(effect["parcel_id"])
    bound = store.parcel_allocations(db, parcel, is_replacement=True)
    if effect["tries"] or any(row["state"] != AllocationState.RESERVED for row in bound):
        return False
    if not effects.move_effect(
        db, EffectId(effect["id"]), STILL, EffectState.CANCELLED, now, reason=why
    ):
        return False
    for row in bound:
        if deliveries.withdraw(db, row["id"]):
            deliveries.put_back(db, KeyId(row["key_id"]), now)
    store.unname_replacements(db, parcel)
    for line in deliveries.parcel_lines(db, parcel):
        reason = told("its replacement was taken back: {why}", why=told(why))
        orders.move_line(
            db, LineId(line["id"]), LineState.RESERVED, LineState.HUMAN, now, reason=reason
        )
    return True


def changed_after(shop: Shop, order: Row, line: Row, what: str) -> bool:
    """A line with keys changed at the channel: undo it if unseen, else a person must look.

    Returns True when the line waits again and may take over the change.
    """
    db, now = shop.db, shop.now_ms()
    line_id, state = LineId(line["id"]), LineState(line["state"])
    reason = told("{changed}: {what}", changed=told(CHANGED), what=what)
    shop.audit("line_changed", _name(order), f"line {line['line_no']}: {what}")
    mine = [e for e in effects.effects_of(db, OrderId(order["id"])) if _carries(shop, e, line)]
    if any(unpack(shop, e, reason) for e in mine if e["kind"] != EffectKind.REPLACE):
        return True
    if state in {LineState.SENDING, LineState.HUMAN}:
        orders.set_line_reason(db, line_id, reason)  # it goes to a person when the answer is here
        return False
    if state in {LineState.RESERVED, LineState.UNKNOWN, LineState.DELIVERED}:
        for effect in mine:
            if effects.move_effect(
                db, EffectId(effect["id"]), STILL, EffectState.HUMAN, now, reason=reason
            ):
                _with_the_parcel(shop, effect, line, reason)
        orders.move_line(db, line_id, state, LineState.HUMAN, now, reason=reason)
    return False


def _with_the_parcel(shop: Shop, effect: Row, line: Row, reason: str) -> None:
    """The other lines of a parcel that stopped wait for the same person."""
    for other in deliveries.parcel_lines(shop.db, ParcelId(effect["parcel_id"])):
        source = LineState(other["state"])
        if other["id"] != line["id"] and source in {LineState.RESERVED, LineState.UNKNOWN}:
            orders.move_line(
                shop.db, LineId(other["id"]), source, LineState.HUMAN, shop.now_ms(), reason=reason
            )


def reason_of(line: Row, detail: str) -> str:
    """Return why a line is where it is; what a person must look at outlives an outcome."""
    return str(line["reason"]) if line["reason"].startswith(LOOK_AT) else detail[:200]


def all_delivered(shop: Shop, line: Row) -> bool:
    """Tell whether the buyer has all of a line, and no key waits to be replaced."""
    if line["kind"] == LineKind.TOPUP:
        return topup.is_done(shop, line)
    bound = deliveries.allocations(shop.db, [line["id"]])
    return (
        bool(bound)
        and all(row["state"] == AllocationState.DELIVERED for row in bound)
        and not store.wanted(shop.db, line["id"])
    )


def stop_effects(shop: Shop, order_id: OrderId) -> None:
    """Nothing more is sent; what is unclear, or bought and not finished, is still asked about.

    An answer to the refund itself goes out.
    """
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] == EffectKind.REFUND_REPLY:
            continue
        attempts = effects.attempts_of(shop.db, [effect["id"]])
        if attempts and attempts[-1]["state"] in {"unknown", "intent"}:
            continue
        if effect["kind"] == EffectKind.PURCHASE and attempts and attempts[-1]["state"] == "ok":
            _follow(shop, effect)
            continue
        effects.move_effect(
            shop.db,
            EffectId(effect["id"]),
            STILL,
            EffectState.CANCELLED,
            shop.now_ms(),
            reason=marked("a refund or a closed order"),
        )


def _follow(shop: Shop, effect: Row) -> None:
    """What a supplier is at work on for long is asked about, though no person does any more."""
    lines, now = deliveries.parcel_lines(shop.db, ParcelId(effect["parcel_id"])), shop.now_ms()
    if any(topup.is_accepted(shop, line) for line in lines):
        effects.move_effect(
            shop.db, EffectId(effect["id"]), [EffectState.HUMAN], EffectState.RETRY_AT, now,
            due_ms=now,
        )  # fmt: skip


def _asked_about(shop: Shop, order_id: OrderId, line: Row) -> bool:
    busy = {EffectState.PENDING, EffectState.RETRY_AT, EffectState.INFLIGHT}
    return any(
        effect["state"] in busy and _carries(shop, effect, line)
        for effect in effects.effects_of(shop.db, order_id)
    )


def _carries(shop: Shop, effect: Row, line: Row) -> bool:
    if effect["kind"] not in {EffectKind.HAND_OVER, EffectKind.REPLACE, EffectKind.PURCHASE}:
        return False
    lines = deliveries.parcel_lines(shop.db, ParcelId(effect["parcel_id"]))
    return any(found["id"] == line["id"] for found in lines)


def _name(order: Row) -> str:
    return f"order:{order['channel']}:{order['number']}"
