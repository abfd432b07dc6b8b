"""What a person sees of orders: the list, all of one, why a line waits and what opens it."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.gates import Shut, walk
from kmtool.domain.ids import OrderId
from kmtool.domain.states import EffectKind, EffectState, Gate, LineState
from kmtool.errors import Stored, told
from kmtool.operations.deliver import named
from kmtool.operations.order_records import (
    WORDS,
    AttemptShown,
    GateShown,
    Happening,
    LineShown,
    LineWhy,
    OrderPage,
    OrderRow,
    OrderShown,
    OrderWhy,
)
from kmtool.operations.refunds import WAITING, all_delivered, refund_blocks
from kmtool.operations.reserve import situation
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, orders
from kmtool.store.db import Row


def page(
    shop: Shop, *, limit: int | None, channel: str = "", state: str = "", text: str = ""
) -> OrderPage:
    """Return the newest orders, or those of a channel, a state, a buyer."""
    rows = orders.listing(
        shop.db,
        channel=channel or None,
        state=state or None,
        text=text or None,
        limit=limit or 1_000_000,
    )
    total = len(rows)
    if limit is not None and len(rows) == limit:
        total = orders.count(
            shop.db, channel=channel or None, state=state or None, text=text or None
        )
    return OrderPage(tuple(_row(row) for row in rows), total)


def _row(row: Row) -> OrderRow:
    low, high = row["state_low"] or "closed", row["state_high"] or "closed"
    state = low if low == high else "part"
    title = row["title"] or ""
    return OrderRow(
        channel=row["channel"],
        number=row["number"],
        title=title if row["lines"] == 1 else f"{title} +{row['lines'] - 1}",
        quantity=int(row["quantity"] or 0),
        total_minor=row["total_minor"],
        currency=row["currency"],
        buyer=row["buyer_name"],
        paid_ms=row["paid_ms"],
        state=state,
        gate=row["gate"] or "",
        refund=row["refund"],
    )


def show(shop: Shop, number: str) -> OrderShown:
    """Return all that is known of an order (by number, `channel:number` or redemption code)."""
    order = named(shop, number)
    order_id = OrderId(order["id"])
    subject = f"order:{order['channel']}:{order['number']}"
    contact = order["buyer_email"] or order["buyer_phone"]
    return OrderShown(
        channel=order["channel"],
        number=order["number"],
        code=order["code"],
        status=order["status"],
        refund=order["refund"],
        refunded_minor=order["refunded_minor"],
        total_minor=order["total_minor"],
        currency=order["currency"],
        buyer=order["buyer_name"],
        contact=contact,
        created_ms=order["created_ms"],
        paid_ms=order["paid_ms"],
        seen_ms=order["seen_ms"],
        marked_ms=order["marked_ms"],
        hold=order["hold_reason"] or "",
        released_ms=order["released_ms"],
        lines=_lines(shop, order_id),
        attempts=_attempts(shop, order_id),
        story=tuple(
            Happening(row["at_ms"], row["actor"], row["action"], row["detail"])
            for row in house.audit_of(shop.db, subject)
        ),
    )


def _lines(shop: Shop, order_id: OrderId) -> tuple[LineShown, ...]:
    rows = orders.lines(shop.db, order_id)
    bound: dict[int, list[str]] = {}
    for key in deliveries.allocations(shop.db, [row["id"] for row in rows]):
        bound.setdefault(key["line_id"], []).append(f"…{key['tail']}")
    return tuple(
        LineShown(
            line=row["line_no"],
            title=row["title"],
            sku=row["sku"],
            quantity=row["quantity"],
            needed=row["needed"],
            amount_minor=row["amount_minor"],
            state=row["state"],
            gate=row["gate"],
            reason=Stored(row["reason"]),
            keys=tuple(bound.get(row["id"], [])),
        )
        for row in rows
    )


def _attempts(shop: Shop, order_id: OrderId) -> tuple[AttemptShown, ...]:
    found = {row["id"]: row for row in effects.effects_of(shop.db, order_id)}
    return tuple(
        AttemptShown(
            effect=found[row["effect_id"]]["kind"],
            route=found[row["effect_id"]]["route"],
            state=found[row["effect_id"]]["state"],
            n=row["n"],
            outcome=row["state"],
            at_ms=row["started_ms"],
            detail=Stored(row["detail"]),
        )
        for row in effects.attempts_of(shop.db, sorted(found))
    )


def why(shop: Shop, number: str) -> OrderWhy:
    """Walk the gates for every line and say what opens the first that is shut."""
    order = named(shop, number)
    paused = house.pauses(shop.db)
    lines = []
    with shop.db.tx():
        for line in orders.lines(shop.db, OrderId(order["id"])):
            lines.append(_why(shop, order, line, paused))
    return OrderWhy(order["channel"], order["number"], tuple(lines))


def _why(shop: Shop, order: Row, line: Row, paused: dict[str, Row]) -> LineWhy:
    state = LineState(line["state"])
    gates: tuple[GateShown, ...] = ()
    answer: str = Stored(line["reason"]) or told(WORDS[state])
    command = _next(shop, order, line, state)
    if state in WAITING:
        walked = walk(situation(shop, order, line, paused, {}))
        gates = _by_name(walked)
        first = next((gate for gate in gates if not gate.open), None)
        if first is None and line["gate"] == "order_wait":
            answer, command = told("it waits for the other lines of the order"), "kmtool deliver"
        elif first is None and line["gate"] == Gate.ROUTE:
            answer, command = Stored(line["reason"]), f"kmtool deliver {order['number']}"
        elif first is None:
            answer = told("all gates are open: it goes with the next delivery")
            command = "kmtool deliver"
        else:
            answer, command = first.reason, first.command
    return LineWhy(line["line_no"], line["title"], state, gates, answer, command)


def _by_name(walked: Sequence[tuple[Gate, Shut | None]]) -> tuple[GateShown, ...]:
    """Return each gate once, at the place where its first rule that is shut stands."""
    shut_first = {name: shut for name, shut in reversed(walked) if shut is not None}
    shown: dict[Gate, GateShown] = {}
    for name, shut in walked:
        if name in shown or (shut is None and name in shut_first):
            continue
        shown[name] = GateShown(
            name, shut is None, shut.reason if shut else "", shut.command if shut else ""
        )
    return tuple(shown.values())


def _next(shop: Shop, order: Row, line: Row, state: LineState) -> str:
    number = order["number"]
    if state is LineState.HUMAN and all_delivered(shop, line):
        return f"kmtool order release {number}"
    if state is LineState.REFUND_CASE and not refund_blocks(order):
        return f"kmtool order redeliver {number}"
    if state is LineState.DELIVERED and _not_marked(shop, order):
        return f"kmtool order redeliver {number}"
    return {
        LineState.RESERVED: "kmtool deliver",
        LineState.UNKNOWN: "kmtool deliver",
        LineState.HUMAN: f"kmtool order redeliver {number}",
        LineState.REFUND_CASE: f"kmtool order show {number}",
    }.get(state, "")


def _not_marked(shop: Shop, order: Row) -> bool:
    return any(
        effect["kind"] == EffectKind.MARK_SHIPPED and effect["state"] == EffectState.HUMAN
        for effect in effects.effects_of(shop.db, OrderId(order["id"]))
    )
