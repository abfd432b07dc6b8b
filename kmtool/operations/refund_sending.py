"""What sending means for answers to refunds and for replacements (rows of the table in `kinds`)."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, OrderId
from kmtool.domain.states import EffectKind
from kmtool.errors import Broken
from kmtool.operations.handed import deliver_lines
from kmtool.operations.parts import as_it_stays
from kmtool.operations.refunds import ON_THE_WAY, apply_refund, is_first, refund_blocks
from kmtool.operations.routes import Parcel, RefundReply
from kmtool.operations.shipped import mark_when_done
from kmtool.operations.tries import Sent, Slice
from kmtool.ports import OrderRef
from kmtool.shop import Shop
from kmtool.store import refunds as store
from kmtool.store.db import Row


def reply_parcel(shop: Shop, seen: Slice, effect: Row) -> Parcel:
    """Return the answer to a refund as its channel takes it; `Broken` when nothing tells it."""
    order, row = seen.order(effect), store.reply(shop.db, EffectId(effect["id"]))
    if row is None:
        raise Broken(detail="nobody knows what this answer to a refund says")
    return Parcel(
        effect["id"],
        EffectKind.REFUND_REPLY,
        effect["channel"],
        effect["route"],
        None,
        OrderRef(order["number"], f"{order['code']}-R{effect['generation']}"),
        RefundReply(row["number"], bool(row["agree"]), row["message"]),
    )


def was_answered(_shop: Shop, _seen: Slice, _done: Sequence[Row], _tally: Sent) -> None:
    """The channel has the answer; what it does with the money comes with the next pull."""


def replaced(shop: Shop, seen: Slice, done: Sequence[Row], tally: Sent) -> None:
    """The buyers have their new keys: lines delivered, the cost of those keys booked."""
    for effect in done:
        order, lines = seen.order(effect), seen.lines_of(effect)
        if not is_first(effect):
            lines = [line for line in lines if line["state"] not in ON_THE_WAY]
        carried = {line["id"]: [] for line in lines}  # type: dict[int, list[Row]]
        for key in seen.keys_of(effect):
            if key["line_id"] in carried:
                carried[key["line_id"]].append(key)
        number = seen.parcels[effect["parcel_id"]]["n"]
        found = [(order, as_it_stays(shop, seen, effect, line)) for line in lines]
        deliver_lines(shop, found, carried, f":r{number}")
        tally.delivered += len(lines)
        if refund_blocks(order):
            apply_refund(shop, OrderId(order["id"]))
        else:
            mark_when_done(shop, [order])
