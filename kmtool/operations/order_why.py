"""Why a line waits and what opens it: the walk through the gates, and the next step after them."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.gates import Shut, walk
from kmtool.domain.states import Gate, LineState
from kmtool.errors import Stored, told
from kmtool.operations.after_gates import after
from kmtool.operations.facts import Facts, gather
from kmtool.operations.find_order import named
from kmtool.operations.needs_you import quoted
from kmtool.operations.order_records import GateShown, LineWhy, OrderWhy
from kmtool.operations.refunds import WAITING
from kmtool.operations.reserve import situation
from kmtool.shop import Shop
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
    if state not in WAITING:
        found = after(shop, order, line)
        return LineWhy(
            line["line_no"], line["title"], state, (), found.answer, found.command, found.last
        )
    gates = _by_name(walk(situation(shop, facts, order, line)))
    first = next((gate for gate in gates if not gate.open), None)
    answer: str = told("all gates are open: it goes with the next delivery")
    command = "kmtool deliver"
    if first is not None:
        answer, command = first.reason, first.command
        if first.gate == Gate.MAPPED:
            command = _mapping(order, line)
    elif line["gate"] == Gate.ORDER_WAIT:
        answer = told("it waits for the other lines of the order")
    elif line["gate"] == Gate.ROUTE:
        answer, command = Stored(line["reason"]), f"kmtool deliver {order['number']}"
    return LineWhy(line["line_no"], line["title"], state, gates, answer, command)


def _mapping(order: Row, line: Row) -> str:
    item, variant = quoted(line["item_id"] or line["title"]), line["variant_id"]
    more = f" --variant {quoted(variant)}" if variant else ""
    return f"kmtool product map {order['channel']} {item} SKU{more}"


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
