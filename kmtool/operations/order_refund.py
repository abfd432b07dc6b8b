"""A person's decision on a refund: agree, refuse, or write down what was settled elsewhere.

One decision is one transaction: its row, what becomes of lines and keys, who bears the cost, and
the answer to the channel as an effect where the channel can be answered. The money itself goes back
at the channel and comes into the books with the statement: it is not booked here a second time.
"""

from __future__ import annotations

from kmtool.domain.ids import EffectId, LineId, OrderId, ParcelId
from kmtool.domain.money import format_minor
from kmtool.domain.settlement import OWN
from kmtool.domain.states import (
    COUNTER,
    AllocationState,
    EffectKind,
    EffectState,
    LineState,
    RefundState,
)
from kmtool.errors import KmError, Refused, StateMoved, marked, told
from kmtool.operations import routes
from kmtool.operations.debits import (
    Charge,
    add_debit,
    amount_of,
    book_loss,
    counts_as_delivered,
    shown,
)
from kmtool.operations.find_order import named
from kmtool.operations.refund_records import Answer, Bearer, Decided, Decision, Fate
from kmtool.operations.refunds import (
    SEEN,
    WAITING,
    all_delivered,
    refund_facts,
    stop_effects,
    unpack_all,
)
from kmtool.operations.shipped import mark_after_decision
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders
from kmtool.store import refunds as store
from kmtool.store.db import Row

ENDED = marked("refunded")
CARRY = (EffectKind.HAND_OVER, EffectKind.REPLACE)
OVER = (LineState.CLOSED, LineState.CANCELLED, LineState.DELIVERED)
REFUSED = marked("you refused the refund; whether its keys arrived is still unclear")


def decide(shop: Shop, number: str, wish: Decision) -> Decided:
    """Decide on a refund. Raises `NotFound`, `Refused`, `StateMoved` while something is on its way.

    Agreeing or recording ends the lines, refusing gives them back; what nobody can have seen goes
    back to the shelf. The channel is answered by an effect, which the next delivery sends.
    """
    shop.must_be_writable()
    order = named(shop, number)
    answers_there = can_answer(shop, order["channel"])
    order_id = OrderId(order["id"])
    with shop.db.tx():
        order = orders.get(shop.db, order_id, lock=True)
        refunds = orders.refunds(shop.db, order_id)
        _must_stand_still(shop, order)
        _must_fit(order, wish)
        facts = refund_facts(order, refunds)
        if wish.answer is Answer.RECORD and not facts:
            _stop_sending(shop, order_id)
        unanswered = _drop_replies(shop, order_id) or not _answered(shop, order)
        every = orders.lines(shop.db, order_id)
        amount = _amount(order, facts, every, wish)
        is_whole = amount >= order["total_minor"]
        lines = _chosen(shop, order, every, wish, bool(facts), is_whole)
        if not lines and not (unanswered and not wish.lines):
            raise Refused(
                detail="there is nothing left to decide on order {number}",
                number=order["number"],
                mend="kmtool order refund {number}",
            )
        bearer = wish.bearer or (Bearer.SUPPLIER if wish.keys is Fate.VOID else Bearer.SHOP)
        open_facts = [fact for fact in facts if fact["state"] == "open" and fact["number"]]
        told_by = _told_by(order, wish, answers_there, bool(open_facts))
        values = {
            "order_id": order_id,
            "at_ms": shop.now_ms(),
            "actor": shop.actor,
            "answer": wish.answer,
            "lines": ", ".join(line["line_no"] for line in lines),
            "amount_minor": amount,
            "currency": order["currency"],
            "keys": wish.keys,
            "bearer": bearer,
            "reason": wish.reason.strip()[:300],
            "told": told_by,
        }
        n = store.add_decision(shop.db, values, facts)
        waits = _apply(shop, order, lines, wish, bearer, n)
        _end_sending(shop, order_id)
        if told_by == "channel":
            _add_replies(shop, order, open_facts, wish, n)
        mark_after_decision(shop, order_id)
        sum_text = format_minor(amount, order["currency"])
        shop.audit("refund_" + wish.answer, _name(order), f"{sum_text} {wish.reason}".strip()[:200])
        debits = tuple(shown(row) for row in store.debits_of(shop.db, order_id))
    return Decided(
        channel=order["channel"],
        number=order["number"],
        n=n,
        answer=wish.answer,
        amount_minor=amount,
        currency=order["currency"],
        lines=len(lines) - waits,
        still_open=waits,
        bearer=bearer,
        told=told_by,
        debits=debits,
    )


def can_answer(shop: Shop, channel: str) -> bool:
    """Tell whether a channel takes the answer to a refund from us."""
    if channel == COUNTER or channel not in shop.config.channels:
        return False
    try:
        return routes.channel(shop, channel).features.refund_reply
    except KmError:
        return False


def _told_by(order: Row, wish: Decision, answers_there: bool, is_open: bool) -> str:
    if wish.answer is Answer.RECORD or order["channel"] == COUNTER:
        return "nobody"
    if answers_there:
        return "channel" if is_open else "nobody"
    return "by_hand" if order["refund"] == RefundState.OPEN else "nobody"


def _must_stand_still(shop: Shop, order: Row) -> None:
    for effect in effects.effects_of(shop.db, OrderId(order["id"])):
        if effect["state"] == EffectState.INFLIGHT:
            what = told("order {number}", number=order["number"])
            raise StateMoved(what=what, state="on its way")


def _must_fit(order: Row, wish: Decision) -> None:
    number = order["number"]
    nothing = order["refund"] == RefundState.NONE and order["status"] != "closed"
    if wish.answer is not Answer.RECORD and nothing:
        raise Refused(
            detail="the channel tells of no refund of order {number}",
            number=number,
            mend="kmtool sync; settled elsewhere: kmtool order refund {number} --record",
        )
    if wish.answer is Answer.REFUSE and order["refund"] != RefundState.OPEN:
        raise Refused(
            detail="the money of order {number} is back with the buyer already",
            number=number,
            mend="kmtool order refund {number} --record",
        )
    if wish.answer is Answer.REFUSE and (wish.keys is Fate.VOID or wish.bearer):
        raise Refused(
            detail="a refund that is refused leaves key and cost as they are",
            mend="leave --key and --bearer out",
        )


def _stop_sending(shop: Shop, order_id: OrderId) -> None:
    """The refund is known here only: what is not out yet never goes."""
    unpack_all(shop, order_id, marked("refunded"))
    stop_effects(shop, order_id)


def _chosen(
    shop: Shop, order: Row, lines: list[Row], wish: Decision, is_known: bool, is_whole: bool
) -> list[Row]:
    """Return the lines a decision is about: named ones, else all it can be about.

    Of a refund that the channel tells of these are the cases, and what was not sent yet when all of
    the money goes back; one that is known here only may be of any line that is not over.
    """
    names = {line["line_no"] for line in lines}
    for name in wish.lines:
        if name not in names:
            raise Refused(
                detail="order {number} has no line {line}",
                number=order["number"],
                line=name,
                mend="kmtool order show {number}",
            )
    about = {LineState.REFUND_CASE}
    if wish.answer is not Answer.REFUSE and (is_whole or wish.lines):
        about |= {*WAITING}
    if wish.answer is Answer.RECORD and not is_known:
        about |= {*SEEN}
    found = [line for line in lines if line["state"] in about]
    if wish.lines:
        found = [line for line in found if line["line_no"] in wish.lines]
    return found


def stuck_replies(shop: Shop, order_id: OrderId) -> list[Row]:
    """Return the answers to a channel that did not get through and wait for a person."""
    return [
        effect
        for effect in effects.effects_of(shop.db, order_id)
        if effect["kind"] == EffectKind.REFUND_REPLY and effect["state"] == EffectState.HUMAN
    ]


def _drop_replies(shop: Shop, order_id: OrderId) -> bool:
    """A new decision takes the place of answers that did not get through."""
    stuck = stuck_replies(shop, order_id)
    for effect in stuck:
        effects.move_effect(
            shop.db,
            effect["id"],
            [EffectState.HUMAN],
            EffectState.CANCELLED,
            shop.now_ms(),
            reason=marked("decided anew"),
        )
    return bool(stuck)


def _answered(shop: Shop, order: Row) -> bool:
    """Tell whether a request was answered; of an order that is over it still wants to be."""
    if order["refund"] != RefundState.OPEN:
        return True
    refunds = orders.refunds(shop.db, OrderId(order["id"]))
    known = {row["number"] for row in store.answers(shop.db, OrderId(order["id"]))}
    return all(fact["number"] in known for fact in refund_facts(order, refunds))


def _amount(order: Row, facts: list[Row], lines: list[Row], wish: Decision) -> int:
    asked = sum(fact["amount_minor"] for fact in facts)
    if wish.amount_minor is None and wish.lines and not asked:
        return sum(int(x["amount_minor"]) for x in lines if x["line_no"] in wish.lines)
    amount = wish.amount_minor if wish.amount_minor is not None else asked or order["total_minor"]
    if not 0 <= amount <= order["total_minor"]:
        raise Refused(
            detail="{amount} is more than was paid: {total}",
            amount=format_minor(amount, order["currency"]),
            total=format_minor(order["total_minor"], order["currency"]),
            mend="kmtool order refund {number}",
            number=order["number"],
        )
    return int(amount)


def _apply(shop: Shop, order: Row, lines: list[Row], wish: Decision, bearer: Bearer, n: int) -> int:
    """Move the lines; return how many wait on for an outcome that is unclear."""
    waits = 0
    for line in lines:
        if wish.answer is Answer.REFUSE:
            waits += not _give_back(shop, line)
        else:
            _end(shop, order, line, wish, bearer, n)
    if wish.lines and wish.answer is not Answer.REFUSE:
        for other in orders.lines(shop.db, OrderId(order["id"])):
            if other["state"] == LineState.REFUND_CASE and all_delivered(shop, other):
                _give_back(shop, other)
    return waits


def _end_sending(shop: Shop, order_id: OrderId) -> None:
    """What waited for a person ends with its lines; a late proof is used all the same."""
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] not in CARRY or effect["state"] != EffectState.HUMAN:
            continue
        lines = deliveries.parcel_lines(shop.db, ParcelId(effect["parcel_id"]))
        if all(line["state"] in OVER for line in lines):
            effects.move_effect(
                shop.db, EffectId(effect["id"]), [EffectState.HUMAN], EffectState.CANCELLED,
                shop.now_ms(), reason=ENDED,
            )  # fmt: skip


def _give_back(shop: Shop, line: Row) -> bool:
    """Let a line count as delivered again where that is proved; else it waits for the outcome."""
    line_id = LineId(line["id"])
    if all_delivered(shop, line):
        return orders.move_line(
            shop.db, line_id, LineState.REFUND_CASE, LineState.DELIVERED, shop.now_ms()
        )
    store.give_reason(shop.db, line_id, REFUSED)
    return False


def _end(shop: Shop, order: Row, line: Row, wish: Decision, bearer: Bearer, n: int) -> None:
    """Close a line: its keys stay, become void or defective, and their cost finds its bearer."""
    db, now = shop.db, shop.now_ms()
    line_id, state = LineId(line["id"]), LineState(line["state"])
    bound = deliveries.allocations(db, [line["id"]])
    seen = [row for row in bound if row["state"] != AllocationState.RESERVED]
    if state in SEEN and state is not LineState.DELIVERED:
        orders.move_line(db, line_id, state, LineState.REFUND_CASE, now, reason=ENDED)
        state = LineState.REFUND_CASE
    target = LineState.CLOSED if state not in WAITING else _not_sent(order)
    orders.move_line(db, line_id, state, target, now, reason=ENDED)
    if wish.keys is Fate.VOID and any(not row["exclusive"] for row in seen):
        raise Refused(
            detail="a key that several buyers share cannot be made void for one of them",
            mend="kmtool order refund {number} --key keep",
            number=order["number"],
        )
    found = deliveries.batches(db, [row["batch_id"] for row in seen])
    by_shop = bearer is Bearer.SHOP
    mine = [row for row in seen if by_shop or found[row["batch_id"]]["supplier"] == OWN]
    if mine:
        counts_as_delivered(shop, order, line, mine, found)
        ref = f"{order['channel']}:{order['number']}:{line['line_no']}:{n}"
        book_loss(shop, ref, mine[0]["currency"], sum(amount_of(row) for row in mine))
    for row in seen:
        bears = Bearer.SHOP if row in mine else bearer
        _end_key(shop, order, row, found[row["batch_id"]], wish, bears)


def _end_key(shop: Shop, order: Row, row: Row, batch: Row, wish: Decision, bearer: Bearer) -> None:
    """Let a key stay with the buyer, or end it and write down what its supplier is asked for."""
    void = wish.keys is Fate.VOID
    if not void and bearer is Bearer.SHOP:
        store.keep_key(shop.db, row["key_id"], shop.now_ms())
        return
    if row["exclusive"]:
        store.end_key(shop.db, row["key_id"], "void" if void else "defective", shop.now_ms())
    state = "open" if bearer is Bearer.SUPPLIER else "dropped"
    charge = Charge("refund", "void" if void else "credit", state, wish.reason)
    add_debit(shop, order, row, batch, charge)


def _not_sent(order: Row) -> LineState:
    """A line nobody sent is cancelled; one whose refund the channel does not know stays closed.

    A cancelled line comes back when the channel says that the refund was withdrawn.
    """
    return LineState.CLOSED if order["refund"] == RefundState.NONE else LineState.CANCELLED


def _add_replies(shop: Shop, order: Row, facts: list[Row], wish: Decision, n: int) -> None:
    """Write the answers to the channel down as effects, one per refund that is open there."""
    db, now, order_id = shop.db, shop.now_ms(), OrderId(order["id"])
    decision = store.decision_id(db, order_id, n)
    for fact in facts:
        generation = store.next_generation(db, order_id, EffectKind.REFUND_REPLY, 0)
        effect = effects.add_effect(
            db,
            {
                "order_id": order_id,
                "parcel_id": None,
                "parcel_n": 0,
                "kind": EffectKind.REFUND_REPLY,
                "generation": generation,
                "channel": order["channel"],
                "route": "channel",
                "due_ms": now,
                "created_ms": now,
            },
        )
        assert effect is not None, "the generation was counted in this transaction"
        reply = {"effect_id": EffectId(effect), "decision_id": decision, "number": fact["number"]}
        agree = int(wish.answer is Answer.AGREE)
        store.add_reply(db, {**reply, "agree": agree, "message": wish.reason.strip()[:300]})


def _name(order: Row) -> str:
    return f"order:{order['channel']}:{order['number']}"
