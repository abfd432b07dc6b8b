"""What a person does with orders: hold, release, send the same keys again."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.ids import EffectId, LineId, OrderId, ParcelId
from kmtool.domain.states import (
    AllocationState,
    EffectKind,
    EffectState,
    LineState,
    Mode,
    RefundState,
)
from kmtool.errors import NotFound, Refused, StateMoved, marked, told
from kmtool.operations import chain, topup, without_journal
from kmtool.operations.find_order import named
from kmtool.operations.needs_you import quoted
from kmtool.operations.pack import address_digest
from kmtool.operations.permit import lines_of, waits_for_a_word
from kmtool.operations.refunds import (
    CHANGED,
    WAITING,
    all_delivered,
    count_again,
    is_first,
    refund_blocks,
    unpack_all,
)
from kmtool.operations.shipped import mark_after_decision
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, products
from kmtool.store import refunds as store
from kmtool.store.db import Row

OPEN = (EffectState.PENDING, EffectState.INFLIGHT, EffectState.RETRY_AT)


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """What a command did to an order."""

    channel: str
    number: str
    action: str
    lines: int


def hold(shop: Shop, number: str, reason: str) -> OrderChanged:
    """Stop an order before its keys can be seen; `Refused` when they have left already.

    Keys that are bound but never left go back to the shelf.
    """
    shop.must_be_writable()
    order = named(shop, number)
    order_id = OrderId(order["id"])
    with shop.db.tx():
        orders.get(shop.db, order_id, lock=True)
        unpack_all(shop, order_id, "held")
        lines = orders.lines(shop.db, order_id)
        waiting = [line for line in lines if line["state"] in WAITING]
        if not waiting:
            raise Refused(
                detail="nothing of order {number} is waiting any more",
                number=order["number"],
                mend="kmtool order show {number}",
            )
        orders.set_hold(shop.db, order_id, reason, shop.now_ms())
        orders.set_released(shop.db, order_id, None)
        shop.audit("hold", _name(order), reason)
    return OrderChanged(order["channel"], order["number"], marked("hold"), len(waiting))


def release(shop: Shop, number: str, quantity: int | None = None, line: str = "") -> OrderChanged:
    """Open the gates that ask (hold, amount, price, burst, risk, mode, a partial refund).

    `quantity` sets how many pieces of a line still go out after a partial refund; `line` names it
    when several wait, and 0 leaves that line out. Fewer pieces are what the refund was for: lines
    that were delivered before count again, else they stay a case of their own. A line that was
    delivered and then changed at the channel counts as dealt with; one that was tried before its
    channel was set to ask is tried anew.
    """
    shop.must_be_writable()
    order = named(shop, number)
    order_id = OrderId(order["id"])
    with shop.db.tx():
        order = orders.get(shop.db, order_id, lock=True)
        found = orders.lines(shop.db, order_id)
        lines = [line for line in found if line["state"] in WAITING]
        dealt_with = sum(_deal_with(shop, line) for line in found)
        dealt_with += _go_on(shop, order)
        is_held = order["hold_reason"] is not None  # also what is on its way stops at it
        if not lines and not dealt_with and not is_held:
            raise Refused(
                detail="nothing of order {number} is waiting",
                number=order["number"],
                mend="kmtool order why {number}",
            )
        if lines and order["refund"] == RefundState.PARTIAL and quantity is None:
            raise Refused(
                detail="part of this order was refunded: say how many pieces still go out",
                mend="kmtool order release {number} --quantity N",
                number=order["number"],
            )
        if quantity is not None and _set_quantity(shop, order, lines, quantity, line):
            count_again(
                shop, order, marked("another line was refunded; its keys may have been seen")
            )
        orders.set_hold(shop.db, order_id, None, shop.now_ms())
        orders.set_released(shop.db, order_id, shop.now_ms())
        effects.due_now(shop.db, order_id, shop.now_ms())
        mark_after_decision(shop, order_id)
        shop.audit("release", _name(order), str(quantity or ""))
    count = len(lines) + dealt_with or int(is_held)
    return OrderChanged(order["channel"], order["number"], marked("release"), count)


def _deal_with(shop: Shop, line: Row) -> bool:
    is_human = line["state"] == LineState.HUMAN
    if is_human and line["reason"].startswith(CHANGED) and store.wanted(shop.db, line["id"]):
        orders.set_line_reason(shop.db, LineId(line["id"]), "")  # its replacement may go on
        return True
    if line["state"] != LineState.HUMAN or not all_delivered(shop, line):
        return False
    return orders.move_line(
        shop.db, LineId(line["id"]), LineState.HUMAN, LineState.DELIVERED, shop.now_ms()
    )


def _go_on(shop: Shop, order: Row) -> int:
    """Try anew what was tried before its channel was set to ask; return how many messages."""
    if refund_blocks(order):
        return 0
    stopped = [
        effect
        for effect in effects.effects_of(shop.db, OrderId(order["id"]))
        if effect["state"] == EffectState.HUMAN
        and is_first(effect)
        and waits_for_a_word(shop, order["channel"], effect["reason"])
        and not _unsure(shop, effect)
    ]
    for effect in stopped:
        _try_anew(shop, order, effect, EffectState.HUMAN)
    return len(stopped)


def _set_quantity(shop: Shop, order: Row, lines: list[Row], quantity: int, name: str) -> bool:
    """Cut a line to some pieces; tell whether fewer go out than were ordered."""
    chosen = [line for line in lines if name in {"", line["line_no"]}]
    least = 0 if name else 1
    if len(chosen) != 1 or not least <= quantity <= chosen[0]["quantity"]:
        raise Refused(
            detail="--quantity needs one waiting line (--line names it) and a number"
            " from 1 to its quantity, or 0 to leave a named line out",
            where=f"order {order['number']}",
            mend="kmtool order show {number}",
            number=order["number"],
        )
    line, line_id = chosen[0], LineId(chosen[0]["id"])
    if quantity == 0:
        source = LineState(line["state"])
        orders.move_line(
            shop.db, line_id, source, LineState.CLOSED, shop.now_ms(), reason=marked("left out")
        )
        return True
    orders.set_needed(shop.db, line_id, quantity * units_of(shop, order, line))
    return bool(quantity < line["quantity"])


def units_of(shop: Shop, order: Row, line: Row) -> int:
    """Return how many keys one piece of a line takes (a release before may have cut `needed`)."""
    found = products.listing(shop.db, order["channel"], line["item_id"], line["variant_id"])
    return int(found["units"]) if found else 1


def redeliver(shop: Shop, number: str, line: str = "") -> OrderChanged:
    """Send the same keys again: a failed hand-over is tried anew, a done one gets a new generation.

    When all that is missing is the mark at the channel, only that is tried again. Never picks
    another key. `Refused` while a refund is open or nothing was bound yet. A top-up that may have
    been charged is bought again only when it is meant: by its `line`, or as all there is to do.
    """
    shop.must_be_writable()
    order = named(shop, number)
    with shop.db.tx():
        order = orders.get(shop.db, OrderId(order["id"]), lock=True)
        if refund_blocks(order):
            raise Refused(
                detail="order {number} has a refund or is closed; nothing is sent",
                number=order["number"],
                mend="kmtool order refund {number}",
            )
        again = _of_line(shop, order, line) if line else _to_do(shop, order)
        for effect in again:
            _must_be_known(shop, order, effect)
        count = sum(_again(shop, order, effect) for effect in again)
        if not count:
            raise Refused(
                detail="no key is bound to order {number} yet",
                number=order["number"],
                mend="kmtool order why {number}",
            )
        _give_word(shop, order)
        shop.audit("redeliver", _name(order), f"{count} effects")
    return OrderChanged(order["channel"], order["number"], marked("redeliver"), count)


def _latest(shop: Shop, order: Row) -> list[Row]:
    """Return the newest effect of each kind and parcel that still has its keys."""
    latest: dict[tuple[str, int], Row] = {}
    for effect in effects.effects_of(shop.db, OrderId(order["id"])):
        if _bound(shop, effect):
            latest[effect["kind"], effect["parcel_n"]] = effect
    return list(latest.values())


def _of_line(shop: Shop, order: Row, name: str) -> list[Row]:
    """Return what carries one line, or buys it."""
    if not any(line["line_no"] == name for line in orders.lines(shop.db, OrderId(order["id"]))):
        raise NotFound(
            kind="line", name=name, mend="kmtool order show {number}", number=order["number"]
        )
    return [
        effect
        for effect in _latest(shop, order)
        if any(line["line_no"] == name for line in lines_of(shop, effect))
    ]


def _to_do(shop: Shop, order: Row) -> list[Row]:
    """Return what did not get through, else everything; nothing that may have been charged beside
    what is certain: who has one line sent again does not speak of the other."""
    latest = _latest(shop, order)
    marks = [e for e in latest if e["kind"] == EffectKind.MARK_SHIPPED]
    missing = [e for e in marks if e["state"] == EffectState.HUMAN]
    parcels = [e for e in latest if e["kind"] != EffectKind.MARK_SHIPPED]
    failed = [e for e in parcels if e["state"] != EffectState.DONE]
    unsure = [line for effect in failed for line in _unsure(shop, effect)]
    if unsure and len(parcels) > 1:
        failed = [effect for effect in failed if not _unsure(shop, effect)]
        if not missing and not failed:
            raise Refused(
                detail="line {line} may have been charged; to buy it once more all the same, name"
                " it with --line",
                line=unsure[0]["line_no"],
                where=f"order {order['number']}",
                number=order["number"],
                quoted=quoted(unsure[0]["line_no"]),
                mend="kmtool order charged {number} --amount AMOUNT --reason TEXT --line {quoted}",
            )
    return missing or failed or parcels


def _must_be_known(shop: Shop, order: Row, effect: Row) -> None:
    """Refuse to buy once more what was perhaps bought before this copy as something else: another
    item, or under another number, or at another supplier."""
    for line in _unsure(shop, effect):
        if not topup.knows_item(shop, line) or without_journal.may_be_another(shop, order, line):
            raise Refused(
                detail="line {line} may have been charged, and what was ordered is not known here:"
                " look there first",
                line=line["line_no"],
                where=f"order {order['number']}",
                number=order["number"],
                quoted=quoted(line["line_no"]),
                mend="kmtool order charged {number} --amount AMOUNT --reason TEXT --line {quoted}"
                "; an amount of 0 if nothing was charged",
            )


def _unsure(shop: Shop, effect: Row) -> list[Row]:
    """Return the line whose account may have been charged by what waits for a person."""
    if effect["kind"] != EffectKind.PURCHASE or effect["state"] in OPEN:
        return []
    return [line for line in lines_of(shop, effect) if topup.is_unclear(shop, line)]


def _give_word(shop: Shop, order: Row) -> None:
    """A person had it sent: a channel that asks needs no other word for that.

    Lines that wait at a gate are another question, which only a release answers.
    """
    found = shop.config.channels.get(order["channel"])
    if found is None or found.mode is not Mode.ASK or order["released_ms"] is not None:
        return
    lines = orders.lines(shop.db, OrderId(order["id"]))
    if not any(line["state"] in WAITING for line in lines):
        orders.set_released(shop.db, OrderId(order["id"]), shop.now_ms())


def _bound(shop: Shop, effect: Row) -> bool:
    """Tell whether an effect still has its keys.

    A parcel that was undone has none, nor has one whose keys were all replaced; lines that are over
    get nothing more.
    """
    if effect["kind"] in {EffectKind.MARK_SHIPPED, EffectKind.NOTIFY}:
        return True
    if effect["kind"] == EffectKind.PURCHASE:  # what was charged is never charged again
        over = effect["state"] == EffectState.CANCELLED and not effect["tries"]
        return not over and effect["state"] != EffectState.DONE
    if effect["kind"] not in {EffectKind.HAND_OVER, EffectKind.REPLACE}:
        return False
    parcel = ParcelId(effect["parcel_id"])
    lines = deliveries.parcel_lines(shop.db, parcel)
    if all(line["state"] in {LineState.CLOSED, LineState.CANCELLED} for line in lines):
        return False
    is_replacement = effect["kind"] == EffectKind.REPLACE
    bound = store.parcel_allocations(shop.db, parcel, is_replacement=is_replacement)
    seen = any(row["state"] != AllocationState.RESERVED for row in bound)
    is_over = effect["state"] == EffectState.CANCELLED and not effect["tries"]
    return bool(bound) and (seen or not is_over)


def _again(shop: Shop, order: Row, effect: Row) -> int:
    db, now = shop.db, shop.now_ms()
    state = EffectState(effect["state"])
    if state is EffectState.INFLIGHT:
        raise StateMoved(what=told("order {number}", number=order["number"]), state="on its way")
    if state in {EffectState.PENDING, EffectState.RETRY_AT}:
        effects.due_now(db, OrderId(order["id"]), now)
        return 1
    if state in {EffectState.HUMAN, EffectState.CANCELLED}:
        _try_anew(shop, order, effect, state)
        return 1
    if effect["parcel_id"] is not None:
        deliveries.set_address(db, ParcelId(effect["parcel_id"]), address_digest(shop, order))
    effects.add_effect(
        db,
        {
            "order_id": order["id"],
            "parcel_id": effect["parcel_id"],
            "parcel_n": effect["parcel_n"],
            "kind": effect["kind"],
            "generation": effect["generation"] + 1,
            "channel": effect["channel"],
            "route": effect["route"],
            "due_ms": now,
            "created_ms": now,
        },
    )
    return 1


def _try_anew(shop: Shop, order: Row, effect: Row, state: EffectState) -> None:
    """A person decided: the same text goes out, to where the buyer is now."""
    db, now = shop.db, shop.now_ms()
    if effect["parcel_id"] is not None:
        parcel = ParcelId(effect["parcel_id"])
        deliveries.set_address(db, parcel, address_digest(shop, order))
        for line in deliveries.parcel_lines(db, parcel):
            source = LineState(line["state"])
            if source is LineState.REFUND_CASE:
                orders.move_line(db, LineId(line["id"]), source, LineState.HUMAN, now)
                source = LineState.HUMAN
            if store.wanted(db, line["id"]):
                continue  # it waits for another key, which this message does not bring
            if source is LineState.HUMAN and is_first(effect) and not all_delivered(shop, line):
                orders.move_line(db, LineId(line["id"]), source, LineState.RESERVED, now)
        if effect["kind"] != EffectKind.PURCHASE:
            chain.start_over(shop, effect)
    effects.settle_unknown(db, EffectId(effect["id"]), topup.REPEATED, now)
    effects.move_effect(db, EffectId(effect["id"]), [state], EffectState.RETRY_AT, now, due_ms=now)


def _name(order: Row) -> str:
    return f"order:{order['channel']}:{order['number']}"
