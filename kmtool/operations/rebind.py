"""Gives keys that were sent before a restore back to their lines, and to no other.

A line gets exactly the keys that the send journal names for it; its parcel is written again with
one try whose outcome is unclear, so that asking settles it. A key that is not in this database goes
to its line when its file is imported again; until then the line waits for a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from kmtool.domain.ids import EffectId, LineId, OrderId, ParcelId, Place
from kmtool.domain.states import (
    AllocationState,
    AttemptState,
    EffectKind,
    EffectState,
    LineState,
)
from kmtool.errors import KmError, marked, told
from kmtool.operations import bonds_again
from kmtool.operations.facts import gather
from kmtool.operations.pack import pack
from kmtool.operations.pack_replacement import pack_again
from kmtool.operations.refunds import all_delivered, apply_refund, refund_blocks, take_back, unpack
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, machines, orders, refunds, seen_keys
from kmtool.store.db import Row

SENT_BEFORE = marked("its keys were sent before this copy was made current; asking")
LOST_KEY = marked("its key was sent, but is not in this database: bring its file in again")
ANOTHER = marked("another key was sent for it after this copy was made")
WAITING = (
    LineState.NEW, LineState.READY, LineState.HELD, LineState.UNMAPPED, LineState.CANCELLED,
)  # fmt: skip
UNTRIED = (EffectState.PENDING, EffectState.RETRY_AT, EffectState.HUMAN)


def rebind(shop: Shop, order: Row, session: int | None = None) -> int:
    """Give an order the keys that were sent for it before; return how many were bound.

    Call it inside a transaction, with the order's row locked. A line whose key is not in this
    database goes to a person: no other key leaves for it by itself.
    """
    waiting = seen_keys.seen_of_order(shop.db, order["channel"], order["number"])
    if not waiting:
        return 0
    keys = seen_keys.keys_of(shop.db, [bytes(row["fingerprint"]) for row in waiting])
    here = {row["line_no"]: row for row in orders.lines(shop.db, OrderId(order["id"]))}
    parcels: dict[int, list[tuple[Row, list[Row]]]] = {}
    replaced: list[tuple[Row, list[Row], int]] = []
    bound: list[int] = []
    for line_no in dict.fromkeys(row["line_no"] for row in waiting):
        mine = [row for row in waiting if row["line_no"] == line_no]
        line = here.get(line_no)
        if line is None or not _are_here(shop, line, mine, keys):
            continue
        bound += [row["id"] for row in mine]
        mine = _counting(shop, line, mine, keys)
        if not mine:
            continue
        sent = [keys[bytes(row["fingerprint"])] for row in mine]
        line = _unreserved(shop, _given_up(shop, order, line, sent))
        if line["state"] == LineState.HUMAN and refunds.wanted(shop.db, line["id"]):
            replaced.append((line, sent, mine[-1]["parcel_n"]))
            continue
        live = _bind(shop, line, sent)
        ready = _prepared(shop, order, line, live) if live else line
        for n, some in _by_parcel(mine, live).items():
            parcels.setdefault(n, []).append((ready, some))
    number = session or house.number(shop.db, machines.REPLAYED) or 0
    for n, lines in sorted(parcels.items()):
        _unclear(shop, order, n, lines, number)
    for line, sent, n in replaced:
        _came_for(shop, order, (line, sent), n, number)
    seen_keys.seen_bound(shop.db, bound, shop.now_ms())
    if bound and refund_blocks(orders.get(shop.db, OrderId(order["id"]))):
        apply_refund(shop, OrderId(order["id"]))
    return len(bound)


def _are_here(shop: Shop, line: Row, seen: Sequence[Row], keys: Mapping[bytes, Row]) -> bool:
    """Tell whether all keys of a line are in this database; else it waits for their file."""
    found = all(bytes(row["fingerprint"]) in keys for row in seen)
    if not found:
        to_person(shop, line, LOST_KEY)
    return found


def _counting(shop: Shop, line: Row, seen: Sequence[Row], keys: Mapping[bytes, Row]) -> list[Row]:
    """Bind the keys of a line that were given up since; return the others."""
    gone = [keys[bytes(row["fingerprint"])] for row in seen if row["replaced"]]
    bonds_again.bind_given_up(shop, line, gone)
    return [row for row in seen if not row["replaced"]]


def rebind_new(shop: Shop, order: Row) -> None:
    """Let an order that a channel brings take the keys that were sent for it (usually none)."""
    if seen_keys.any_seen(shop.db):
        rebind(shop, order)


def resume(shop: Shop, bond: Row, session: int) -> None:
    """Its key was reserved for this very line when the copy was made, and sent since."""
    db, now = shop.db, shop.now_ms()
    seen_keys.expose_bond(db, bond["id"], now)
    if bond["exclusive"]:  # a use of a shared key was counted when it was bound
        seen_keys.take_out(db, bond["key_id"], now)
    line = line_of(shop, bond)
    for effect in effects.effects_of(db, OrderId(bond["order_id"])):
        if _carries(shop, effect, bond):
            _asked(shop, effect, session)
    if line["state"] == LineState.RESERVED:
        _now_unclear(shop, line)


def tried_since(shop: Shop, bond: Row, parcel: int, session: int) -> None:
    """The message that waits for another try was tried since the copy was made: ask first."""
    for effect in effects.effects_of(shop.db, OrderId(bond["order_id"])):
        waits = effect["state"] in {EffectState.PENDING, EffectState.RETRY_AT}
        again = effect["tries"] and waits and effect["parcel_n"] == parcel
        if again and _carries(shop, effect, bond):
            if effect["reason"] != SENT_BEFORE:  # else another line of its message was here before
                _put_on_record(shop, effect, session)
            line = line_of(shop, bond)
            if line["state"] == LineState.RESERVED:
                _now_unclear(shop, line)


def unreserve(shop: Shop, bond: Row) -> None:
    """Undo the parcel that held a key when the copy was made: its text was never sent."""
    for effect in effects.effects_of(shop.db, OrderId(bond["order_id"])):
        if _carries(shop, effect, bond):
            undo = take_back if effect["kind"] == EffectKind.REPLACE else unpack
            undo(shop, effect, marked("the journal knows better"))
    rows = deliveries.allocations(shop.db, [bond["line_id"]])
    if any(row["id"] == bond["id"] and row["state"] == AllocationState.RESERVED for row in rows):
        seen_keys.undo_bond(shop.db, bond["id"])
        to_person(shop, line_of(shop, bond), ANOTHER)


def to_person(shop: Shop, line: Row, reason: str) -> None:
    """A line that cannot be settled here waits for a person, whatever it was doing."""
    db, now, line_id = shop.db, shop.now_ms(), LineId(line["id"])
    state = LineState(line["state"])
    ready = (LineState.READY, LineState.RESERVED, LineState.HUMAN)
    ways: dict[LineState, tuple[LineState, ...]] = {
        LineState.CANCELLED: (LineState.NEW, *ready),
        LineState.NEW: ready,
        LineState.HELD: ready,
        LineState.UNMAPPED: ready,
        LineState.READY: ready[1:],
        LineState.HUMAN: (),
        LineState.CLOSED: (),
        LineState.REFUND_CASE: (),
    }
    for target in ways.get(state, (LineState.HUMAN,)):
        orders.move_line(db, line_id, state, target, now, reason=reason)
        state = target
    if state is LineState.HUMAN:
        orders.set_line_reason(db, line_id, reason)


def line_of(shop: Shop, bond: Row) -> Row:
    """Return the line of a bond."""
    rows = orders.lines(shop.db, OrderId(bond["order_id"]))
    return next(row for row in rows if row["id"] == bond["line_id"])


def _bind(shop: Shop, line: Row, keys: Sequence[Row]) -> list[Row]:
    """Bind keys to a line as exposed; return those that a hand-over is to be asked about.

    More keys than the line wants: the last ones count, the others were replaced by them.
    """
    db = shop.db
    lost = line["state"] == LineState.HUMAN and not deliveries.allocations(db, [line["id"]])
    bonds_again.bind(shop, line, keys)
    if line["state"] == LineState.CLOSED:
        return []
    if LineState(line["state"]) not in WAITING and not lost:
        to_person(shop, line, ANOTHER)
        return []
    return bonds_again.newest(shop, line, keys)


def _unreserved(shop: Shop, line: Row) -> Row:
    """Undo what a line had reserved when the copy was made, other keys or another replacement;
    return the line then."""
    if line["state"] != LineState.RESERVED:
        return line
    for row in deliveries.allocations(shop.db, [line["id"]]):
        if row["state"] == AllocationState.RESERVED:
            unreserve(shop, {**row, "order_id": line["order_id"]})
    return line_of(shop, {"order_id": line["order_id"], "line_id": line["id"]})


def _given_up(shop: Shop, order: Row, line: Row, sent: Sequence[Row]) -> Row:
    """Let the oldest keys of a delivered line be those that were replaced; return the line then.

    Only a replacement gives a line that has all its keys another one. It may wait for the file in
    which that one lies. A journal that names what was given up has the last word.
    """
    if refunds.wanted(shop.db, line["id"]):
        return line
    waited = line["state"] == LineState.HUMAN and line["reason"] == LOST_KEY
    if line["state"] != LineState.DELIVERED and not (waited and all_delivered(shop, line)):
        return line
    db, now, owed = shop.db, shop.now_ms(), Counter(key["sku"] for key in sent)
    before = sorted(deliveries.allocations(db, [line["id"]]), key=lambda row: int(row["id"]))
    for row in before:
        if not owed[row["sku"]]:
            continue
        owed[row["sku"]] -= 1
        seen_keys.replace_bond(db, row["id"], row["key_id"], now)
        same = {"order_id": order["id"], "line_id": line["id"], "sku": row["sku"]}
        why = {"reason": ANOTHER, "actor": shop.actor, "at_ms": now}
        refunds.add_replacement(db, {**same, **why, "old_allocation_id": row["id"]})
    if refunds.wanted(db, line["id"]) and not waited:
        orders.move_line(db, LineId(line["id"]), LineState.DELIVERED, LineState.HUMAN, now)
    return line_of(shop, {"order_id": order["id"], "line_id": line["id"]})


def give_up(shop: Shop, bad: Mapping[Place, Collection[bytes]]) -> None:
    """Keys that count in this copy were given up since: their lines lack one until it is here."""
    for bond, key in bonds_again.given_up_since(shop, bad):
        _give_up(shop, bond, key)


def _give_up(shop: Shop, bond: Row, key: Row) -> None:
    db, now, line = shop.db, shop.now_ms(), line_of(shop, bond)
    seen_keys.replace_bond(db, bond["id"], key["id"], now)
    state = LineState(line["state"])
    if state in {LineState.CLOSED, LineState.CANCELLED, LineState.REFUND_CASE}:
        return
    same = {"order_id": line["order_id"], "line_id": line["id"], "sku": key["sku"]}
    why = {"reason": ANOTHER, "actor": shop.actor, "at_ms": now}
    refunds.add_replacement(db, {**same, **why, "old_allocation_id": bond["id"]})
    if state is LineState.DELIVERED:
        orders.move_line(db, LineId(line["id"]), state, LineState.HUMAN, now)
    elif state is not LineState.HUMAN:
        to_person(shop, line, ANOTHER)


def _came_for(
    shop: Shop, order: Row, what: tuple[Row, Sequence[Row]], n: int, session: int
) -> None:
    """Name the keys that were sent since for those that were to be replaced; ask for their parcel.

    When the copy was made, the line waited for them.
    """
    db, (line, sent) = shop.db, what
    owed = refunds.wanted(db, line["id"])
    bonds_again.bind(shop, line, sent)
    live = bonds_again.newest(shop, line, sent)
    number = _free_number(shop, order, n)
    if len(live) < len(owed):  # a sending that is not whole on record had not begun: send anew
        for key in live:
            allocation = refunds.bound_to(db, line["id"], key["id"], AllocationState.EXPOSED)
            seen_keys.replace_bond(db, allocation, key["id"], shop.now_ms())
        return
    try:
        parcel = pack_again(shop, order, line, live, number)
    except KmError as error:
        _unwritten(shop, line, error)
        _name(shop, line, owed, live, None)
        return
    seen_keys.carried_by(db, line["id"], [key["id"] for key in live], parcel)
    _name(shop, line, owed, live, parcel)
    for effect in effects.effects_of(db, OrderId(order["id"])):
        if effect["parcel_id"] == parcel:
            _asked(shop, effect, session)
    orders.move_line(db, LineId(line["id"]), LineState.HUMAN, LineState.RESERVED, shop.now_ms())
    _now_unclear(shop, line)


def _name(
    shop: Shop, line: Row, owed: Sequence[Row], keys: Sequence[Row], parcel: ParcelId | None
) -> None:
    for replacement, key in zip(owed, keys, strict=False):
        allocation = refunds.bound_to(shop.db, line["id"], key["id"], AllocationState.EXPOSED)
        refunds.name_replacement(shop.db, replacement["id"], allocation, parcel)


def _by_parcel(seen: Sequence[Row], keys: Sequence[Row]) -> dict[int, list[Row]]:
    """Return which keys of a line stood in which parcel (a long message went in parts)."""
    number = {bytes(row["fingerprint"]): int(row["parcel_n"]) for row in seen}
    found: dict[int, list[Row]] = {}
    for key in keys:
        found.setdefault(number[bytes(key["fingerprint"])], []).append(key)
    return found


def _unclear(
    shop: Shop, order: Row, n: int, ready: Sequence[tuple[Row, list[Row]]], session: int
) -> None:
    """Write the parcel again with one try whose outcome is unclear: asking settles it.

    Its number is the one it had: by that its message is found on the other side.
    """
    db, now = shop.db, shop.now_ms()
    number = _free_number(shop, order, n)
    try:
        facts = gather(shop, [order["id"]])
        packed = pack(shop, facts, [(order, ready)], {order["id"]: number})
    except KmError as error:
        for line, _keys in ready:
            _unwritten(shop, line_of(shop, {**line, "line_id": line["id"]}), error)
        return
    for line, keys, parcel in packed:
        seen_keys.carried_by(db, line["id"], [key["id"] for key in keys], parcel)
    parcels = {parcel for _line, _keys, parcel in packed}
    for effect in effects.effects_of(db, OrderId(order["id"])):
        if effect["parcel_id"] in parcels:
            _asked(shop, effect, session)
    for line, _keys in ready:
        orders.move_line(db, LineId(line["id"]), LineState.READY, LineState.RESERVED, now)
        deliveries.stamp_sent(db, [LineId(line["id"])], "reserved_ms", now)
        _now_unclear(shop, line)


def _free_number(shop: Shop, order: Row, n: int) -> int:
    """Return the number that a parcel had, or the next one where that is taken."""
    if n and not seen_keys.has_parcel(shop.db, order["id"], n):
        return n
    return max(n, deliveries.next_parcels(shop.db, [order["id"]], lost=False)[order["id"]])


def _unwritten(shop: Shop, line: Row, error: KmError) -> None:
    why = told("sent before; its text cannot be written: {error}", error=error)
    to_person(shop, line, why)


def _asked(shop: Shop, effect: Row, session: int) -> None:
    """Put a try on record whose outcome is unclear, unless the copy knows of one."""
    if not effect["tries"]:
        _put_on_record(shop, effect, session)


def _put_on_record(shop: Shop, effect: Row, session: int) -> None:
    db, now, effect_id = shop.db, shop.now_ms(), EffectId(effect["id"])
    n = effects.begin_effect(db, effect_id, UNTRIED)
    if n is None:
        return
    facts = {"effect_id": effect_id, "n": n, "session_id": session, "digest": "", "started_ms": now}
    attempt = effects.add_attempt(db, facts)
    effects.move_attempt(
        db, attempt, AttemptState.INTENT, AttemptState.UNKNOWN, now, "", "sent before"
    )
    effects.move_effect(
        db, effect_id, [EffectState.INFLIGHT], EffectState.RETRY_AT, now,
        due_ms=now, reason=SENT_BEFORE,
    )  # fmt: skip


def _now_unclear(shop: Shop, line: Row) -> None:
    db, now, line_id = shop.db, shop.now_ms(), LineId(line["id"])
    for source, target in (
        (LineState.RESERVED, LineState.SENDING),
        (LineState.SENDING, LineState.UNKNOWN),
    ):
        orders.move_line(db, line_id, source, target, now, reason=SENT_BEFORE)
    deliveries.stamp_sent(db, [line_id], "sent_ms", now)


def _prepared(shop: Shop, order: Row, line: Row, keys: Sequence[Row]) -> Row:
    """Let a line be ready for its own keys: their product where none is mapped, their number."""
    db, now = shop.db, shop.now_ms()
    line_id, state = LineId(line["id"]), LineState(line["state"])
    if line["sku"] is None or (line["kind"] == "key" and line["needed"] != len(keys)):
        seen_keys.set_line_keys(db, line_id, line["sku"] or keys[0]["sku"], len(keys))
    if state is LineState.CANCELLED:
        orders.move_line(db, line_id, state, LineState.NEW, now)
        state = LineState.NEW
    if state is not LineState.READY:
        orders.move_line(db, line_id, state, LineState.READY, now)
    return line_of(shop, {"order_id": order["id"], "line_id": line["id"]})


def _carries(shop: Shop, effect: Row, bond: Row) -> bool:
    """Tell whether an effect sends the line of a bond; a replacement sends its own keys only."""
    if effect["kind"] == EffectKind.REPLACE:
        return bool(effect["parcel_id"] == bond["parcel_id"])
    if effect["kind"] != EffectKind.HAND_OVER:
        return False
    lines = deliveries.parcel_lines(shop.db, ParcelId(effect["parcel_id"]))
    return any(row["id"] == bond["line_id"] for row in lines)
