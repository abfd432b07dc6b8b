"""The refund case: all facts a person needs for a decision, and the answers as exact commands.

Stages are the rows of the refund table (delivery.md). What an answer means depends on the stage and
on whether the channel takes answers from us.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kmtool.domain.ids import OrderId
from kmtool.domain.states import COUNTER, EffectKind, LineState, RefundState
from kmtool.errors import told
from kmtool.operations.debits import amount_of
from kmtool.operations.find_order import named
from kmtool.operations.order_refund import can_answer, stuck_replies
from kmtool.operations.refund_records import (
    DecisionShown,
    KeyAtStake,
    LineAtStake,
    Option,
    RefundCase,
    RefundShown,
    Stage,
)
from kmtool.operations.refunds import is_decided, refund_facts
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders
from kmtool.store import refunds as store
from kmtool.store.db import Row

ORDERED = tuple(Stage)
OVER = (LineState.CANCELLED, LineState.CLOSED)


def case(shop: Shop, number: str) -> RefundCase:
    """Gather the case of an order; it may be asked for at any time. Raises `NotFound`."""
    order = named(shop, number)
    order_id = OrderId(order["id"])
    refunds = orders.refunds(shop.db, order_id)
    bound = store.all_allocations(shop.db, order_id)
    lines = tuple(_lines(shop, order, bound))
    facts = refund_facts(order, refunds)
    undecided = bool(facts) and not is_decided(shop, order, refunds)
    undecided |= bool(stuck_replies(shop, order_id))
    stage = max((line.stage for line in lines), key=lambda s: ORDERED.index(Stage(s)), default="")
    by_channel = can_answer(shop, order["channel"])
    return RefundCase(
        channel=order["channel"],
        number=order["number"],
        buyer=order["buyer_name"],
        status=order["status"],
        refund=order["refund"],
        asked_minor=sum(fact["amount_minor"] for fact in facts if fact["state"] == "open"),
        refunded_minor=order["refunded_minor"],
        total_minor=order["total_minor"],
        currency=order["currency"],
        paid_ms=order["paid_ms"],
        stage=stage,
        undecided=undecided,
        by_channel=by_channel,
        refunds=tuple(
            RefundShown(r["number"], r["amount_minor"], r["state"], r["at_ms"], r["seen_ms"])
            for r in refunds
        ),
        lines=lines,
        keys=tuple(_key(row) for row in bound),
        decisions=decisions(shop, order_id),
        answers=tuple(_answers(order, lines, undecided, by_channel)),
    )


def decisions(shop: Shop, order_id: OrderId) -> tuple[DecisionShown, ...]:
    """Return the decisions on an order with what became of the answers to the channel."""
    replies: dict[int, str] = {}
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] == EffectKind.REFUND_REPLY:
            reply = store.reply(shop.db, effect["id"])
            if reply is not None:
                replies[reply["decision_id"]] = effect["state"]
    return tuple(
        DecisionShown(
            n=row["n"],
            at_ms=row["at_ms"],
            actor=row["actor"],
            answer=row["answer"],
            lines=row["lines"],
            amount_minor=row["amount_minor"],
            keys=row["keys"],
            bearer=row["bearer"],
            reason=row["reason"],
            told=row["told"],
            reply=replies.get(row["id"], ""),
        )
        for row in store.decisions(shop.db, order_id)
    )


def _lines(shop: Shop, order: Row, bound: Sequence[Row]) -> Iterator[LineAtStake]:
    order_id = OrderId(order["id"])
    tried = effects.effects_of(shop.db, order_id)
    attempts = effects.attempts_of(shop.db, [effect["id"] for effect in tried])
    parcels = {
        effect["id"]: {x["id"] for x in deliveries.parcel_lines(shop.db, effect["parcel_id"])}
        for effect in tried
        if effect["parcel_id"] is not None
    }
    for line in orders.lines(shop.db, order_id):
        mine = [a for a in attempts if line["id"] in parcels.get(a["effect_id"], set())]
        yield LineAtStake(
            line=line["line_no"],
            title=line["title"],
            amount_minor=line["amount_minor"],
            state=line["state"],
            stage=_stage([row for row in bound if row["line_id"] == line["id"]]),
            tries=len(mine),
            outcome=mine[-1]["state"] if mine else "",
        )


def _stage(bound: Sequence[Row]) -> Stage:
    if any(row["sale_sheet"] or row["batch_sheet"] for row in bound if row["delivered_ms"]):
        return Stage.SETTLED
    if any(row["delivered_ms"] is not None for row in bound):
        return Stage.DELIVERED
    if any(row["exposed_ms"] is not None for row in bound):
        return Stage.OUTCOME_UNCLEAR
    return Stage.RESERVED if bound else Stage.NOT_RESERVED


def _key(row: Row) -> KeyAtStake:
    return KeyAtStake(
        line=row["line_no"],
        key=f"…{row['tail']}",
        state=row["key_state"],
        exposed_ms=row["exposed_ms"],
        delivered_ms=row["delivered_ms"],
        batch=row["batch"],
        supplier=row["supplier"],
        mode=row["mode"],
        cost_minor=amount_of(row),
        sheet=row["sale_sheet"] or row["batch_sheet"] or "",
    )


def _answers(
    order: Row, lines: Sequence[LineAtStake], undecided: bool, by_channel: bool
) -> Iterator[Option]:
    """Yield what a person can do now, the usual first."""
    base = f"kmtool order refund {order['number']}"
    is_open = order["refund"] == RefundState.OPEN
    seen = any(
        line.stage not in {Stage.NOT_RESERVED, Stage.RESERVED} and line.state not in OVER
        for line in lines
    )
    if undecided and is_open:
        how = told("the channel hears of it") if by_channel else told("you click it there too")
        if order["channel"] == COUNTER:
            how = told("you pay it back by hand")
        yield Option(f"{base} --agree", told("the buyer gets the money; {how}", how=how))
        if seen:
            meaning = told("and the supplier is asked to make the key void and bear it")
            yield Option(f"{base} --agree --key void", meaning)
        yield Option(f"{base} --refuse --reason …", told("the buyer keeps the key; {how}", how=how))
    elif undecided:
        yield Option(f"{base} --record", told("the money is back; the shop bears the key"))
        if seen:
            meaning = told("the money is back; the supplier is asked to bear the key")
            yield Option(f"{base} --record --key void", meaning)
    elif any(line.state not in OVER for line in lines) and order["refund"] == RefundState.NONE:
        yield Option(f"{base} --record --reason …", told("it was paid back outside the channel"))
    if order["refund"] == RefundState.PARTIAL and any(
        line.state == LineState.HELD for line in lines
    ):
        meaning = told("the rest still goes out")
        yield Option(f"kmtool order release {order['number']} --quantity N", meaning)
    if seen:
        yield Option(
            f"kmtool order evidence {order['number']} -o evidence.html",
            told("the sheet for the dispute"),
        )
    if order["refund"] == RefundState.NONE and seen:
        meaning = told("another key for a bad one")
        yield Option(f"kmtool order replace {order['number']} --reason …", meaning)
