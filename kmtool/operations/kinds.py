"""The table of effects: what each kind sends, and what it means that it happened.

Intent, journal, network and outcome are the same for every kind (`send`, `outcome`); who carries a
kind stands in `routes.CARRIERS`. A kind that is in neither table cannot be sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kmtool.domain.ids import OrderId, ParcelId
from kmtool.domain.states import EffectKind
from kmtool.errors import Broken
from kmtool.operations import parts, pictured
from kmtool.operations.handed import deliver_lines
from kmtool.operations.messages import MARK
from kmtool.operations.pack import message_of, open_key, parcel_label
from kmtool.operations.refund_sending import replaced, reply_parcel, was_answered
from kmtool.operations.refunds import ON_THE_WAY, apply_refund, is_first, refund_blocks
from kmtool.operations.routes import Parcel
from kmtool.operations.shipped import mark_when_done
from kmtool.operations.tries import Sent, Slice, look
from kmtool.ports import OrderRef
from kmtool.shop import Shop
from kmtool.store import orders
from kmtool.store.db import Row


@dataclass(frozen=True, slots=True)
class Kind:
    """The steps of one kind of effect.

    `compose` returns what the network needs; `happened` writes, inside the outcome's transaction,
    what follows from effects of this kind that happened.
    """

    compose: Callable[[Shop, Slice, Row], Parcel]
    happened: Callable[[Shop, Slice, Sequence[Row], Sent], None]


def parcel_of(shop: Shop, effect: Row) -> Parcel:
    """Return what the network needs for one effect, to ask about it."""
    return KINDS[EffectKind(effect["kind"])].compose(shop, look(shop, [effect]), effect)


def message_parcel(shop: Shop, seen: Slice, effect: Row) -> Parcel:
    """Open the sealed message of a parcel; `Broken` when it does not hold the keys bound now."""
    order, parcel = seen.order(effect), seen.parcels[effect["parcel_id"]]
    body = shop.vault.open(
        parcel["sealed"], parcel["data_key_id"], parcel_label(order, parcel["n"])
    )
    written = json.loads(body.text())
    marker = f"{order['code']}-{parcel['n']}"
    if effect["generation"] > 1:
        marker += f"-{effect['generation']}"
    numbered = [(row["key_id"], open_key(shop, row)) for row in seen.keys_of(effect)]
    keys = tuple([pictured.shown(*one) for one in numbered])
    text = written["text"]
    if not all(key.text() in text for key in keys):
        raise Broken(detail="the sealed text does not hold the keys that are bound now")
    mark = written.get("mark", MARK)
    message = message_of(order, marker, written["subject"], written["text"], keys, mark)
    files = pictured.all_named(shop, text, ParcelId(parcel["id"]), numbered)
    message = replace(message, attachments=files) if files else message
    kind = EffectKind(effect["kind"])
    return Parcel(effect["id"], kind, effect["channel"], effect["route"], message, None)


def order_parcel(shop: Shop, seen: Slice, effect: Row) -> Parcel:
    """Name the order that is to be set to shipped."""
    order, kind = seen.order(effect), EffectKind(effect["kind"])
    ref = OrderRef(order["number"], f"{order['code']}-S")
    return Parcel(effect["id"], kind, effect["channel"], effect["route"], None, ref)


def keys_arrived(shop: Shop, seen: Slice, done: Sequence[Row], tally: Sent) -> None:
    """The buyers have their keys: lines delivered, costs booked, «shipped» ordered."""
    whole = [effect for effect in done if not parts.is_part(seen, effect)]
    for effect in done if len(whole) < len(done) else ():
        if parts.is_part(seen, effect):
            tally.delivered += parts.arrived(shop, seen, effect)
    by_number: dict[int, list[Row]] = {}
    for effect in whole:
        by_number.setdefault(seen.parcels[effect["parcel_id"]]["n"], []).append(effect)
    for n, some in sorted(by_number.items()):
        tally.delivered += _arrived(shop, seen, some, "" if n == 1 else f":h{n}")
    ended = []
    for order in {effect["order_id"]: seen.order(effect) for effect in done}.values():
        if refund_blocks(order):
            apply_refund(shop, OrderId(order["id"]))
        else:
            ended.append(order)
    mark_when_done(shop, ended)


def _arrived(shop: Shop, seen: Slice, whole: Sequence[Row], part: str) -> int:
    """Deliver the lines of messages in one piece; `part` tells bookings of one line apart, which
    has several of them after a restore. Return how many lines."""
    together = {effect["parcel_id"] for effect in whole}
    found = [
        (seen.order(effect), parts.as_it_stays(shop, seen, effect, line, together))
        for effect in whole
        for line in seen.lines_of(effect)
        if is_first(effect) or line["state"] not in ON_THE_WAY
    ]
    carried: dict[int, list[Row]] = {}
    for effect in whole:
        for key in seen.keys_of(effect):
            carried.setdefault(key["line_id"], []).append(key)
    deliver_lines(shop, found, carried, part)
    return len(found)


def was_marked(shop: Shop, _seen: Slice, done: Sequence[Row], tally: Sent) -> None:
    """The channel shows the orders as shipped by us."""
    orders.set_marked(shop.db, [effect["order_id"] for effect in done], shop.now_ms())
    tally.shipped += len(done)


def was_told(_shop: Shop, _seen: Slice, _done: Sequence[Row], _tally: Sent) -> None:
    """The buyer read what was done for him; nothing follows from that."""


KINDS: dict[EffectKind, Kind] = {
    EffectKind.HAND_OVER: Kind(message_parcel, keys_arrived),
    EffectKind.NOTIFY: Kind(message_parcel, was_told),
    EffectKind.MARK_SHIPPED: Kind(order_parcel, was_marked),
    EffectKind.REPLACE: Kind(message_parcel, replaced),
    EffectKind.REFUND_REPLY: Kind(reply_parcel, was_answered),
}
