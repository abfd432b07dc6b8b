"""What a person does with orders: look, ask why, hold, release, send the same keys again."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.gates import walk
from kmtool.domain.ids import EffectId, LineId, OrderId, ParcelId
from kmtool.domain.states import EffectKind, EffectState, LineState
from kmtool.errors import Refused, StateMoved
from kmtool.operations.deliver import named
from kmtool.operations.ingest import WAITING, refund_blocks
from kmtool.operations.reserve import situation
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, orders
from kmtool.store.db import Row

WORDS = {
    "new": "new 新",
    "ready": "ready 待发",
    "reserved": "key bound 已配卡",
    "sending": "sending 发送中",
    "delivered": "delivered 已发货",
    "held": "held 暂停",
    "unmapped": "not mapped 未映射",
    "unknown": "outcome unclear 结果不明",
    "human": "needs you 要你处理",
    "cancelled": "cancelled 已取消",
    "refund_case": "refund case 退款处理",
    "closed": "closed 已结束",
    "exposed": "may have been seen 可能已被看到",
    "free": "in stock 在库",
}
"""States in people's words; the codes stay in JSON."""


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order in a list."""

    channel: str
    number: str
    title: str
    quantity: int
    total_minor: int
    currency: str
    buyer: str
    paid_ms: int | None
    state: str
    gate: str
    refund: str


@dataclass(frozen=True, slots=True)
class OrderPage:
    """A list of orders; `total` counts all that fit."""

    orders: tuple[OrderRow, ...]
    total: int


@dataclass(frozen=True, slots=True)
class LineShown:
    """One line of an order with its masked keys."""

    line: str
    title: str
    sku: str | None
    quantity: int
    needed: int
    amount_minor: int
    state: str
    gate: str
    reason: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptShown:
    """One try of an effect."""

    effect: str
    route: str
    state: str
    n: int
    outcome: str
    at_ms: int
    detail: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One row of the order's story."""

    at_ms: int
    actor: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class OrderShown:
    """All that is known of one order, no key in the clear."""

    channel: str
    number: str
    code: str
    status: str
    refund: str
    refunded_minor: int
    total_minor: int
    currency: str
    buyer: str
    contact: str
    created_ms: int
    paid_ms: int | None
    seen_ms: int
    marked_ms: int | None
    hold: str
    released_ms: int | None
    lines: tuple[LineShown, ...]
    attempts: tuple[AttemptShown, ...]
    story: tuple[Happening, ...]


@dataclass(frozen=True, slots=True)
class GateShown:
    """One gate of the walk: open, or why it is shut and what opens it."""

    gate: str
    open: bool
    reason: str
    command: str


@dataclass(frozen=True, slots=True)
class LineWhy:
    """Why a line is where it is."""

    line: str
    title: str
    state: str
    gates: tuple[GateShown, ...]
    answer: str
    command: str


@dataclass(frozen=True, slots=True)
class OrderWhy:
    """The walk through the gates for every line of an order."""

    channel: str
    number: str
    lines: tuple[LineWhy, ...]


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """What a command did to an order."""

    channel: str
    number: str
    action: str
    lines: int


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
        total = orders.count(shop.db, channel=channel or None, state=state or None)
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
            reason=row["reason"],
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
            detail=row["detail"],
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
    answer, command = line["reason"] or WORDS[state], _next(order, state)
    if state in WAITING:
        walked = walk(situation(shop, order, line, paused, {}))
        gates = tuple(
            GateShown(name, shut is None, shut.reason if shut else "", shut.command if shut else "")
            for name, shut in walked
        )
        first = next((gate for gate in gates if not gate.open), None)
        if first is None and line["gate"] == "order_wait":
            answer, command = "it waits for the other lines of the order", "kmtool deliver"
        elif first is None:
            answer, command = "all gates are open: it goes with the next delivery", "kmtool deliver"
        else:
            answer, command = first.reason, first.command
    return LineWhy(line["line_no"], line["title"], state, gates, answer, command)


def _next(order: Row, state: LineState) -> str:
    number = order["number"]
    return {
        LineState.RESERVED: "kmtool deliver",
        LineState.UNKNOWN: "kmtool deliver",
        LineState.HUMAN: f"kmtool order redeliver {number}",
        LineState.REFUND_CASE: f"kmtool order show {number}",
    }.get(state, "")


def hold(shop: Shop, number: str, reason: str) -> OrderChanged:
    """Stop an order before its keys are bound; `Refused` when they have left already."""
    shop.must_be_writable()
    order = named(shop, number)
    with shop.db.tx():
        lines = orders.lines(shop.db, OrderId(order["id"]))
        waiting = [line for line in lines if line["state"] in WAITING]
        if not waiting:
            raise Refused(
                detail=f"nothing of order {order['number']} is waiting any more",
                mend=f"kmtool order show {order['number']}",
            )
        orders.set_hold(shop.db, OrderId(order["id"]), reason, shop.now_ms())
        orders.set_released(shop.db, OrderId(order["id"]), None)
        shop.audit("hold", f"order:{order['channel']}:{order['number']}", reason)
    return OrderChanged(order["channel"], order["number"], "hold", len(waiting))


def release(shop: Shop, number: str, quantity: int | None = None) -> OrderChanged:
    """Open the gates that ask (hold, amount, price, burst, risk, mode, a partial refund).

    `quantity` sets how many pieces of a one-line order still go out after a partial refund.
    """
    shop.must_be_writable()
    order = named(shop, number)
    order_id = OrderId(order["id"])
    with shop.db.tx():
        lines = [x for x in orders.lines(shop.db, order_id) if x["state"] in WAITING]
        if not lines:
            raise Refused(
                detail=f"nothing of order {order['number']} is waiting",
                mend=f"kmtool order why {order['number']}",
            )
        if order["refund"] == "partial" and quantity is None:
            raise Refused(
                detail="part of this order was refunded: say how many pieces still go out",
                mend=f"kmtool order release {order['number']} --quantity N",
            )
        if quantity is not None:
            _set_quantity(shop, order, lines, quantity)
        orders.set_hold(shop.db, order_id, None, shop.now_ms())
        orders.set_released(shop.db, order_id, shop.now_ms())
        shop.audit("release", f"order:{order['channel']}:{order['number']}", str(quantity or ""))
    return OrderChanged(order["channel"], order["number"], "release", len(lines))


def _set_quantity(shop: Shop, order: Row, lines: list[Row], quantity: int) -> None:
    if len(lines) != 1 or not 1 <= quantity <= lines[0]["quantity"]:
        raise Refused(
            detail="--quantity needs one waiting line and a number from 1 to its quantity",
            where=f"order {order['number']}",
            mend=f"kmtool order show {order['number']}",
        )
    line = lines[0]
    units = line["needed"] // line["quantity"]
    orders.set_needed(shop.db, LineId(line["id"]), quantity * units)


def redeliver(shop: Shop, number: str) -> OrderChanged:
    """Send the same keys again: a failed hand-over is tried anew, a done one gets a new generation.

    Never picks another key. `Refused` while a refund is open or nothing was bound yet.
    """
    shop.must_be_writable()
    order = named(shop, number)
    count = 0
    with shop.db.tx():
        order = orders.get(shop.db, OrderId(order["id"]), lock=True)
        if refund_blocks(order):
            raise Refused(
                detail=f"order {order['number']} has a refund or is closed; nothing is sent",
                mend=f"kmtool order show {order['number']}",
            )
        latest: dict[int, Row] = {}
        for effect in effects.effects_of(shop.db, OrderId(order["id"])):
            if effect["kind"] == EffectKind.HAND_OVER and effect["state"] != EffectState.CANCELLED:
                latest[effect["parcel_n"]] = effect
        for effect in latest.values():
            count += _again(shop, order, effect)
        if not count:
            raise Refused(
                detail=f"no key is bound to order {order['number']} yet",
                mend=f"kmtool order why {order['number']}",
            )
        shop.audit("redeliver", f"order:{order['channel']}:{order['number']}", f"{count} parcels")
    return OrderChanged(order["channel"], order["number"], "redeliver", count)


def _again(shop: Shop, order: Row, effect: Row) -> int:
    db, now = shop.db, shop.now_ms()
    if effect["state"] in {EffectState.INFLIGHT, EffectState.PENDING, EffectState.RETRY_AT}:
        raise StateMoved(what=f"order {order['number']}", state="on its way")
    if effect["state"] == EffectState.HUMAN:
        for line in deliveries.parcel_lines(db, ParcelId(effect["parcel_id"])):
            orders.move_line(db, LineId(line["id"]), LineState.HUMAN, LineState.RESERVED, now)
        effects.settle_unknown(db, EffectId(effect["id"]), "repeated by a person", now)
        effects.move_effect(
            db, EffectId(effect["id"]), [EffectState.HUMAN], EffectState.RETRY_AT, now, due_ms=now
        )
        return 1
    effects.add_effect(
        db,
        {
            "order_id": order["id"],
            "parcel_id": effect["parcel_id"],
            "parcel_n": effect["parcel_n"],
            "kind": EffectKind.HAND_OVER,
            "generation": effect["generation"] + 1,
            "channel": effect["channel"],
            "route": effect["route"],
            "due_ms": now,
            "created_ms": now,
        },
    )
    return 1
