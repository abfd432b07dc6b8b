"""The sending of a message in parts: one after the other, the lines delivered with the last.

While parts are left the lines go back to `reserved` and wait for the next one; the keys of a part
that arrived are delivered and booked with it.
"""

from __future__ import annotations

from collections.abc import Collection

from kmtool.domain.ids import EffectId, LineId, OrderId
from kmtool.domain.states import (
    AllocationState,
    EffectState,
    KeyState,
    LineState,
)
from kmtool.errors import marked
from kmtool.operations.handed import UNDER_WAY, book, deliver_lines
from kmtool.operations.refunds import reason_of
from kmtool.operations.split import TURN_MS, siblings
from kmtool.operations.tries import WAITING, Slice
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, refunds, route_uses
from kmtool.store.db import Row

OPEN = (EffectState.PENDING, EffectState.RETRY_AT, EffectState.INFLIGHT)


def is_part(seen: Slice, effect: Row) -> bool:
    """Tell whether an effect carries one of several parts."""
    parcel = seen.parcels.get(effect["parcel_id"])
    return parcel is not None and parcel["parts"] > 1


def waits(shop: Shop, seen: Slice, effect: Row) -> bool:
    """Put a part off while one before it has not arrived; tell whether it has to wait.

    What a person sends again goes out without order.
    """
    if effect["generation"] > 1 or not is_part(seen, effect):
        return False
    parcel = seen.parcels[effect["parcel_id"]]
    before = [one for one in route_uses.parts_of(shop.db, parcel) if one["n"] < parcel["n"]]
    if all(one["state"] == EffectState.DONE for one in before):
        return False
    now = shop.now_ms()
    effects.move_effect(
        shop.db,
        EffectId(effect["id"]),
        WAITING,
        EffectState(effect["state"]),
        now,
        due_ms=now + TURN_MS,
        reason=marked("it waits for the part before it"),
    )
    return True


def keys_shown(seen: Slice, effect: Row) -> list[Row]:
    """Return the keys that may be seen once an effect leaves: with a part, those of all parts."""
    if not is_part(seen, effect):
        return seen.keys_of(effect)
    return [key for line in seen.lines_of(effect) for key in seen.bound.get(line["id"], ())]


def waits_for_another(shop: Shop, seen: Slice, effect: Row, line: Row) -> bool:
    """Tell whether a line waits for a younger message, which brings a key in place of one of this:
    tried already or not, it has not arrived."""
    return bool(_younger(shop, seen, effect, line))


def _younger(shop: Shop, seen: Slice, effect: Row, line: Row) -> set[int]:
    """Return the parcels, younger than that of an effect and no part of the same message, whose
    keys of a line did not arrive."""
    own = effect["parcel_id"]
    if own is None:
        return set()
    still_to_come = {AllocationState.RESERVED, AllocationState.EXPOSED}
    found = {
        key["parcel_id"]
        for key in seen.bound.get(line["id"], ())
        if key["parcel_id"] is not None and key["parcel_id"] > own and key["state"] in still_to_come
    }
    return found - set(siblings(shop, seen.parcels[own])) if found else found


def as_it_stays(
    shop: Shop, seen: Slice, effect: Row, line: Row, arrived: Collection[int] = ()
) -> Row:
    """Return a line whose message arrived: one that waits for a younger message (none of the
    parcels that `arrived` with this one) goes on waiting, the keys that arrived are booked."""
    waits_for = _younger(shop, seen, effect, line) - set(arrived)
    if not waits_for:
        return line
    if line["state"] == LineState.UNKNOWN and not _under_way(shop, effect, waits_for, OPEN):
        orders.move_line(
            shop.db, LineId(line["id"]), LineState.UNKNOWN, LineState.HUMAN, shop.now_ms(),
            reason=reason_of(line, marked("its other key has not arrived")),
        )  # fmt: skip
    if line["state"] == LineState.SENDING and not _under_way(shop, effect, waits_for):
        orders.move_line(
            shop.db, LineId(line["id"]), LineState.SENDING, LineState.RESERVED, shop.now_ms()
        )
    return {**line, "state": LineState.RESERVED}


def _under_way(
    shop: Shop,
    effect: Row,
    parcels: Collection[int],
    states: Collection[EffectState] = (EffectState.INFLIGHT,),
) -> bool:
    """Tell whether a message is being sent right now (or is in `states`): its end moves its
    lines."""
    return any(
        one["parcel_id"] in parcels and one["state"] in states
        for one in effects.effects_of(shop.db, OrderId(effect["order_id"]))
    )


def arrived(shop: Shop, seen: Slice, effect: Row) -> int:
    """Write that a part arrived; return how many lines are delivered with it: 0 with parts left."""
    order, lines = seen.order(effect), seen.lines_of(effect)
    parcel = seen.parcels[effect["parcel_id"]]
    carried: dict[int, list[Row]] = {}
    for key in seen.keys_of(effect):
        carried.setdefault(key["line_id"], []).append(key)
    found = [(order, line) for line in lines]
    name = f":p{parcel['n']}"
    again = effect["generation"] > 1
    if not _let_the_next_go(shop, parcel, again):
        found = [(order, as_it_stays(shop, seen, effect, line)) for line in lines]
        deliver_lines(shop, found, carried, name)
        return len(lines)
    exposed = [
        key["key_id"]
        for keys in carried.values()
        for key in keys
        if key["key_state"] == KeyState.EXPOSED
    ]
    deliveries.deliver_keys(shop.db, exposed, shop.now_ms())
    book(shop, found, carried, name)
    for line in lines:
        if line["state"] == LineState.HUMAN and refunds.wanted(shop.db, line["id"]):
            continue  # it waits for a key that no part brings
        if line["state"] in UNDER_WAY and not (again and line["state"] == LineState.HUMAN):
            orders.move_line(
                shop.db,
                LineId(line["id"]),
                LineState(line["state"]),
                LineState.RESERVED,
                shop.now_ms(),
                reason=reason_of(line, ""),
            )
    return 0


def _let_the_next_go(shop: Shop, parcel: Row, again: bool) -> bool:
    """Make the next part due; tell whether one is left."""
    left = [
        one
        for one in route_uses.parts_of(shop.db, parcel)
        if one["state"] != EffectState.DONE and (again or one["n"] != parcel["n"])
    ]
    if left and not again:
        route_uses.due_in(shop.db, EffectId(left[0]["effect_id"]), shop.now_ms())
    return bool(left)
