"""Why a line waits and what opens it: the walk through the gates, and the next step after them."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.gates import Shut, walk
from kmtool.domain.ids import OrderId
from kmtool.domain.states import EffectKind, EffectState, Gate, LineState
from kmtool.errors import Stored, told
from kmtool.operations import chain
from kmtool.operations.facts import Facts, gather
from kmtool.operations.find_order import named
from kmtool.operations.order_records import WORDS, GateShown, LineWhy, OrderWhy
from kmtool.operations.refunds import WAITING, all_delivered, refund_blocks
from kmtool.operations.reserve import situation
from kmtool.shop import Shop
from kmtool.store import effects
from kmtool.store.db import Row


def why(shop: Shop, number: str) -> OrderWhy:
    """Walk the gates for every line and say what opens the first that is shut."""
    order = named(shop, number)
    with shop.db.tx():
        facts = gather(shop, [order["id"]])
        lines = [_why(shop, facts, order, line) for line in facts.lines.get(order["id"], ())]
    return OrderWhy(order["channel"], order["number"], tuple(lines))


def _why(shop: Shop, facts: Facts, order: Row, line: Row) -> LineWhy:
    state = LineState(line["state"])
    gates: tuple[GateShown, ...] = ()
    answer: str = Stored(line["reason"]) or told(WORDS[state])
    command = _next(shop, order, line, state)
    if state in WAITING:
        walked = walk(situation(shop, facts, order, line))
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
    if state is LineState.HUMAN and line["gate"] == Gate.STOCK:
        return f"kmtool import FILE --sku {line['sku']}"  # a replacement waits for it
    if state is LineState.REFUND_CASE and not refund_blocks(order):
        return f"kmtool order redeliver {number}"
    if state is LineState.DELIVERED and _not_marked(shop, order):
        return f"kmtool order redeliver {number}"
    waits = LineState.RESERVED, LineState.UNKNOWN
    if state in waits and chain.waits_by_hand(shop, line):
        return f"kmtool deliver --by-hand {number}"
    return {
        LineState.RESERVED: "kmtool deliver",
        LineState.UNKNOWN: "kmtool deliver",
        LineState.HUMAN: f"kmtool order redeliver {number}",
        LineState.REFUND_CASE: f"kmtool order refund {number}",
    }.get(state, "")


def _not_marked(shop: Shop, order: Row) -> bool:
    return any(
        effect["kind"] == EffectKind.MARK_SHIPPED and effect["state"] == EffectState.HUMAN
        for effect in effects.effects_of(shop.db, OrderId(order["id"]))
    )
