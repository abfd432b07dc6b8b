"""What happened last to a line that is beyond the gates, and the command that brings it on.

The latest effect that carries the line tells: its route, its last try, what was answered, when it
is tried or asked again. A line that is delivered may still wait for its channel to be told.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.clock import local_text
from kmtool.domain.ids import OrderId
from kmtool.domain.states import EffectKind, EffectState, Gate, LineState
from kmtool.errors import Stored, marked, told
from kmtool.operations import chain, sender, ship_files, topup
from kmtool.operations.by_hand import STOPPED
from kmtool.operations.by_hand_back import TAKEN_BACK
from kmtool.operations.needs_you import quoted
from kmtool.operations.order_records import WORDS, LastTry
from kmtool.operations.permit import waits_for_a_word, waits_for_the_watch
from kmtool.operations.rebind import LOST_KEY
from kmtool.operations.refunds import (
    CHANGED,
    NO_GOOD,
    TWICE,
    all_delivered,
    refund_blocks,
    was_refused,
)
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, refunds, sessions
from kmtool.store import ship_files as files
from kmtool.store.db import Row

CARRIED = (LineState.RESERVED, LineState.SENDING, LineState.UNKNOWN)
AGAIN = (EffectState.PENDING, EffectState.RETRY_AT)


@dataclass(frozen=True, slots=True)
class After:
    """Where a line stands beyond the gates: in words, the next command, the last try."""

    answer: str
    command: str
    last: LastTry | None


def after(shop: Shop, order: Row, line: Row) -> After:
    """Say what happened last to a line and what comes next."""
    state = LineState(line["state"])
    of_order = effects.effects_of(shop.db, OrderId(order["id"]))
    carries = _carriers(shop, of_order, line)
    effect = carries[-1] if carries else None
    last = _last(shop, line, effect) if effect else None
    if state in CARRIED and effect is not None:
        answer, command = _under_way(shop, order, line, effect, last)
    elif state is LineState.DELIVERED:
        answer, command = _delivered(shop, order, last, of_order)
    else:
        answer = Stored(line["reason"]) or told(WORDS[state])
        command = _for_a_person(shop, order, line, state)
    return After(answer, command, last)


def _carriers(shop: Shop, of_order: list[Row], line: Row) -> list[Row]:
    """Return the effects of an order that carry a line (or buy its top-up), oldest first."""
    parcels = [effect["parcel_id"] for effect in of_order if effect["parcel_id"] is not None]
    lines = deliveries.lines_of_parcels(shop.db, sorted(set(parcels)))
    mine = {parcel for parcel, rows in lines.items() if any(x["id"] == line["id"] for x in rows)}
    return [effect for effect in of_order if effect["parcel_id"] in mine]


def _last(shop: Shop, line: Row, effect: Row) -> LastTry:
    tries = effects.attempts_of(shop.db, [effect["id"]])
    bound = deliveries.allocations(shop.db, [line["id"]])
    newest = tries[-1] if tries else None
    waits = effect["state"] in AGAIN
    return LastTry(
        effect=effect["kind"],
        route=effect["route"],
        state=effect["state"],
        tries=effect["tries"],
        outcome=newest["state"] if newest else "",
        detail=Stored(newest["detail"] if newest else effect["reason"]),
        at_ms=newest["started_ms"] if newest else None,
        next_ms=effect["due_ms"] if waits else None,
        keys=tuple(f"…{row['tail']}" for row in bound),
        seen_ms=min((row["exposed_ms"] for row in bound if row["exposed_ms"]), default=None),
    )


def _under_way(
    shop: Shop, order: Row, line: Row, effect: Row, last: LastTry | None
) -> tuple[str, str]:
    assert last is not None, "an effect has a last try, be it none"
    number, state = order["number"], LineState(line["state"])
    by_hand = chain.waits_by_hand(shop, line)
    stopped = str(effect["reason"]).removeprefix(STOPPED)
    if state is LineState.SENDING:
        mend = "kmtool doctor --fix" if _nobody_sends(shop) else f"kmtool order show {number}"
        return told("{route} is at it since {at}", route=last.route, at=_at(shop, last.at_ms)), mend
    if stopped != effect["reason"] and stopped == "hold":
        return told("you hold it"), f"kmtool order release {number}"
    if stopped != effect["reason"]:
        return told("{name} is paused", name=stopped), f"kmtool resume {stopped}"
    if state is LineState.UNKNOWN and by_hand:
        return told("perhaps sent by hand: look at the chat"), f"kmtool deliver --by-hand {number}"
    if state is LineState.UNKNOWN:
        form = marked("outcome unclear 结果不明 ({detail}); {route} is asked at {next}")
        return _told(shop, form, last), "kmtool deliver"
    if by_hand:
        return told("its keys are bound and wait for you to paste them"), (
            f"kmtool deliver --by-hand {number}"
        )
    if last.tries:
        form = marked("tried {tries} times by {route} ({detail}); again at {next}")
        return _told(shop, form, last), f"kmtool order redeliver {number}"
    return told("its keys are bound: it goes with the next delivery"), "kmtool deliver"


def _told(shop: Shop, form: str, last: LastTry) -> str:
    return told(
        form, detail=last.detail, route=last.route, tries=last.tries, next=_at(shop, last.next_ms)
    )


def _delivered(
    shop: Shop, order: Row, last: LastTry | None, of_order: list[Row]
) -> tuple[str, str]:
    route = last.route if last else "?"
    handed = told(
        "{route} took it at {at}", route=route, at=_at(shop, last.at_ms if last else None)
    )
    channel, number = order["channel"], order["number"]
    if last is not None and last.state in AGAIN:
        at = _at(shop, last.next_ms)
        what = told("the buyer has its keys; the same go again at {at}", at=at)
        return what, f"kmtool deliver {number}"
    if last is not None and last.state == EffectState.HUMAN:
        what = told("the buyer has its keys; the same could not go again: {why}", why=last.detail)
        return what, f"kmtool order redeliver {number}"
    mark = next((e for e in reversed(of_order) if e["kind"] == EffectKind.MARK_SHIPPED), None)
    if order["marked_ms"] is not None:
        at = _at(shop, order["marked_ms"])
        return told(
            "{handed}; the channel shows it as shipped since {at}", handed=handed, at=at
        ), ""
    if mark is None or mark["state"] in {EffectState.DONE, EffectState.CANCELLED}:
        return handed, ""
    if mark["route"] == ship_files.ROUTE:
        waits = files.waiting(shop.db, ship_files.ROUTE, channel, again=False)
        if any(row["id"] == mark["id"] for row in waits):
            what = told("{handed}; it waits for the channel's ship file", handed=handed)
            return what, f"kmtool channel ship-file {channel}"
        what = told("{handed}; its ship file waits to be confirmed by an export", handed=handed)
        return what, f"kmtool sync {channel}"
    why = Stored(mark["reason"])
    if mark["state"] == EffectState.HUMAN:
        what = told("{handed}; the channel could not be told: {why}", handed=handed, why=why)
        return what, f"kmtool order redeliver {number}"
    return told("{handed}; the channel is told next", handed=handed), "kmtool deliver"


def _for_a_person(shop: Shop, order: Row, line: Row, state: LineState) -> str:
    number = order["number"]
    if state is LineState.REFUND_CASE:
        if was_refused(shop, OrderId(order["id"])):
            return f"kmtool sync {order['channel']}"
        kind = "refund" if refund_blocks(order) else "redeliver"
        return f"kmtool order {kind} {number}"
    return _settled_by_hand(shop, order, line) if state is LineState.HUMAN else ""


def _settled_by_hand(shop: Shop, order: Row, line: Row) -> str:
    if line["reason"].startswith(CHANGED) and refunds.wanted(shop.db, line["id"]):
        return f"kmtool order release {order['number']}"
    at_gate = {  # what a replacement waits for
        Gate.STOCK: f"kmtool import FILE --sku {line['sku']}",
        Gate.PRODUCT: f"kmtool product set {line['sku']} --state on",
        Gate.MODE: f"kmtool channel set {order['channel']} --mode ask",
        Gate.ROUTE: f"kmtool deliver {order['number']}",
    }.get(line["gate"])
    return at_gate or _by_its_reason(shop, order, line) or _by_a_word(shop, order, line)


def _by_its_reason(shop: Shop, order: Row, line: Row) -> str:
    number = order["number"]
    if line["reason"].startswith(TAKEN_BACK):
        return f"kmtool deliver --by-hand {number}"
    if line["reason"] == LOST_KEY:
        return f"kmtool import FILE --sku {line['sku'] or 'SKU'}"
    if line["reason"].startswith((TWICE, NO_GOOD)):
        which = "--key TAIL" if all_delivered(shop, line) else "--all"
        no = quoted(line["line_no"])
        return f"kmtool order replace {number} --line {no} {which} --reason TEXT"
    return ""


def _by_a_word(shop: Shop, order: Row, line: Row) -> str:
    number = order["number"]
    if all_delivered(shop, line):
        return f"kmtool order release {number}"
    if topup.is_unclear(shop, line):
        no = quoted(line["line_no"])
        return f"kmtool order charged {number} --amount AMOUNT --reason TEXT --line {no}"
    if waits_for_the_watch(shop, order["channel"], line["reason"]):
        return f"kmtool channel set {order['channel']} --mode ask"
    word = waits_for_a_word(shop, order["channel"], line["reason"])
    return f"kmtool order {'release' if word else 'redeliver'} {number}"


def _nobody_sends(shop: Shop) -> bool:
    return not any(sender.is_alive(shop, row) for row in sessions.live(shop.db))


def _at(shop: Shop, at_ms: int | None) -> str:
    return local_text(at_ms, shop.config.shop.timezone) or "?"
